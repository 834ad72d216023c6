/** Checks of vectors, whoever made them: each function raises what its expectation raises. */

import { expect } from "vitest";
import { open } from "../../src/attachments/sealing.ts";
import { hex, unhex } from "../../src/bytes.ts";
import type { Attest, Envelope } from "../../src/content/envelope.ts";
import { kindOf, parseEnvelope, serializeEnvelope } from "../../src/content/envelope.ts";
import { bodyOf } from "../../src/content/messages.ts";
import { paddedLength } from "../../src/content/padding.ts";
import { sha256 } from "../../src/crypto.ts";
import { AttestLog } from "../../src/delivery/attest.ts";
import { EphemeralBox } from "../../src/ephemeral/box.ts";
import { CoachRelayError } from "../../src/errors.ts";
import { groupId, parseInfo, serializeInfo } from "../../src/identity/conversation.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import type { Side } from "../../src/identity/linking.ts";
import { Greeting, LinkSecret } from "../../src/identity/linking.ts";
import type { Manifest } from "../../src/identity/manifest.ts";
import { checkSuccessor, devicesOf, manifestHash, verifyManifest } from "../../src/identity/manifest.ts";
import { recoveryKey, recoverySeed, recoveryWords } from "../../src/identity/recovery.ts";
import { safetyNumber } from "../../src/identity/safety.ts";
import { callCommit, callWords } from "../../src/identity/words.ts";
import type { Packable } from "../../src/msgpack.ts";
import { pack, unpack } from "../../src/msgpack.ts";
import { parseBundle, serializeBundle } from "../../src/wire/bundle.ts";
import { decodeFromDevice, decodeFromRelay, encodeFrame } from "../../src/wire/codec.ts";
import type { Frame } from "../../src/wire/frames.ts";
import { DEVICE_FRAMES, RELAY_FRAMES } from "../../src/wire/frames.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";
import type { Json } from "../plain.ts";
import { plain, whole } from "../plain.ts";
import type { ArchiveVector, HistoryVector, WriterVector } from "./devices.ts";

export interface ContentVector {
  readonly id: string;
  readonly counter: number;
  readonly attest: Json;
  readonly closings: Json;
  readonly sent_ms: number;
  readonly kind: string;
  readonly known: boolean;
  readonly body: Json;
}

export interface ManifestVector {
  readonly portal: string;
  readonly user: string;
  readonly version: Json;
  readonly identity_key: string;
  readonly recovery_key: string;
  readonly devices: Json;
  readonly suites: Json;
  readonly previous: string;
  readonly signer: number;
  readonly raw: string;
  readonly hash: string;
}

export interface EphemeralVector {
  readonly device_seed: string;
  readonly group_id: string;
  readonly exported_key: string;
  readonly nonce: string;
  readonly epoch: number;
  readonly leaf: number;
  readonly counter: number;
  readonly kind: string;
  readonly body: Json;
  readonly sealed: string;
}

export interface FileVector {
  readonly size: number;
  readonly key: string;
  readonly sealed_size: number;
  readonly sealed_hash: string;
  readonly plain_hash: string;
  readonly sealed: string;
}

export interface StreamVector {
  readonly seq: number;
  readonly kind: 0 | 1;
  readonly after_commit: number;
  readonly body: string;
  readonly epoch: number;
  readonly authenticator: string | null;
  readonly S: string | null;
}

type Words = Readonly<Record<(typeof BOUND)[number] | "commit", string>> & { readonly words: string[] };
const BOUND = [
  "caller_identity",
  "callee_identity",
  "group_id",
  "call",
  "epoch_authenticator",
  "caller_fingerprint",
  "callee_fingerprint",
  "caller_nonce",
  "callee_nonce",
] as const;

type Random = Readonly<Record<"device_key" | "name" | "private" | "nonce" | "hello", string>>;

export interface MeetingVector {
  readonly portal: string;
  readonly user: string;
  readonly secret: string;
  readonly words: readonly string[];
  readonly code: string;
  readonly channel: string;
  readonly known: Random;
  readonly new: Random;
  readonly messages: readonly { readonly from: Side; readonly fields: Json; readonly body: string }[];
}

export interface Vectors {
  readonly meetings: readonly MeetingVector[];
  readonly recovery: readonly Readonly<{ seed: string; words: readonly string[]; recovery_key: string }>[];
  readonly msgpack: readonly { readonly value: Json; readonly packed: string }[];
  readonly msgpack_refused: readonly string[];
  readonly frames: readonly { readonly frame: string; readonly fields: Json; readonly packed: string }[];
  readonly frames_refused: readonly {
    readonly from: string;
    readonly message: string;
    readonly code: string;
  }[];
  readonly bundles: readonly { readonly fields: Json; readonly packed: string }[];
  readonly padding: readonly (readonly [number, number])[];
  readonly content: readonly (ContentVector & { readonly packed: string })[];
  readonly content_refused: readonly { readonly packed: string; readonly code: string }[];
  readonly manifests: readonly ManifestVector[];
  readonly manifests_refused: readonly string[];
  readonly successors: readonly (readonly [number, number, boolean])[];
  readonly conversations: readonly {
    readonly fields: Json;
    readonly packed: string;
    readonly group_id: string;
  }[];
  readonly stream: readonly StreamVector[];
  readonly safety_numbers: readonly Readonly<Record<"portal" | "user" | "identity_key" | "number", string>>[];
  readonly call_words: readonly Words[];
  readonly ephemeral: readonly EphemeralVector[];
  readonly files: readonly FileVector[];
  readonly call_messages: readonly { readonly kind: string; readonly body: Json }[];
  readonly call_messages_refused: readonly { readonly kind: string; readonly body: Json }[];
  readonly descriptions: readonly DescriptionVector[];
  readonly descriptions_refused: readonly string[];
  readonly names: readonly (readonly [string, string])[];
  readonly archive_writers: readonly WriterVector[];
  readonly histories: readonly HistoryVector[];
  readonly archives: readonly ArchiveVector[];
}

export interface DescriptionVector {
  readonly sdp: string;
  readonly fingerprint: string;
  readonly kinds: readonly string[];
}

export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof CoachRelayError) return error.code;
    throw error;
  }
  return "accepted";
}

const decoders = { relay: decodeFromRelay, device: decodeFromDevice };

export function checkFrame({ frame, fields, packed }: Vectors["frames"][number]): void {
  const side = frame in RELAY_FRAMES ? "relay" : "device";
  const [found, ...more] = decoders[side](unhex(packed));
  expect(more).toEqual([]);
  expect(found?.frame).toBe(frame);
  const { frame: _, ...values } = found as Frame;
  expect(plain(Object.values(values) as Packable)).toEqual(fields);
  expect(hex(encodeFrame(found as Frame))).toBe(packed);
}

export const FRAME_NAMES = [...Object.keys(DEVICE_FRAMES), ...Object.keys(RELAY_FRAMES)];

export const refusedFrame = ({ from, message }: Vectors["frames_refused"][number]): string =>
  codeOf(() => decoders[from as "relay" | "device"](unhex(message)));

export function checkBundleVector({ fields, packed }: Vectors["bundles"][number]): void {
  const { adds, removes, commit, welcome, groupInfo } = parseBundle(unhex(packed));
  expect(plain([adds, removes, commit, welcome, groupInfo])).toEqual(fields);
  expect(hex(serializeBundle({ adds, removes, commit, welcome, groupInfo }))).toBe(packed);
}

const triple = ({ epoch, seq, hash }: Attest): Json => [epoch, seq, hex(hash)];

export function described(said: Envelope): ContentVector {
  const { content } = said;
  const known = content.kind !== "unknown";
  return {
    id: hex(said.id),
    counter: said.counter,
    attest: triple(said.attest),
    closings: said.closings.map(triple),
    sent_ms: said.sentMs,
    kind: kindOf(content),
    known,
    body: plain(known ? bodyOf(content) : unpack(content.body)),
  };
}

export function checkContent({ packed, ...expected }: Vectors["content"][number]): void {
  const said = parseEnvelope(unhex(packed));
  expect(described(said)).toEqual(expected);
  expect(hex(serializeEnvelope(said))).toBe(packed);
}

export function manifestVector(one: Manifest): ManifestVector {
  const ids = devicesOf(one);
  return {
    portal: one.portal,
    user: one.user,
    version: plain(one.version),
    identity_key: hex(one.identityKey),
    recovery_key: hex(one.recoveryKey),
    devices: one.devices.map((device, at) => [
      hex(device.deviceKey),
      plain(device.flags),
      hex(ids[at] ?? new Uint8Array()),
    ]),
    suites: [...one.suites],
    previous: hex(one.previous),
    signer: one.signer,
    raw: hex(one.raw),
    hash: hex(manifestHash(one)),
  };
}

export const checkManifest = (vector: ManifestVector): void =>
  expect(manifestVector(verifyManifest(unhex(vector.raw)))).toEqual(vector);

export function checkSuccessors(vectors: Vectors): void {
  const manifests = vectors.manifests.map((one) => verifyManifest(unhex(one.raw)));
  const verdicts = vectors.successors.map(([old, next]) => {
    const [before, after] = [manifests[old], manifests[next]];
    if (before === undefined || after === undefined) throw new Error("no such manifest");
    return [old, next, codeOf(() => checkSuccessor(before, after)) === "accepted"];
  });
  expect(verdicts).toEqual(vectors.successors);
}

export function checkConversation({ fields, packed, group_id }: Vectors["conversations"][number]): void {
  const info = parseInfo(unhex(packed));
  const { portal, engagement, generation, features, policy, participants } = info;
  const people = participants.map(({ user, role, identityKey }) => [user, role, identityKey] as const);
  expect(plain([portal, engagement, generation, features, policy, people])).toEqual(fields);
  expect(hex(serializeInfo(info))).toBe(packed);
  expect(hex(groupId(parsePortalId(portal), parseEngagementId(engagement), generation))).toBe(group_id);
}

/** What a member who entered at the first epoch of these entries attests after each. */
export function streamHashes(entries: readonly Omit<StreamVector, "S">[]): (string | null)[] {
  let log: AttestLog | null = null;
  return entries.map(({ seq, kind, after_commit, body, epoch, authenticator }) => {
    const entry = { seq, kind, afterCommit: after_commit, bodyHash: sha256(unhex(body)) };
    const began = { epoch, authenticator: unhex(authenticator ?? "") };
    if (authenticator !== null) log = log?.afterCommit(entry, began) ?? AttestLog.begin(entry, began);
    else log = log?.afterEntry(entry) ?? null;
    if (log !== null) log = AttestLog.parse(log.serialize());
    return log && hex(log.attest.hash);
  });
}

export function checkSafetyNumber(vector: Vectors["safety_numbers"][number]): void {
  const number = safetyNumber(
    parsePortalId(vector.portal),
    parseUserId(vector.user),
    unhex(vector.identity_key),
  );
  expect(number).toBe(vector.number);
}

export function wordsOf(vector: Readonly<Record<(typeof BOUND)[number], string>>): readonly string[] {
  const binding = {
    callerIdentity: unhex(vector.caller_identity),
    calleeIdentity: unhex(vector.callee_identity),
    groupId: unhex(vector.group_id),
    call: unhex(vector.call),
    epochAuthenticator: unhex(vector.epoch_authenticator),
    callerFingerprint: unhex(vector.caller_fingerprint),
    calleeFingerprint: unhex(vector.callee_fingerprint),
  };
  return callWords(binding, unhex(vector.caller_nonce), unhex(vector.callee_nonce));
}

export function checkWords(vector: Words): void {
  expect(wordsOf(vector)).toEqual(vector.words);
  expect(hex(callCommit(unhex(vector.caller_nonce)))).toBe(vector.commit);
}

function boxOf(vector: Omit<EphemeralVector, "sealed">, ownLeaf: number): EphemeralBox {
  const device = new KeyPair(unhex(vector.device_seed));
  const epoch = {
    groupId: unhex(vector.group_id),
    epoch: vector.epoch,
    authenticator: new Uint8Array(32),
    ownLeaf,
    deviceKeys: new Map([[vector.leaf, device.public]]),
    exporter: async () => unhex(vector.exported_key),
  };
  return new EphemeralBox(epoch, (labelled) => device.signLabelled(labelled));
}

export async function sealedWhisper(vector: Omit<EphemeralVector, "sealed">): Promise<string> {
  const body = whole(vector.body);
  const nonce = () => unhex(vector.nonce);
  return hex(await boxOf(vector, vector.leaf).seal(vector.counter, vector.kind, body, nonce));
}

export async function checkEphemeral(vector: EphemeralVector): Promise<void> {
  expect(await sealedWhisper(vector)).toBe(vector.sealed);
  const receiver = boxOf(vector, vector.leaf + 1);
  const opened = await receiver.open(unhex(vector.sealed), 0);
  expect(opened).toMatchObject({ epoch: vector.epoch, leaf: vector.leaf, kind: vector.kind });
  expect(plain(opened?.body)).toEqual(vector.body);
  await expect(receiver.open(unhex(vector.sealed), 0)).rejects.toThrow("seen already");
}

export async function checkFile(vector: FileVector): Promise<void> {
  const sealed = Uint8Array.from(atob(vector.sealed), (character) => character.charCodeAt(0));
  const described = {
    key: unhex(vector.key),
    size: vector.size,
    sealedSize: vector.sealed_size,
    sealedHash: unhex(vector.sealed_hash),
  };
  const read = async (at: number, length: number) => sealed.slice(at, at + length);
  const pieces: Uint8Array[] = [];
  for await (const piece of open(described, read, sealed.length)) pieces.push(piece);
  expect(hex(sha256(...pieces))).toBe(vector.plain_hash);
  expect(pieces.reduce((size, piece) => size + piece.length, 0)).toBe(vector.size);
}

export const checkPadding = ([length, padded]: readonly [number, number]): void =>
  expect(paddedLength(length)).toBe(padded);

export function checkValue({ value, packed }: Vectors["msgpack"][number]): void {
  expect(plain(unpack(unhex(packed)))).toEqual(value);
  expect(hex(pack(whole(value)))).toBe(packed);
}

/** The greeting of one side, with the randomness that the vector names. */
export function greeting(
  vector: Pick<MeetingVector, "portal" | "user" | "secret" | Side>,
  side: Side,
): Greeting {
  const mine = vector[side];
  const random = [unhex(mine.private), unhex(mine.nonce)];
  const self = {
    portal: parsePortalId(vector.portal),
    user: parseUserId(vector.user),
    deviceKey: unhex(mine.device_key),
    name: mine.name,
  };
  return new Greeting(
    new LinkSecret(unhex(vector.secret)),
    side,
    self,
    () => random.shift() ?? new Uint8Array(),
  );
}

export function checkMeeting(vector: MeetingVector): void {
  const secret = LinkSecret.read(vector.words.join(" "));
  expect(hex(secret.unsafeValue())).toBe(vector.secret);
  expect(hex(LinkSecret.read(vector.code).unsafeValue())).toBe(vector.secret);
  expect([secret.words, secret.code, hex(secret.channel)]).toEqual([
    vector.words,
    vector.code,
    vector.channel,
  ]);
  const [known, fresh] = [greeting(vector, "known"), greeting(vector, "new")];
  expect([hex(known.body), hex(fresh.body)]).toEqual([vector.known.hello, vector.new.hello]);
  const sessions = { known: known.meet(fresh.body).session, new: fresh.meet(known.body).session };
  for (const { from, fields, body } of vector.messages) {
    const heard = sessions[from === "known" ? "new" : "known"].open(unhex(body));
    expect(plain(heard as unknown as Packable)).toEqual(fields);
  }
}

export function checkRecovery({ seed, words, recovery_key }: Vectors["recovery"][number]): void {
  expect(hex(recoverySeed(words.join(" ")))).toBe(seed);
  expect(recoveryWords(unhex(seed))).toEqual(words);
  expect(hex(recoveryKey(unhex(seed)).public)).toBe(recovery_key);
}
