/** How long to wait before connecting again: exponential, with full jitter, so that not all return at once. */

const FIRST_MS = 250; // most broken connections heal at once
const CAP_MS = 30_000; // nobody waits longer for a relay that is back
const STABLE_MS = 30_000; // a connection that lived this long was a good one

/** The waits of one client. `fraction` gives a random number from 0 below 1. */
export class Backoff {
  readonly #fraction: () => number;
  #failures = 0;

  constructor(fraction: () => number) {
    this.#fraction = fraction;
  }

  /** Milliseconds to wait after one more failure. */
  nextDelayMs(): number {
    const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    return this.#fraction() * ceiling;
  }

  /** Begin anew if the connection that just ended was a stable one. */
  connectionLived(ms: number): void {
    if (ms >= STABLE_MS) this.#failures = 0;
  }
}
