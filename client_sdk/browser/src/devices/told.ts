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
import type { BlobId, EngagementId, UserId } from "../wire/ids.ts";
import {
  deviceId,
  deviceName,
  parseBlobId,
  parseDeviceId,
  parseEngagementId,
  parseUserId,
} from "../wire/ids.ts";
import { MAX_ENGAGEMENTS_PER_USER } from "../wire/limits.ts";
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

/** The account that this device is given; raises LinkTampered if it does not fit. */
export function readGrant(
  values: readonly Value[],
  device: KeyPair,
  own: Introduction,
  other: Introduction | null,
): Told {
  return understood(() => {
    const [raw, identity, name, names] = values;
    const manifest = verifyManifest(bytes(raw));
    const listed = lists(manifest, device.public) && other !== null && lists(manifest, other.deviceKey);
    if (manifest.portal !== own.portal || manifest.user !== own.user || !listed) throw strange();
    const key = bytes(identity);
    const pair = key.length === 0 ? null : new KeyPair(key);
    if (pair !== null && !equal(pair.public, manifest.identityKey)) throw strange();
    const account: Account = {
      ...{ portal: own.portal, user: own.user, name: string(name), device },
      ...{ deviceId: deviceId(device.public), identity: pair, recoverySeed: new Uint8Array(), manifest },
    };
    const known = list(names).map((one): readonly [string, string] => {
      const [id, called] = list(one);
      return [deviceName(parseDeviceId(id)), string(called)];
    });
    return { account, names: new Map(known), people: new Map(), floors: new Map(), sharesReading: true };
  });
}

/** People and floors; raises LinkTampered if they are none. */
export function readMore(told: Told, kind: string, values: readonly Value[]): void {
  understood(() => {
    if (kind === "people") for (const one of list(values[0])) readPerson(told, list(one));
    else if (kind === "floor") readFloor(told, values);
    else throw strange();
  });
}

function readPerson(told: Told, [key, trust, name]: readonly Value[]): void {
  const user = parseUserId(text(bytes(key)));
  if (parseTrust(bytes(trust)).newest.user !== user || told.people.size >= MOST_PEOPLE) throw strange();
  told.people.set(user, { trust: bytes(trust), name: text(bytes(name)) });
}

function readFloor(told: Told, [engagement, , shares, ...rest]: readonly Value[]): void {
  if (told.floors.size >= MAX_ENGAGEMENTS_PER_USER) throw strange();
  const [incarnation, epochs, transcript, suite, lastCommit, met, admitted, peers, read, reads] = rest;
  const known = bytes(incarnation);
  told.floors.set(parseEngagementId(engagement), {
    ...NEW_STATE,
    incarnation: known.length === 0 ? null : known,
    highestEpoch: count(epochs) - 1,
    transcript: bytes(transcript),
    suite: count(suite),
    lastCommit: count(lastCommit),
    met: list(met).map(parseUserId),
    admitted: list(admitted).map(parseUserId),
    peers: new Map(list(peers).map(readPeer)),
    read: count(read),
    readTold: count(read),
    reads: new Map(list(reads).map((one) => userAt(list(one)))),
  });
  told.sharesReading = told.sharesReading && shares === true;
}

function readPeer(value: Value): readonly [string, readonly [string, number]] {
  const [device, ...rest] = list(value);
  return [deviceName(parseDeviceId(device)), userAt(rest)];
}

const userAt = ([user, seq]: readonly Value[]): readonly [string, number] => [parseUserId(user), count(seq)];

/** Where a history is, or null: nothing is left at a relay where no conversation goes on. */
export function readHistoryRef(values: readonly Value[]): readonly [EngagementId, HistoryRef | null] {
  return understood(() => {
    const [engagement, via, blob, key, size] = values;
    const known = parseEngagementId(engagement);
    if (via === "") return [known, null] as const;
    if (bytes(key).length !== HANDOVER_KEY_BYTES || count(size) < 1) throw strange();
    const ref = { via: parseEngagementId(via), blob: parseBlobId(blob), key: bytes(key), size: count(size) };
    return [known, ref] as const;
  });
}

/** Whether everything was told: as many people and floors as the other device counted. */
export function checkWhole(told: Told, values: readonly Value[]): void {
  if (values[0] !== told.people.size || values[1] !== told.floors.size) throw strange();
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

function list(value: Value | undefined): readonly Value[] {
  if (Array.isArray(value)) return value;
  throw strange();
}

function bytes(value: Value | undefined): Bytes {
  if (value instanceof Uint8Array) return value;
  throw strange();
}

function string(value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw strange();
}

function count(value: Value | undefined): number {
  if (typeof value === "number" && value >= 0) return value;
  throw strange();
}
