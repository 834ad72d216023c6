/** A stream of another incarnation on the present connection: met, read again, and gone on with, step by step. */

import { SecurityAlarm } from "../alarms.ts";
import { equal } from "../bytes.ts";
import { sha256 } from "../crypto.ts";
import type { Comparison } from "../delivery/repair.ts";
import type { Link } from "../transport/link.ts";
import type { Entry, RelayFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { conclude, meet } from "./comparing.ts";
import type { Work } from "./work.ts";

type Opened = RelayFrames["Opened"];
type Step = <T>(action: (work: Work) => Promise<T>) => Promise<T>;

export class Incarnations {
  readonly #id: EngagementId;
  readonly #step: Step;
  readonly #restored: () => void;
  #comparing: readonly [Opened, Comparison] | null = null;

  /** `step` makes a change durable; `restored` is told that the relay has gone back, or says so. */
  constructor(id: EngagementId, step: Step, restored: () => void) {
    this.#id = id;
    this.#step = step;
    this.#restored = restored;
  }

  /** What was begun is over: the stream is opened anew, or the connection is gone. */
  forget(): void {
    this.#comparing = null;
  }

  /** See how far we still agree; whether the stream is to be opened once more then. */
  async meet(link: Link, opened: Opened): Promise<boolean> {
    const comparison = await this.#judged((work) => meet(work, opened));
    if (comparison === undefined || comparison === null) return comparison === null;
    const after = comparison.base;
    const again = await link.ask({ frame: "Open", stream: this.#id, after }, "Opened");
    if (!equal(again.incarnation, opened.incarnation)) return true; // it takes it back
    this.#comparing = [again, comparison];
    return false;
  }

  /** Entries that are read again, if some are; whether the stream is to be opened once more then. */
  async compare(link: Link | null, entries: readonly Entry[]): Promise<boolean> {
    if (this.#comparing === null) return false;
    const [opened, comparison] = this.#comparing;
    for (const entry of entries) comparison.feed(entry, entry.body && sha256(entry.body));
    link?.send({ frame: "Ack", stream: this.#id, seq: comparison.sameUpto });
    if (comparison.agreed === null) return false;
    this.#comparing = null;
    return (await this.#judged((work) => conclude(work, opened, comparison).then(() => null))) === null;
  }

  /** What it gives: null, if all is dealt with; undefined, if it is an alarm. */
  async #judged<T>(action: (work: Work) => Promise<T>): Promise<T | undefined> {
    const result = await this.#step(async (work) => {
      const before = work.state;
      try {
        return await action(work);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        work.halt(error, before);
        return undefined;
      }
    });
    if (result === null) this.#restored();
    return result;
  }
}
