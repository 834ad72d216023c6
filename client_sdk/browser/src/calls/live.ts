/** A call that lives in the Worker: its negotiation, with a clock, a way out and the page that has its media. */

import type { Bytes, Rng } from "../bytes.ts";
import { CoachRelayError } from "../errors.ts";
import type { Message } from "./messages.ts";
import { step } from "./negotiation.ts";
import type { CallFacts, Event, MediaAction, Negotiation } from "./states.ts";
import { begin, wakeAt } from "./states.ts";
import type { MediaNews } from "./told.ts";

const NONCE_BYTES = 32;
/** Messages waiting to be sent; what comes beyond is lost, as any ephemeral message may be. */
const MAX_QUEUED = 256;

/** What it needs of the world. `send` gives the authenticator of the epoch that it was sealed under. */
export interface Line {
  nowMs(): number;
  readonly rng: Rng;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  send(message: Message): Promise<Bytes>;
  /** Something for the page to do; when it resolves, it was told. */
  work(action: MediaAction): void;
  /** The state is another one. */
  changed(before: Negotiation): void;
  fault(error: unknown): void;
}

export class LiveCall {
  readonly #line: Line;
  #state: Negotiation;
  #sending: Promise<void> = Promise.resolve();
  #queued = 0;
  #timer = new AbortController();
  /** How its newest connection went. */
  path = "";

  constructor(facts: CallFacts, line: Line) {
    this.#state = begin(facts);
    this.#line = line;
  }

  get state(): Negotiation {
    return this.#state;
  }

  /** Raises CallNotPossible for a person's wish out of place. */
  happen(event: Event): void {
    const before = this.#state;
    const [state, actions] = step(before, event, this.#line.nowMs());
    this.#state = state;
    for (const action of actions) {
      if (action.type === "send") this.#send(action.message);
      else this.#line.work(action);
    }
    this.#wake();
    if (state !== before) this.#line.changed(before);
  }

  /** What the page says of the connection. */
  told(news: MediaNews): void {
    if (news.type === "candidateFound") {
      const { attempt, candidate, mid, index } = news;
      const found = { kind: "call.candidate", attempt, candidate, mid, index } as const;
      this.happen({ type: "candidateFound", candidate: found });
    } else if ("sdp" in news) {
      const { type, attempt, sdp } = news;
      this.happen({ type, attempt, sdp, nonce: this.#line.rng(NONCE_BYTES) });
    } else {
      if (news.type === "mediaUp") this.path = news.path;
      this.happen(news);
    }
  }

  /** Nothing more happens to it. */
  close(): void {
    this.#timer.abort();
  }

  #send(message: Message): void {
    if (this.#queued >= MAX_QUEUED) return;
    this.#queued += 1;
    this.#sending = this.#sending
      .then(() => this.#sendOne(message))
      .catch((error) => this.#line.fault(error));
  }

  async #sendOne(message: Message): Promise<void> {
    this.#queued -= 1;
    try {
      const authenticator = await this.#line.send(message);
      if (message.kind !== "call.offer") return;
      this.happen({ type: "offerSent", attempt: message.attempt, authenticator });
    } catch (error) {
      // As if it had got lost on the way: what matters is sent again.
      if (!(error instanceof CoachRelayError)) throw error;
    }
  }

  #wake(): void {
    this.#timer.abort();
    const due = wakeAt(this.#state);
    if (due === null) return;
    const timer = new AbortController();
    this.#timer = timer;
    void this.#line.sleep(Math.max(0, due - this.#line.nowMs()), timer.signal).then(() => {
      if (!timer.signal.aborted) this.happen({ type: "tick" });
    });
  }
}
