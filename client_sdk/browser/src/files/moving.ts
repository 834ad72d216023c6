/** One file on its way, as the page sees it: what it is doing, and how it is paused and given up. */

import type { Notice, Transfer } from "../api.ts";
import { TransferCancelled } from "../attachments/errors.ts";

/** Progress is told when so much of the file has moved, or its state has changed. */
const STEPS = 200;

/** The person wants it to wait; what has moved stays. */
class Paused extends Error {}

export class Moving {
  readonly #tell: (transfer: Transfer) => void;
  #shown: Transfer;
  #told: number;
  #run = new AbortController();
  #goOn: () => void = () => undefined;
  #paused: Promise<void> | null = null;
  cancelled = false;

  constructor(shown: Omit<Transfer, "failure" | "done">, tell: (transfer: Transfer) => void) {
    this.#shown = { ...shown, done: 0, failure: null };
    this.#told = 0;
    this.#tell = tell;
    if (shown.state === "paused") this.pause();
  }

  get shown(): Transfer {
    return this.#shown;
  }

  get paused(): boolean {
    return this.#paused !== null;
  }

  /** Aborted when it is paused or cancelled. */
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  be(state: Transfer["state"], failure: Notice | null = null): void {
    if (this.cancelled && state !== "cancelled") return;
    if (state === this.#shown.state && failure === this.#shown.failure) return;
    this.#shown = { ...this.#shown, state, failure };
    this.#say();
  }

  /** So much of the sealed file has moved, of so much. */
  moved(sealed: number, of: number): void {
    const { size } = this.#shown;
    const done = sealed >= of ? size : Math.min(size, Math.floor((sealed / of) * size));
    this.#shown = { ...this.#shown, done };
    if (done === size || Math.abs(done - this.#told) >= size / STEPS) this.#say();
  }

  #say(): void {
    this.#told = this.#shown.done;
    this.#tell(this.#shown);
  }

  pause(): void {
    if (this.#paused !== null || this.cancelled) return;
    this.#paused = new Promise((resolve) => {
      this.#goOn = resolve;
    });
    this.#run.abort(new Paused());
    this.be("paused");
  }

  resume(): void {
    if (this.#paused === null) return;
    this.#paused = null;
    this.#run = new AbortController();
    this.#goOn();
  }

  cancel(): void {
    this.cancelled = true;
    this.#paused = null;
    this.#run.abort(new TransferCancelled());
    this.#goOn();
    this.be("cancelled");
  }

  /** Do this until it is done, again after each pause. Raises TransferCancelled, or what the action raises. */
  async until<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    while (true) {
      await this.#paused;
      if (this.cancelled) throw new TransferCancelled();
      const { signal } = this.#run;
      try {
        return await action(signal);
      } catch (error) {
        if (this.cancelled) throw new TransferCancelled();
        if (!signal.aborted) throw error;
      }
    }
  }
}
