/** What follows of how a conversation stands: whatever this device can do about it now is done. */

import { receipt } from "../content/messages.ts";
import type { Receipts } from "../delivery/receipts.ts";
import { dueMs, NO_RECEIPTS, received as receiptFor, receiptSent } from "../delivery/receipts.ts";
import type { Environment } from "../environment.ts";
import { RelayError } from "../errors.ts";
import type { Admissions } from "./admissions.ts";
import { isAway, missed } from "./outOfStep.ts";
import { rejoin } from "./rejoining.ts";
import { offerNext } from "./repairing.ts";
import { encryptNext, queue } from "./sending.ts";
import { caughtUp, isEnded, mayEncrypt, mayOffer } from "./situation.ts";
import { phaseOf } from "./state.ts";
import type { Steps } from "./steps.ts";
import type { Stream } from "./stream.ts";
import type { Telling } from "./telling.ts";

/** An honest relay begins to deliver what it has long before. */
const TAIL_MS = 20_000;

export class Duties {
  readonly #steps: Steps;
  readonly #stream: Stream;
  readonly #admissions: Admissions;
  readonly #telling: Telling;
  readonly #environment: Environment;
  readonly #fault: (error: unknown) => void;
  readonly #timers = new Set<string>();
  #reads: Receipts = NO_RECEIPTS;
  #due = false;

  constructor(
    steps: Steps,
    stream: Stream,
    admissions: Admissions,
    telling: Telling,
    environment: Environment,
    fault: (error: unknown) => void,
  ) {
    this.#steps = steps;
    this.#stream = stream;
    this.#admissions = admissions;
    this.#telling = telling;
    this.#environment = environment;
    this.#fault = fault;
  }

  /** Do whatever can be done now; what nobody waits for. */
  wake(): void {
    if (this.#due) return;
    this.#due = true;
    this.#steps.locked(() => this.#goOn()).catch((error: unknown) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (!(error instanceof RelayError)) this.#fault(error); // the next connection tries it again
  }

  async #goOn(): Promise<void> {
    this.#due = false;
    await this.#giveUpTail();
    const { situation, link } = this.#stream;
    if (caughtUp(situation) && situation.state.alarm === null && link !== null) {
      await this.#rejoinIfDue();
      await this.#offerIfDue();
      await this.#receiptIfDue();
      await this.#pump();
      this.#admissions.wake();
    }
    this.#telling.situation(this.#stream.situation);
  }

  /** Rejoin if what came while this device was away is erased: nothing of it will ever come. */
  async #giveUpTail(): Promise<void> {
    const { situation, quietMs } = this.#stream;
    const { opened, state } = situation;
    const member = phaseOf(state) === "member" && state.alarm === null;
    if (opened === null || !member || caughtUp(situation)) return;
    if (quietMs < TAIL_MS) {
      this.#later("tail", Math.max(1000, TAIL_MS - quietMs));
      return;
    }
    if (!isAway(state, Math.floor(this.#environment.nowMs() / 1000))) return;
    await this.#steps.work(async (work) => missed(work, opened.head + 1));
    this.#stream.reopen().catch((error: unknown) => this.#failed(error));
  }

  async #rejoinIfDue(): Promise<void> {
    const { newest, opened, state } = this.#stream.situation;
    const due = phaseOf(state) === "rejoining" && newest.seq > newest.tried;
    const unanswered = state.box.items.some((item) => item.state === "sent");
    if (!due || unanswered || opened === null) return;
    newest.tried = newest.seq;
    await this.#steps.work((work) => rejoin(work, newest.groupInfos, opened.lastCounter));
  }

  /** Offer the relay the next commit that it lost, unless one is on its way. */
  async #offerIfDue(): Promise<void> {
    if (mayOffer(this.#stream.situation)) await this.#steps.work(offerNext);
  }

  /** A receipt, if one is owed and nothing else says the same. */
  async #receiptIfDue(): Promise<void> {
    const { box, read, readTold, receipts } = this.#steps.state;
    if (box.items.length > 0 || !mayEncrypt(this.#stream.situation)) return;
    const now = this.#environment.nowMs();
    this.#reads = read > readTold ? receiptFor(this.#reads, false) : { ...this.#reads, owed: false };
    const due = [dueMs(receipts, now), dueMs(this.#reads, now)].filter((at) => at !== null);
    for (const at of due) if (at > now) this.#later("receipt", at - now);
    if (!due.some((at) => at <= now)) return;
    if (read > readTold) this.#reads = receiptSent(now);
    await this.#steps.work(async (work) => {
      work.change({ readTold: Math.max(readTold, read) });
      await queue(work, receipt(read > readTold ? read : null), { quiet: true });
    });
  }

  /** Encrypt what may be encrypted, and hand over what is. */
  async #pump(): Promise<void> {
    const { situation, patienceMs } = this.#stream;
    const { nextToEncrypt, toSend } = situation.state.box;
    const encrypts = nextToEncrypt !== null && mayEncrypt(situation);
    if (!encrypts && toSend.length === 0) return;
    if (situation.stopped !== "" || isEnded(situation)) return;
    if (patienceMs > 0) {
      this.#later("retry", patienceMs);
      return;
    }
    if (encrypts) {
      await this.#steps.work(async (work) => {
        while ((await encryptNext(work)) !== null);
      });
    }
    await this.#stream.handOver();
  }

  /** Go on after so many milliseconds, unless that is arranged already. */
  #later(name: string, ms: number): void {
    if (this.#timers.has(name)) return;
    this.#timers.add(name);
    void this.#environment.sleep(ms).then(() => {
      this.#timers.delete(name);
      this.wake();
    });
  }
}
