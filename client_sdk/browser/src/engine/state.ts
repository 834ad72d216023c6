/** What this device stores about one conversation, apart from its history. Frozen: each step makes the next. */

import type { AlarmCode, Fact } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { AttestLog } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { Outbox } from "../delivery/outbox.ts";
import type { Receipts } from "../delivery/receipts.ts";
import { NO_RECEIPTS } from "../delivery/receipts.ts";
import { RecordInvalid } from "../errors.ts";
import { GroupError } from "../mls/errors.ts";
import { Group } from "../mls/group.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { PortalId } from "../wire/ids.ts";

const FORMAT = 2;
const STATE_LOST = "This device could not read its own keys for this conversation.";

/** A commit of ours that waits for its entry: its group counts once that is seen. */
export interface Pending {
  readonly id: Bytes;
  readonly body: Bytes;
  readonly after: Bytes;
  readonly reason: Reason;
}

/** Why we commit: to make the group, to change it, to come back into it. */
export type Reason = "create" | "change" | "rejoin";

/** An alarm that a person has not looked at; `halted`: nothing is processed any more. */
export interface Raised {
  readonly code: AlarmCode;
  readonly evidence: Readonly<Record<string, Fact>>;
  readonly halted: boolean;
}

export interface State {
  readonly cursor: number;
  readonly lastCommit: number;
  readonly spokenEpoch: number;
  readonly highestEpoch: number;
  /** Of the highest epoch: its confirmed_transcript_hash, and its group's suite (0: none yet). */
  readonly transcript: Bytes;
  readonly suite: number;
  readonly incarnation: Bytes | null;
  readonly group: Group | null;
  readonly log: AttestLog | null;
  readonly counters: MessageCounters;
  readonly box: Outbox;
  readonly pending: Pending | null;
  /** Every other user that ever took part. */
  readonly met: readonly string[];
  /** Further users whom a person let in. */
  readonly admitted: readonly string[];
  /** What each other device has, by its name: its user and the newest position it attested. */
  readonly peers: ReadonlyMap<string, readonly [string, number]>;
  readonly receipts: Receipts;
  readonly alarm: Raised | null;
  /** The GroupInfo of a commit that did not open here: if others go on from it, the fault is ours. */
  readonly doubt: Bytes | null;
  /** How far this user has read, and up to where that was told; how far each other user has. */
  readonly read: number;
  readonly readTold: number;
  readonly reads: ReadonlyMap<string, number>;
  /** Why this device comes back by external commit; empty: it does not have to. */
  readonly rejoinReason: string;
  /** Unix seconds: when it last did, and when it last had all that there was. */
  readonly rejoinedAt: number;
  readonly currentAt: number;
  /** The stream that this device knew does not exist any more: what the relay counts of us counts. */
  readonly startsOver: boolean;
  /** Entries in a row that could not be read. */
  readonly unread: number;
  /** The last number given to an item that the stream gives none. */
  readonly order: number;
}

export const NEW_STATE: State = {
  cursor: 0,
  lastCommit: 0,
  spokenEpoch: 0,
  highestEpoch: -1,
  transcript: new Uint8Array(),
  suite: 0,
  incarnation: null,
  group: null,
  log: null,
  counters: new MessageCounters(),
  box: new Outbox(),
  pending: null,
  met: [],
  admitted: [],
  peers: new Map(),
  receipts: NO_RECEIPTS,
  alarm: null,
  doubt: null,
  read: 0,
  readTold: 0,
  reads: new Map(),
  rejoinReason: "",
  rejoinedAt: 0,
  currentAt: 0,
  startsOver: false,
  unread: 0,
  order: 0,
};

/** Whether this device takes part, comes back, or stands outside. */
export const phaseOf = ({ group, rejoinReason }: State): "member" | "rejoining" | "outside" =>
  group !== null ? "member" : rejoinReason !== "" ? "rejoining" : "outside";

/** Encode for the vault. */
export function serializeState(state: State): Bytes {
  const { pending, alarm, receipts } = state;
  return pack([
    FORMAT,
    NUMBERS.map((name) => state[name]),
    state.transcript,
    state.incarnation,
    state.group?.serialize() ?? null,
    state.log?.serialize() ?? null,
    state.counters.serialize(),
    state.box.serialize(),
    pending && [pending.id, pending.body, pending.after, pending.reason],
    [state.met, state.admitted],
    [...state.peers].map(([device, [user, seq]]) => [device, user, seq] as const),
    [receipts.owed, receipts.lastMs],
    alarm && [alarm.code, new Map(Object.entries(alarm.evidence)), alarm.halted],
    state.doubt,
    [...state.reads].map(([user, seq]) => [user, seq] as const),
    state.rejoinReason,
    state.startsOver,
  ]);
}

const NUMBERS = [
  "cursor",
  "lastCommit",
  "spokenEpoch",
  "highestEpoch",
  "suite",
  "read",
  "readTold",
  "rejoinedAt",
  "currentAt",
  "unread",
  "order",
] as const;

/** Decode from the vault; raises RecordInvalid, or what its parts raise. */
export function parseState(data: Bytes, portal: PortalId): State {
  try {
    const [format, numbers, transcript, incarnation, group, log, counters, box, pending, ...rest] = list(
      unpack(data),
    );
    if (format !== FORMAT) throw new PackingError("another form");
    const [people, peers, receipts, alarm, doubt, reads, rejoinReason, startsOver] = rest;
    const [met, admitted] = list(people);
    const [owed, lastMs] = list(receipts);
    const counted = Object.fromEntries(NUMBERS.map((name, at) => [name, number(list(numbers)[at])]));
    const [opened, kept] = openedGroup(group, log, portal);
    const lost = group !== null && opened === null && rejoinReason === "" ? STATE_LOST : text(rejoinReason);
    return {
      ...NEW_STATE,
      ...counted,
      transcript: bytes(transcript),
      incarnation: incarnation === null ? null : bytes(incarnation),
      group: opened,
      log: kept,
      counters: MessageCounters.parse(bytes(counters)),
      // Nothing of an earlier connection is in flight on this one.
      box: Outbox.parse(bytes(box)).disconnected(),
      pending: pending === null ? null : parsePending(list(pending)),
      met: list(met).map(text),
      admitted: list(admitted).map(text),
      peers: new Map(list(peers).map(parsePeer)),
      receipts: { owed: owed === true, lastMs: lastMs === null ? null : number(lastMs) },
      alarm: alarm === null ? null : parseAlarm(list(alarm)),
      doubt: doubt === null ? null : bytes(doubt),
      reads: new Map(list(reads).map(parseRead)),
      rejoinReason: lost,
      startsOver: startsOver === true,
    };
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new RecordInvalid("A stored conversation is damaged. Set this browser up anew.");
  }
}

/** The group's state; what cannot be read any more is given up, and this device comes back by itself. */
function openedGroup(group: Value | undefined, log: Value | undefined, portal: PortalId) {
  if (group === null || log === null) return [null, null] as const;
  try {
    return [Group.parse(bytes(group), portal), AttestLog.parse(bytes(log))] as const;
  } catch (error) {
    if (!(error instanceof GroupError || error instanceof RecordInvalid)) throw error;
    return [null, null] as const;
  }
}

function parseRead(value: Value): readonly [string, number] {
  const [user, seq] = list(value);
  return [text(user), number(seq)];
}

function parsePending([id, body, after, reason]: readonly Value[]): Pending {
  return { id: bytes(id), body: bytes(body), after: bytes(after), reason: text(reason) as Reason };
}

function parsePeer(value: Value): readonly [string, readonly [string, number]] {
  const [device, user, seq] = list(value);
  return [text(device), [text(user), number(seq)]];
}

function parseAlarm([code, evidence, halted]: readonly Value[]): Raised {
  const facts = evidence instanceof Map ? [...evidence] : [];
  const known = facts.map(([name, fact]) => [name, typeof fact === "number" ? fact : text(fact)]);
  return { code: text(code) as AlarmCode, evidence: Object.fromEntries(known), halted: halted === true };
}

function list(value: Value | undefined): readonly Value[] {
  if (Array.isArray(value)) return value;
  throw new PackingError("a field of another form");
}

function bytes(value: Value | undefined): Bytes {
  if (value instanceof Uint8Array) return value;
  throw new PackingError("a field of another form");
}

function number(value: Value | undefined): number {
  if (typeof value === "number") return value;
  throw new PackingError("a field of another form");
}

function text(value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw new PackingError("a field of another form");
}
