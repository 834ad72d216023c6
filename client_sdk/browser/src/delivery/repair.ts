/**
 * What a device remembers of the stream, and how far a relay that lost entries still agrees with it (docs/PROTOCOL.md
 * section 4.1).
 */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { Attest } from "../content/envelope.ts";
import { attest as parseAttest } from "../content/envelope.ts";
import { ContentError, RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { list } from "../packed.ts";
import type { EntryKind } from "../wire/fields.ts";
import { COMMIT } from "../wire/fields.ts";
import type { Entry } from "../wire/frames.ts";

/**
 * Entries that a device remembers, about 200 bytes each: what two people say in weeks. A relay that lost more of a
 * stream than that is an alarm.
 */
export const MOST_PASSED = 4096;
/** Entries that are read again to see whether the relay still has them: they fit into its delivery window. */
export const MOST_COMPARED = 255;
/**
 * Times in a day that entries may be missing by a new incarnation before it is no bad luck any more. Each of them
 * lets a relay that lies put into another order what was said since.
 */
export const MOST_LOSSES = 8;
/** New incarnations in a day of any kind: a database may fail over now and then, and lose nothing by it. */
export const MOST_HISTORIES = 32;
const DAY_SECONDS = 86_400;
/** Earlier incarnations of a stream that are known: none of them can ever come again. */
const MOST_REMEMBERED = 64;
const FORMAT = 1;
const NONE = new Uint8Array();

/** One entry that this device has processed. */
export interface Passed {
  readonly seq: number;
  readonly kind: EntryKind;
  readonly afterCommit: number;
  readonly bodyHash: Bytes;
  /** S behind it; empty: of an epoch whose keys this device does not have any more. */
  readonly hash: Bytes;
  readonly epoch: number;
  /** That of its append if it is our own, else 0. */
  readonly counter: number;
  /** When it was processed here, in Unix seconds. */
  readonly at: number;
  /** Of a message that could be read: its id, the message that it amends, who sent it, and its counter inside. */
  readonly id: Bytes;
  readonly about: Bytes;
  readonly device: string;
  readonly number: number;
  readonly attest: Attest | null;
}

/** Of what could not be read. */
export const UNSAID = { id: NONE, about: NONE, device: "", number: 0, attest: null } as const;

/** The newest commit when this one had passed. */
export const commitAt = ({ kind, seq, afterCommit }: Passed): number => (kind === COMMIT ? seq : afterCommit);

/** Encode for the vault. */
export const serializePassed = (one: Passed): Bytes =>
  pack([
    FORMAT,
    [one.seq, one.kind, one.afterCommit, one.epoch, one.counter, one.at, one.number],
    [one.bodyHash, one.hash, one.id, one.about],
    one.device,
    one.attest && [one.attest.epoch, one.attest.seq, one.attest.hash],
  ]);

/** Decode from the vault; raises RecordInvalid. */
export function parsePassed(data: Bytes): Passed {
  try {
    const [format, numbers, parts, device, attest] = list(unpack(data));
    const [seq, kind, afterCommit, epoch, counter, at, number] = list(numbers) as readonly number[];
    const [bodyHash, hash, id, about] = list(parts) as readonly Bytes[];
    const typed =
      format === FORMAT &&
      [seq, kind, afterCommit, epoch, counter, at, number].every((one) => typeof one === "number") &&
      [bodyHash, hash, id, about].every((one) => one instanceof Uint8Array) &&
      typeof device === "string";
    if (!typed) throw new PackingError("a field of another form");
    const said = { id, about, device, number, attest: attest == null ? null : parseAttest(attest) };
    return { seq, kind, afterCommit, bodyHash, hash, epoch, counter, at, ...said } as Passed;
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof ContentError)) throw error;
    throw new RecordInvalid("A stored entry of the stream is damaged. Set this browser up anew.");
  }
}

/** Whether the relay's entry at this position is this one; our own come without their body. */
function isSame(known: Passed, { seq, kind, afterCommit, counter }: Entry, bodyHash: Bytes | null): boolean {
  if (seq !== known.seq || kind !== known.kind || afterCommit !== known.afterCommit) return false;
  if (bodyHash === null) return known.counter > 0 && counter === known.counter;
  return known.counter === 0 && equal(bodyHash, known.bodyHash);
}

/** Reads the newest entries that both have once more. */
export class Comparison {
  /** Compared are the positions after this one. */
  readonly base: number;
  /** The last position up to which nothing differs, once that is known; -1 if the first one differed. */
  agreed: number | null = null;
  readonly #passed: ReadonlyMap<number, Passed>;
  readonly #upto: number;
  readonly #lacksBeginning: boolean;
  #next: number;

  /**
   * `passed` are the remembered entries up to `upto`, the newest position that both have, in order and without gaps;
   * `first` is the relay's first position that is not erased, and `entered` the one by which this device came in.
   */
  constructor(passed: readonly Passed[], upto: number, first: number, entered: number) {
    this.#passed = new Map(passed.map((one) => [one.seq, one]));
    this.#upto = upto;
    this.base = (passed[0]?.seq ?? upto + 1) - 1;
    this.#next = Math.max(this.base + 1, first);
    this.#lacksBeginning = this.#next === this.base + 1 && this.#next !== entered;
    this.#settle();
  }

  /** The last position that was read again and is the same, or that is erased. */
  get sameUpto(): number {
    return this.#next - 1;
  }

  /** The relay's next entry; what lies outside the comparison changes nothing. */
  feed(entry: Entry, bodyHash: Bytes | null): void {
    const known = this.#passed.get(entry.seq);
    if (this.agreed !== null || known === undefined || entry.seq > this.#upto) return;
    const same = isSame(known, entry, bodyHash);
    if (entry.seq < this.#next) {
      if (!same) this.agreed = -1; // the newest commit, kept beyond its time
    } else if (entry.seq > this.#next || !same) {
      this.agreed = this.#lacksBeginning && this.#next === this.base + 1 ? -1 : this.#next - 1;
    } else {
      this.#next += 1;
      this.#settle();
    }
  }

  #settle(): void {
    if (this.#next > this.#upto) this.agreed = this.#upto;
  }
}

/** An incarnation that a stream had, when it was another one (Unix seconds), and whether entries were missing then. */
export interface History {
  readonly incarnation: Bytes;
  readonly at: number;
  readonly lost: boolean;
}

/** The stream's incarnation is another one; raises SecurityAlarm if that cannot be bad luck any more. */
export function afterIncarnation(
  known: readonly History[],
  before: Bytes,
  now: Bytes,
  { at, lost }: Omit<History, "incarnation">,
): readonly History[] {
  const lately = known.filter((one) => Math.abs(at - one.at) < DAY_SECONDS);
  const losses = lately.filter((one) => one.lost).length + (lost ? 1 : 0);
  const returned = known.some(({ incarnation }) => equal(incarnation, now));
  if (returned || lately.length >= MOST_HISTORIES || losses > MOST_LOSSES) throw replaced(before, now);
  return [...known, { incarnation: before, at, lost }].slice(-MOST_REMEMBERED);
}

/** It is not the stream that this device has read. */
export const replaced = (before: Bytes, now: Bytes): SecurityAlarm =>
  new SecurityAlarm("stream_replaced", { before, now });
