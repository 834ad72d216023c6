/** What this device stores about one conversation, apart from its history. Frozen: each step makes the next. */

import type { AlarmCode, Fact } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { AttestLog } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { Outbox } from "../delivery/outbox.ts";
import { parseOutbox, serializeOutbox } from "../delivery/outboxRecords.ts";
import type { Receipts } from "../delivery/receipts.ts";
import { NO_RECEIPTS } from "../delivery/receipts.ts";
import type { History } from "../delivery/repair.ts";
import { RecordInvalid } from "../errors.ts";
import { GroupError } from "../mls/errors.ts";
import { Group } from "../mls/group.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { bytes, list, number, text } from "../packed.ts";
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

/**
 * A commit entry that this device accepted, and keeps byte for byte should the relay lose it: the epoch that it began,
 * where it stood, and whether it is this device's own first bundle of the stream.
 */
export interface Kept {
  readonly epoch: number;
  readonly seq: number;
  readonly at: number;
  readonly size: number;
  readonly creates: boolean;
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
  /** The position of the commit by which this device came in, the last time. */
  readonly entered: number;
  /** Up to here nothing that we said is kept as it was sent any more; and how many bytes of the rest are. */
  readonly forgotten: number;
  readonly keptBytes: number;
  /** Commits that are kept; and those of them that the relay lost, in order: while there are any, we repair. */
  readonly commits: readonly Kept[];
  readonly lostCommits: readonly Kept[];
  /** Earlier incarnations of the stream. */
  readonly histories: readonly History[];
  /** Where the relay was, as far as is known here, when its incarnation changed: the lowest of late. */
  readonly lostFrom: number;
  /** Whether messages are known that the relay lost and that have not come again. */
  readonly hasLost: boolean;
  /** In repair something came that this device has no keys for any more. */
  readonly unheard: boolean;
  /** It rejoins because the relay lost the epoch that it was in: another one may have its number. */
  readonly overtaken: boolean;
  /** What of ours the relay lost and has not got back yet, by the message's id. */
  readonly reoffers: readonly string[];
  /** Devices that this one saw leave, the newest last. One that is in the group has to leave again. */
  readonly removed: readonly string[];
  /** In repair: the epoch of the stream as far as it was read. No other history begins before it. */
  readonly branch: number;
  /** An epoch that the relay lost: nothing is said before the group is as far again. */
  readonly floor: number;
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
  entered: 0,
  forgotten: 0,
  keptBytes: 0,
  commits: [],
  lostCommits: [],
  histories: [],
  lostFrom: 0,
  hasLost: false,
  unheard: false,
  overtaken: false,
  reoffers: [],
  removed: [],
  branch: -1,
  floor: -1,
};

/** Whether it is open by which epochs the stream goes on. */
export const isUnsettled = (state: State): boolean => state.overtaken || phaseOf(state) === "repairing";

/** What others have of a stream that goes no further than this. */
export const notBeyond = (peers: State["peers"], seq: number): State["peers"] =>
  new Map([...peers].map(([device, [user, attested]]) => [device, [user, Math.min(attested, seq)]]));

/** Whether this device takes part, brings lost commits back, comes back itself, or stands outside. */
export function phaseOf({ group, lostCommits, rejoinReason }: State) {
  if (group !== null) return lostCommits.length > 0 ? "repairing" : "member";
  return rejoinReason !== "" ? "rejoining" : "outside";
}

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
    serializeOutbox(state.box),
    pending && [pending.id, pending.body, pending.after, pending.reason],
    [state.met, state.admitted],
    [...state.peers].map(([device, [user, seq]]) => [device, user, seq] as const),
    [receipts.owed, receipts.lastMs],
    alarm && [alarm.code, new Map(Object.entries(alarm.evidence)), alarm.halted],
    state.doubt,
    [...state.reads].map(([user, seq]) => [user, seq] as const),
    state.rejoinReason,
    state.startsOver,
    [state.hasLost, state.unheard, state.overtaken],
    [state.reoffers, state.removed],
    state.commits.map(packKept),
    state.lostCommits.map(packKept),
    state.histories.map(({ incarnation, at, lost }) => [incarnation, at, lost] as const),
  ]);
}

const packKept = ({ epoch, seq, at, size, creates }: Kept) => [epoch, seq, at, size, creates] as const;

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
  "entered",
  "forgotten",
  "keptBytes",
  "lostFrom",
  "branch",
  "floor",
] as const;

/** Decode from the vault; raises RecordInvalid, or what its parts raise. */
export function parseState(data: Bytes, portal: PortalId): State {
  try {
    const [format, numbers, transcript, incarnation, group, log, counters, box, pending, ...rest] = list(
      unpack(data),
    );
    if (format !== FORMAT) throw new PackingError("another form");
    const [people, peers, receipts, alarm, doubt, reads, rejoinReason, startsOver, ...repair] = rest;
    // What an earlier version stored has nothing of this.
    const [flags = [], told = [[], []], commits = [], lostCommits = [], histories = []] = repair;
    const [hasLost, unheard, overtaken] = list(flags);
    const [reoffers, removed] = list(told);
    const [met, admitted] = list(people);
    const [owed, lastMs] = list(receipts);
    const counted = Object.fromEntries(
      NUMBERS.map((name, at) => [name, number(list(numbers)[at] ?? NEW_STATE[name])]),
    );
    const lost = list(lostCommits).map(parseKept);
    const [opened, kept] = openedGroup(group, log, lost.length > 0, portal);
    const isLost = group !== null && opened === null && rejoinReason === "";
    return {
      ...NEW_STATE,
      ...counted,
      transcript: bytes(transcript),
      incarnation: incarnation === null ? null : bytes(incarnation),
      group: opened,
      log: kept,
      counters: MessageCounters.parse(bytes(counters)),
      // Nothing of an earlier connection is in flight on this one.
      box: parseOutbox(bytes(box)).disconnected(),
      pending: pending === null ? null : parsePending(list(pending)),
      met: list(met).map(text),
      admitted: list(admitted).map(text),
      peers: new Map(list(peers).map(parsePeer)),
      receipts: { owed: owed === true, lastMs: lastMs === null ? null : number(lastMs) },
      alarm: alarm === null ? null : parseAlarm(list(alarm)),
      doubt: doubt === null ? null : bytes(doubt),
      reads: new Map(list(reads).map(parseRead)),
      rejoinReason: isLost ? STATE_LOST : text(rejoinReason),
      startsOver: startsOver === true,
      hasLost: hasLost === true,
      unheard: unheard === true,
      overtaken: overtaken === true,
      reoffers: list(reoffers).map(text),
      removed: list(removed).map(text),
      commits: list(commits).map(parseKept),
      lostCommits: lost,
      histories: list(histories).map(parseHistory),
    };
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new RecordInvalid("A stored conversation is damaged. Set this browser up anew.");
  }
}

/** The group's state; what cannot be read any more is given up, and this device comes back by itself. */
function openedGroup(group: Value | undefined, log: Value | undefined, repairs: boolean, portal: PortalId) {
  if (group === null || (log === null && !repairs)) return [null, null] as const;
  try {
    return [Group.parse(bytes(group), portal), log === null ? null : AttestLog.parse(bytes(log))] as const;
  } catch (error) {
    if (!(error instanceof GroupError || error instanceof RecordInvalid)) throw error;
    return [null, null] as const;
  }
}

function parseKept(value: Value): Kept {
  const [epoch, seq, at, size, creates] = list(value);
  const numbers = { epoch: number(epoch), seq: number(seq), at: number(at), size: number(size) };
  return { ...numbers, creates: creates === true };
}

function parseHistory(value: Value): History {
  const [incarnation, at, lost] = list(value);
  return { incarnation: bytes(incarnation), at: number(at), lost: lost === true };
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
