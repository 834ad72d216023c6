/** What a new device is told by the one that links it: checked as it comes, kept all at once. */

import type { Bytes } from "../bytes.ts";
import { equal, text, utf8 } from "../bytes.ts";
import type { Account } from "../engine/account.ts";
import { serializeAccount } from "../engine/account.ts";
import type { State } from "../engine/state.ts";
import { NEW_STATE, serializeState } from "../engine/state.ts";
import { CoachRelayError } from "../errors.ts";
import { KeyPair } from "../identity/keys.ts";
import type { Introduction } from "../identity/linking.ts";
import { lists, verifyManifest } from "../identity/manifest.ts";
import { parseTrust } from "../identity/trust.ts";
import type { Value } from "../msgpack.ts";
import type { Write } from "../vault/vault.ts";
import { decodeFromRelay } from "../wire/codec.ts";
import * as f from "../wire/fields.ts";
import type { BlobId, EngagementId, UserId } from "../wire/ids.ts";
import {
  deviceId,
  deviceName,
  parseBlobId,
  parseDeviceId,
  parseEngagementId,
  parseUserId,
} from "../wire/ids.ts";
import { MAX_BLOB_BYTES, MAX_ENGAGEMENTS_PER_USER } from "../wire/limits.ts";
import { LinkTampered } from "./errors.ts";
import { HANDOVER_KEY_BYTES } from "./handover.ts";

const MOST_PEOPLE = 4096;
const NO_READING = "setting/private-reading";

/** Where the name of one's own device is kept. */
export const deviceNameRecord = (id: string): string => `device-name/${id}`;

/** What the other device has told so far. */
export interface Told {
  readonly account: Account;
  /** By the device's id in hex. */
  readonly names: ReadonlyMap<string, string>;
  readonly people: Map<UserId, { readonly trust: Bytes; readonly name: string }>;
  readonly floors: Map<EngagementId, State>;
  /** Whether the person lets the others know what they have read. */
  sharesReading: boolean;
}

/** A sealed history at the relay: fetched by way of the engagement `via`. */
export interface HistoryRef {
  readonly via: EngagementId;
  readonly blob: BlobId;
  readonly key: Bytes;
  readonly size: number;
}

/** Nothing in a message between two devices is longer, and no list has more. */
const MOST = 48 * 1024;
const [bytes, string] = [f.binary(MOST), f.text(MOST)];
const [user, device, engagement] = [f.id(parseUserId), f.id(parseDeviceId), f.id(parseEngagementId)];
const GRANT = f.record({
  ...{ raw: bytes, identity: bytes, name: string },
  names: f.many(f.record({ device, called: string }), MOST),
});
const PEOPLE = f.record({ people: f.many(f.record({ key: bytes, trust: bytes, name: bytes }), MOST) });
const FLOOR = f.record({
  ...{ engagement, shown: bytes, shares: f.plain((value) => value === true) },
  ...{ incarnation: bytes, epochs: f.uint, transcript: bytes, suite: f.uint, lastCommit: f.uint },
  ...{ met: f.many(user, MOST), admitted: f.many(user, MOST) },
  peers: f.many(f.record({ device, user, seq: f.uint }), MOST),
  ...{ read: f.uint, reads: f.many(f.record({ user, seq: f.uint }), MOST) },
});
const REF = f.record({ engagement, via: string, blob: string, key: bytes, size: f.uint });

/** The account that this device is given; raises LinkTampered if it does not fit. */
export function readGrant(
  values: readonly Value[],
  own: KeyPair,
  self: Introduction,
  other: Introduction | null,
): Told {
  return understood(() => {
    const { raw, identity, name, names } = GRANT.read([...values]);
    const manifest = verifyManifest(raw);
    const listed = lists(manifest, own.public) && other !== null && lists(manifest, other.deviceKey);
    if (manifest.portal !== self.portal || manifest.user !== self.user || !listed) throw strange();
    const pair = identity.length === 0 ? null : new KeyPair(identity);
    if (pair !== null && !equal(pair.public, manifest.identityKey)) throw strange();
    const account: Account = {
      ...{ portal: self.portal, user: self.user, name, device: own },
      ...{ deviceId: deviceId(own.public), identity: pair, recoverySeed: new Uint8Array(), manifest },
    };
    const known = names.map((one) => [deviceName(one.device), one.called] as const);
    return { account, names: new Map(known), people: new Map(), floors: new Map(), sharesReading: true };
  });
}

/** People and floors; raises LinkTampered if they are none. */
export function readMore(told: Told, kind: string, values: readonly Value[]): void {
  understood(() => {
    if (kind === "people") for (const one of PEOPLE.read([...values]).people) readPerson(told, one);
    else if (kind === "floor") readFloor(told, FLOOR.read([...values]));
    else throw strange();
  });
}

function readPerson(told: Told, { key, trust, name }: Record<"key" | "trust" | "name", Bytes>): void {
  const known = parseUserId(text(key));
  if (parseTrust(trust).newest.user !== known || told.people.size >= MOST_PEOPLE) throw strange();
  told.people.set(known, { trust, name: text(name) });
}

function readFloor(told: Told, floor: f.Of<typeof FLOOR>): void {
  if (told.floors.size >= MAX_ENGAGEMENTS_PER_USER) throw strange();
  checkShown(floor);
  const { incarnation, epochs, peers, read, reads, shares, transcript, suite, lastCommit } = floor;
  told.floors.set(floor.engagement, {
    ...NEW_STATE,
    incarnation: incarnation.length === 0 ? null : incarnation,
    highestEpoch: epochs - 1,
    ...{ transcript, suite, lastCommit, met: floor.met, admitted: floor.admitted, read, readTold: read },
    peers: new Map(peers.map((one) => [deviceName(one.device), [one.user, one.seq]])),
    reads: new Map(reads.map((one) => [one.user, one.seq])),
  });
  told.sharesReading = told.sharesReading && shares;
}

/** What the relay last said of this conversation, if that was told, is of this one. */
function checkShown({ engagement, shown }: f.Of<typeof FLOOR>): void {
  if (shown.length === 0) return;
  const [frame] = decodeFromRelay(shown);
  if (frame?.frame !== "EngagementChanged" || frame.engagement.id !== engagement) throw strange();
}

/** Where a history is, or null: nothing is left at a relay where no conversation goes on. */
export function readHistoryRef(values: readonly Value[]): readonly [EngagementId, HistoryRef | null] {
  return understood(() => {
    const { engagement, via, blob, key, size } = REF.read([...values]);
    if (via === "") return [engagement, null] as const;
    if (key.length !== HANDOVER_KEY_BYTES || size < 1 || size > MAX_BLOB_BYTES) throw strange();
    return [engagement, { via: parseEngagementId(via), blob: parseBlobId(blob), key, size }] as const;
  });
}

/**
 * Whether everything was told: as many people and floors as the other device counted. Where there is no floor to say
 * it, it says whether receipts tell what was read.
 */
export function checkWhole(told: Told, values: readonly Value[]): void {
  const [people, floors, ...unsaid] = values;
  const known = unsaid.length === 0 || (unsaid.length === 1 && unsaid[0] === false);
  if (people !== told.people.size || floors !== told.floors.size || !known) throw strange();
  if (unsaid.length > 0) told.sharesReading = false;
}

/** Everything at once: this device has its account, its trust and its floors, or nothing of it. */
export const toldWrites = (told: Told, account: string): readonly Write[] => [
  { name: account, value: serializeAccount(told.account) },
  { name: NO_READING, value: told.sharesReading ? null : Uint8Array.of(1) },
  ...[...told.names].map(([id, name]) => ({ name: deviceNameRecord(id), value: utf8(name) })),
  ...[...told.people].flatMap(([user, { trust, name }]) => [
    { name: `trust/${user}`, value: trust },
    ...(name === "" ? [] : [{ name: `name/${user}`, value: utf8(name) }]),
  ]),
  ...[...told.floors].map(([id, state]) => ({ name: `state/${id}`, value: serializeState(state) })),
];

export const strange = (): LinkTampered =>
  new LinkTampered("Your other device said something that this one does not understand. Update both.");

function understood<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof CoachRelayError || error instanceof TypeError) throw strange();
    throw error;
  }
}
