/**
 * One part of an archive: sealed for the holder of the recovery words alone, signed by who wrote it (docs/PROTOCOL.md
 * section 16). The device that writes an archive cannot read it, nor can who steals that device.
 */

import type { Bytes } from "../../bytes.ts";
import { concat, u32 } from "../../bytes.ts";
import { paddedLength } from "../../content/padding.ts";
import { sha256, sodium } from "../../crypto.ts";
import { SignatureInvalid } from "../../errors.ts";
import type { KeyPair } from "../../identity/keys.ts";
import { verifySignature } from "../../identity/keys.ts";
import { implementation, SUITE_3 } from "../../mls/suites.ts";
import type { Packable, Value } from "../../msgpack.ts";
import { PackingError, pack, unpack } from "../../msgpack.ts";
import { WireError } from "../../wire/errors.ts";
import * as f from "../../wire/fields.ts";
import type { EngagementId, PortalId, UserId } from "../../wire/ids.ts";
import { label } from "../../wire/ids.ts";
import { MAX_ARCHIVE_PART_BYTES } from "../../wire/limits.ts";
import { ArchiveDamaged } from "../errors.ts";

const FORMAT = 1;
const LENGTH_BYTES = 4;
const WRITER = "archive writer";
export const NO_HEAD: Bytes = new Uint8Array(32);

const [bytes, string] = [f.binary(MAX_ARCHIVE_PART_BYTES), f.text(MAX_ARCHIVE_PART_BYTES)];
const many = <T>(field: f.Field<T>) => f.many(field, MAX_ARCHIVE_PART_BYTES);
const SIGNED = f.record({ body: bytes, signature: bytes });
const WRITER_BODY = f.record({
  ...{ format: f.uint, portal: string, user: string, deviceKey: bytes, rank: f.uint },
  before: many(f.record({ engagement: string, series: bytes, parts: f.uint, head: bytes })),
});
const PART = f.record({ format: f.uint, enc: bytes, sealed: bytes, signature: bytes });
const CONTENT = f.record({
  ...{ format: f.uint, atMs: f.uint, items: many(f.plain(list)) },
  people: many(f.record({ user: string, trust: bytes, name: string })),
  writer: bytes,
});

/** Where a part stands; `previous` is the head of the part before. */
export interface Place {
  readonly portal: PortalId;
  readonly user: UserId;
  readonly engagement: EngagementId;
  readonly series: Bytes;
  readonly number: number;
  readonly previous: Bytes;
}

const contextOf = ({ portal, user, engagement, series, number, previous }: Place): Bytes =>
  pack([portal, user, engagement, series, number, previous]);

/** What the next part names as the one before. */
export const headOf = (part: Bytes): Bytes => sha256(label("archive part"), part);

/** How much of an earlier series counts: what was restored from it. */
export interface Restored {
  readonly engagement: string;
  readonly series: Bytes;
  readonly parts: number;
  readonly head: Bytes;
}

/**
 * The recovery key's word that a device may write this user's archives from now on. Of series whose writer has a
 * lower `rank` only what `before` names counts: so nobody who has an earlier device adds to them after a recovery.
 */
export interface Writer {
  readonly deviceKey: Bytes;
  readonly rank: number;
  readonly before: readonly Restored[];
}

/** As it stands in the first part of each series. */
export function signedWriter(writer: Writer, portal: PortalId, user: UserId, recovery: KeyPair): Bytes {
  const before = writer.before.map(
    ({ engagement, series, parts, head }) => [engagement, series, parts, head] as const,
  );
  const body = pack([FORMAT, portal, user, writer.deviceKey, writer.rank, before]);
  return pack([body, recovery.sign(WRITER, body)]);
}

/** The writer in these bytes; raises ArchiveDamaged if the recovery key did not sign it. */
export function verifyWriter(data: Bytes, portal: PortalId, user: UserId, recoveryKey: Bytes): Writer {
  return understood(() => {
    const { body, signature } = SIGNED.read(unpack(data));
    verifySignature(recoveryKey, WRITER, body, signature);
    const { format, portal: itsPortal, user: itsUser, ...writer } = WRITER_BODY.read(unpack(body));
    if (format !== FORMAT || itsPortal !== portal || itsUser !== user) throw damaged();
    return writer;
  });
}

/** What a part holds: items as `[id]` (gone) or `[id, position, ...]`; `writer` in the first part of a series. */
export interface ArchiveContent {
  readonly atMs: number;
  readonly items: readonly (readonly Value[])[];
  readonly people: readonly { readonly user: string; readonly trust: Bytes; readonly name: string }[];
  readonly writer: Bytes;
}

/** The part as the relay keeps it. */
export async function sealPart(
  place: Place,
  content: Omit<ArchiveContent, "items"> & { readonly items: readonly (readonly Packable[])[] },
  { recoveryKey, device }: { readonly recoveryKey: Bytes; readonly device: KeyPair },
): Promise<Bytes> {
  const people = content.people.map(({ user, trust, name }) => [user, trust, name] as const);
  const plain = pack([FORMAT, content.atMs, content.items, people, content.writer]);
  const padded = new Uint8Array(paddedLength(LENGTH_BYTES + plain.length));
  padded.set(concat(u32(plain.length), plain));
  const { hpke } = await implementation(SUITE_3);
  const key = await hpke.importPublicKey(sodium.crypto_sign_ed25519_pk_to_curve25519(recoveryKey));
  const info = concat(label("archive"), contextOf(place));
  const { enc, ct } = await hpke.seal(key, padded, info);
  return pack([FORMAT, enc, ct, device.sign("archive", signedBytes(place, enc, ct))]);
}

/** What came out of a part, and what checks who wrote it. */
export interface OpenedPart {
  readonly content: ArchiveContent;
  /** Raises ArchiveDamaged if another device wrote it. */
  checkWriter(deviceKey: Bytes): void;
}

/** Open a part that stands at this place, with the recovery key; raises ArchiveDamaged. */
export async function openPart(place: Place, part: Bytes, recovery: KeyPair): Promise<OpenedPart> {
  const { format, enc, sealed, signature } = understood(() => PART.read(unpack(part)));
  if (format !== FORMAT) throw damaged();
  const padded = await opened(place, enc, sealed, recovery);
  const content = understood(() => {
    const length = new DataView(padded.buffer, padded.byteOffset, padded.byteLength).getUint32(0);
    return contentIn(padded.slice(LENGTH_BYTES, LENGTH_BYTES + length));
  });
  const signed = signedBytes(place, enc, sealed);
  return {
    content,
    checkWriter: (key) => understood(() => verifySignature(key, "archive", signed, signature)),
  };
}

async function opened(place: Place, enc: Bytes, sealed: Bytes, recovery: KeyPair): Promise<Bytes> {
  const { hpke } = await implementation(SUITE_3);
  const pair = sodium.crypto_sign_seed_keypair(recovery.unsafeSeed());
  const secret = sodium.crypto_sign_ed25519_sk_to_curve25519(pair.privateKey);
  const key = await hpke.importPrivateKey(secret);
  try {
    return await hpke.open(key, enc, sealed, concat(label("archive"), contextOf(place)));
  } catch {
    throw damaged(); // whatever the library says: it was altered, or stands in another one's place
  }
}

function contentIn(plain: Bytes): ArchiveContent {
  const { format, ...content } = CONTENT.read(unpack(plain));
  if (format !== FORMAT) throw damaged();
  return content;
}

const signedBytes = (place: Place, enc: Bytes, sealed: Bytes): Bytes =>
  concat(contextOf(place), sha256(enc, sealed));

const damaged = (): ArchiveDamaged =>
  new ArchiveDamaged("A part of the archive was altered, or no device of its owner wrote it.");

function understood<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    const known =
      error instanceof PackingError ||
      error instanceof WireError ||
      error instanceof SignatureInvalid ||
      error instanceof TypeError ||
      error instanceof RangeError;
    if (known) throw damaged();
    throw error;
  }
}

function list(value: Value): Value[] {
  if (Array.isArray(value)) return value;
  throw new TypeError("a field of another form");
}
