/** Where this device stands in a stream, and whether peers' attestations agree (docs/PROTOCOL.md section 8). */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { concat, equal } from "../bytes.ts";
import type { Attest } from "../content/envelope.ts";
import { MOST_CLOSINGS, attest as parseAttest } from "../content/envelope.ts";
import { ContentError, RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { COMMIT } from "../wire/fields.ts";
import type { Passed } from "./repair.ts";
import { commitAt } from "./repair.ts";
import type { HashedEntry } from "./streamHash.ts";
import { afterCommit, afterEntry, entryHash, HASH_BYTES } from "./streamHash.ts";

/**
 * Positions of the current epoch whose hash is remembered: the relay's delivery window, so that whoever sends
 * while online attests a position in it.
 */
export const RECENT = 256;
/** Closed epochs whose last hash is remembered: eight times what one message carries. */
const CLOSINGS = 64;
const FORMAT = 1;

/** An epoch that an accepted commit began. */
export interface Epoch {
  readonly epoch: number;
  readonly authenticator: Bytes;
}

/**
 * Each step gives the next log. `lastCommit` is the position of the newest commit entry, void ones included:
 * what an append names.
 */
export class AttestLog {
  readonly epoch: number;
  readonly seq: number;
  readonly lastCommit: number;
  /** S of the newest positions of this epoch, the last of them that of `seq`. */
  readonly #recent: readonly Bytes[];
  readonly #closings: readonly Attest[];

  private constructor(
    epoch: number,
    seq: number,
    lastCommit: number,
    recent: readonly Bytes[],
    closings: readonly Attest[],
  ) {
    this.epoch = epoch;
    this.seq = seq;
    this.lastCommit = lastCommit;
    this.#recent = recent;
    this.#closings = closings;
  }

  /** At the commit by which this device created the group, was added to it, or rejoined. */
  static begin(entry: Omit<HashedEntry, "kind">, began: Epoch, closings: readonly Attest[] = []): AttestLog {
    const start = afterCommit(began.authenticator, entryHash({ ...entry, kind: COMMIT }));
    return new AttestLog(began.epoch, entry.seq, entry.seq, [start], closings.slice(-CLOSINGS));
  }

  /** As it was behind the last of these entries, which stand in order; null if that is not known any more. */
  static at(passed: readonly Passed[], closings: readonly Attest[]): AttestLog | null {
    const last = passed.at(-1);
    if (last === undefined || last.hash.length === 0) return null;
    const recent: Bytes[] = [];
    for (const { epoch, hash } of passed.slice(-RECENT)) {
      if (epoch !== last.epoch || hash.length === 0) recent.length = 0;
      else recent.push(hash);
    }
    const kept = closings.filter(({ epoch, seq }) => epoch < last.epoch && seq <= last.seq);
    return new AttestLog(last.epoch, last.seq, commitAt(last), recent, kept);
  }

  /** Behind a message or a void commit; raises SecurityAlarm (`stream_skipped`, `stream_forked`). */
  afterEntry(entry: HashedEntry): AttestLog {
    this.#checkNext(entry);
    const newest = afterEntry(this.#newest, entryHash(entry));
    const last = entry.kind === COMMIT ? entry.seq : this.lastCommit;
    const recent = [...this.#recent.slice(1 - RECENT), newest];
    return new AttestLog(this.epoch, entry.seq, last, recent, this.#closings);
  }

  /** Behind an accepted commit; raises SecurityAlarm (`stream_skipped`, `stream_forked`). */
  afterCommit(entry: Omit<HashedEntry, "kind">, began: Epoch): AttestLog {
    this.#checkNext(entry);
    return AttestLog.begin(entry, began, [...this.#closings, this.attest]);
  }

  /** What this device attests now. */
  get attest(): Attest {
    return { epoch: this.epoch, seq: this.seq, hash: this.#newest };
  }

  /** The last hashes of the epochs that are closed. */
  get closings(): readonly Attest[] {
    return this.#closings;
  }

  /** The closing values from `epoch` (that of one's last message) on, at most the newest 8. */
  closingsSince(epoch: number): readonly Attest[] {
    return this.#closings.filter((closing) => closing.epoch >= epoch).slice(-MOST_CLOSINGS);
  }

  /**
   * Whether the message at `entrySeq` attests what this log, standing just before it, says too; raises
   * SecurityAlarm (`stream_forked`). Its sender had processed the newest commit, and cannot have seen the
   * message's own position. Positions this log no longer holds are not compared.
   */
  check(attest: Attest, closings: readonly Attest[], entrySeq: number): void {
    const present = attest.epoch === this.epoch && attest.seq >= this.lastCommit && attest.seq < entrySeq;
    const known = present ? this.hashAt(attest.seq) : null;
    if (!present || (known !== null && !equal(known, attest.hash))) throw this.#forked(attest, entrySeq);
    for (const closing of closings) {
      const mine = this.#closings.find((one) => one.epoch === closing.epoch) ?? closing;
      const same = mine.seq === closing.seq && equal(mine.hash, closing.hash);
      if (closing.epoch >= this.epoch || !same) throw this.#forked(closing, entrySeq);
    }
  }

  /** S at a position of the current epoch; null if this log does not hold it. */
  hashAt(seq: number): Bytes | null {
    const back = this.seq - seq;
    return (back >= 0 && this.#recent[this.#recent.length - 1 - back]) || null;
  }

  get #newest(): Bytes {
    return this.#recent.at(-1) ?? new Uint8Array(HASH_BYTES);
  }

  #checkNext({ seq, afterCommit }: { readonly seq: number; readonly afterCommit: number }): void {
    if (seq !== this.seq + 1) throw new SecurityAlarm("stream_skipped", { expected: this.seq + 1, got: seq });
    if (afterCommit !== this.lastCommit) {
      throw new SecurityAlarm("stream_forked", {
        seq,
        last_commit: this.lastCommit,
        after_commit: afterCommit,
      });
    }
  }

  #forked(attest: Attest, entry: number): SecurityAlarm {
    return new SecurityAlarm("stream_forked", {
      entry,
      attested_epoch: attest.epoch,
      attested_seq: attest.seq,
      attested_hash: attest.hash,
      own_epoch: this.epoch,
      own_seq: this.seq,
      own_hash: this.hashAt(attest.seq) ?? this.#newest,
    });
  }

  /** Encode for the vault, at most about 12 KiB. */
  serialize(): Bytes {
    const closings = this.#closings.map(({ epoch, seq, hash }) => [epoch, seq, hash] as const);
    return pack([FORMAT, this.epoch, this.seq, this.lastCommit, concat(...this.#recent), closings]);
  }

  /** Decode from the vault; raises RecordInvalid. */
  static parse(data: Bytes): AttestLog {
    try {
      const values = unpack(data);
      const [format, epoch, seq, lastCommit, joined, closings] = Array.isArray(values) ? values : [];
      if (
        format !== FORMAT ||
        typeof epoch !== "number" ||
        typeof seq !== "number" ||
        typeof lastCommit !== "number" ||
        !(joined instanceof Uint8Array) ||
        joined.length === 0 ||
        joined.length % HASH_BYTES !== 0 ||
        !Array.isArray(closings)
      ) {
        throw new PackingError("a field of another form");
      }
      const recent = Array.from({ length: joined.length / HASH_BYTES }, (_, i) =>
        joined.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES),
      );
      return new AttestLog(epoch, seq, lastCommit, recent, closings.map(parseAttest));
    } catch (error) {
      if (!(error instanceof PackingError || error instanceof ContentError)) throw error;
      throw new RecordInvalid("A stored attest log is damaged. Set this browser up anew.");
    }
  }
}
