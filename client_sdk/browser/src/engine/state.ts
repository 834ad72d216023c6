/** What this device stores about one conversation, apart from its history. Frozen: each step makes the next. */

import type { AlarmCode, Fact } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { AttestLog } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { Outbox } from "../delivery/outbox.ts";
import type { Receipts } from "../delivery/receipts.ts";
import { NO_RECEIPTS } from "../delivery/receipts.ts";
import { RecordInvalid } from "../errors.ts";
import { Group } from "../mls/group.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { PortalId } from "../wire/ids.ts";

const FORMAT = 1;

/** A commit of ours that waits for its entry: its group counts once that is seen. */
export interface Pending {
  readonly id: Bytes;
  readonly body: Bytes;
  readonly after: Bytes;
  readonly creates: boolean;
}

/** An alarm that a person has not looked at; `halted`: nothing is processed any more. */
export interface Raised {
  readonly code: AlarmCode | "out_of_step";
  readonly evidence: Readonly<Record<string, Fact>>;
  readonly halted: boolean;
}

export interface State {
  readonly cursor: number;
  readonly lastCommit: number;
  readonly spokenEpoch: number;
  readonly highestEpoch: number;
  readonly incarnation: Bytes | null;
  readonly group: Group | null;
  readonly log: AttestLog | null;
  readonly counters: MessageCounters;
  readonly box: Outbox;
  readonly pending: Pending | null;
  /** Every other user that ever took part. */
  readonly met: readonly string[];
  /** What each other device has, by its name: its user and the newest position it attested. */
  readonly peers: ReadonlyMap<string, readonly [string, number]>;
  readonly receipts: Receipts;
  readonly alarm: Raised | null;
  /** A commit did not open here: if others go on from it, the fault is ours. */
  readonly doubted: boolean;
}

export const NEW_STATE: State = {
  cursor: 0,
  lastCommit: 0,
  spokenEpoch: 0,
  highestEpoch: -1,
  incarnation: null,
  group: null,
  log: null,
  counters: new MessageCounters(),
  box: new Outbox(),
  pending: null,
  met: [],
  peers: new Map(),
  receipts: NO_RECEIPTS,
  alarm: null,
  doubted: false,
};

/** Encode for the vault. */
export function serializeState(state: State): Bytes {
  const { pending, alarm, receipts } = state;
  return pack([
    FORMAT,
    [state.cursor, state.lastCommit, state.spokenEpoch, state.highestEpoch],
    state.incarnation,
    state.group?.serialize() ?? null,
    state.log?.serialize() ?? null,
    state.counters.serialize(),
    state.box.serialize(),
    pending && [pending.id, pending.body, pending.after, pending.creates],
    state.met,
    [...state.peers].map(([device, [user, seq]]) => [device, user, seq] as const),
    [receipts.owed, receipts.lastMs],
    alarm && [alarm.code, alarm.evidence, alarm.halted],
    state.doubted,
  ]);
}

/** Decode from the vault; raises RecordInvalid, or what its parts raise. */
export function parseState(data: Bytes, portal: PortalId): State {
  try {
    const [
      format,
      numbers,
      incarnation,
      group,
      log,
      counters,
      box,
      pending,
      met,
      peers,
      receipts,
      alarm,
      doubted,
    ] = list(unpack(data));
    if (format !== FORMAT) throw new PackingError("another form");
    const [cursor, lastCommit, spokenEpoch, highestEpoch] = list(numbers).map(number);
    const [owed, lastMs] = list(receipts);
    return {
      cursor: cursor ?? 0,
      lastCommit: lastCommit ?? 0,
      spokenEpoch: spokenEpoch ?? 0,
      highestEpoch: highestEpoch ?? -1,
      incarnation: incarnation === null ? null : bytes(incarnation),
      group: group === null ? null : Group.parse(bytes(group), portal),
      log: log === null ? null : AttestLog.parse(bytes(log)),
      counters: MessageCounters.parse(bytes(counters)),
      // Nothing of an earlier connection is in flight on this one.
      box: Outbox.parse(bytes(box)).disconnected(),
      pending: pending === null ? null : parsePending(list(pending)),
      met: list(met).map(text),
      peers: new Map(list(peers).map(parsePeer)),
      receipts: { owed: owed === true, lastMs: lastMs === null ? null : number(lastMs) },
      alarm: alarm === null ? null : parseAlarm(list(alarm)),
      doubted: doubted === true,
    };
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new RecordInvalid("A stored conversation is damaged. Set this browser up anew.");
  }
}

function parsePending([id, body, after, creates]: readonly Value[]): Pending {
  return { id: bytes(id), body: bytes(body), after: bytes(after), creates: creates === true };
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
