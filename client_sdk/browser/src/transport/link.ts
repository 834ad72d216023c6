/**
 * The lasting connection to a relay: connects, renews the token, notices that the network dropped it, and connects
 * again when it broke.
 */

import { CoachRelayError, RelayRefused, RelayUnreachable } from "../errors.ts";
import type { DeviceFrame, RelayFrame, RelayFrames } from "../wire/frames.ts";
import { Backoff } from "./backoff.ts";
import { whyRefused } from "./refusals.ts";
import type { End, LinkOptions } from "./session.ts";
import { SentAway, Session } from "./session.ts";

const RENEW_AT = 0.8; // of the token's remaining life: leaves time for the portal to be slow
const RENEW_RETRY_MS = 5000;
const MAX_RETRY_AFTER_MS = 120_000; // a relay cannot send a device away for longer
const REQUEST_MS = 20_000;
const LOOK_MS = 5000;
const SILENT_LOOKS = 4; // about as often as the relay pings, which scripts do not see
const MOVED_MS = 5000; // another network has answered by then, or the old connection is dead

/**
 * Who works on what the link brings; `received` is not called again before it has resolved. `isOver` tells, at any time,
 * whether the connection has ended or the stream of these entries was opened anew: then they are for nobody.
 */
export interface LinkHandler {
  connected(ready: RelayFrames["Ready"]): Promise<void>;
  received(frame: RelayFrame, isOver: () => boolean): Promise<void>;
  disconnected(error: CoachRelayError | null): Promise<void>;
  /** The portal is asked for another token: the present one ends then (Unix milliseconds). */
  tokenExpiring?(endsMs: number): void;
}

type Answer = Extract<RelayFrame, { readonly request: number }>;
type Asked = Extract<DeviceFrame, { readonly request: number }>;
type Question = Asked extends infer Q ? (Q extends Asked ? Omit<Q, "request"> : never) : never;

export class Link {
  readonly #options: LinkOptions;
  readonly #handler: LinkHandler;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #requests = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  #wait = new AbortController();
  #session: Session | null = null;
  #lastRequest = 0;

  constructor(options: LinkOptions, handler: LinkHandler) {
    this.#options = options;
    this.#handler = handler;
    this.#backoff = new Backoff(options.environment.fraction);
  }

  get online(): boolean {
    return this.#session !== null;
  }

  /** Connect, again and again, until `close`. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { error, retryAfterMs } = await this.#connectOnce();
      await this.#handler.disconnected(signal.aborted ? null : error);
      await this.#pause(Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
    }
  }

  /** For as long as the relay says; else for a while of our own, which `check` ends. */
  async #pause(retryAfterMs: number): Promise<void> {
    const { environment } = this.#options;
    if (retryAfterMs > 0 || this.#stop.signal.aborted)
      return environment.sleep(retryAfterMs, this.#stop.signal);
    this.#wait = new AbortController();
    await environment.sleep(this.#backoff.nextDelayMs(), this.#wait.signal);
  }

  /** Have these frames go out in order, in one websocket message; what is said offline is lost. */
  send(...frames: readonly DeviceFrame[]): void {
    if (frames.length > 0) this.#session?.send(frames);
  }

  /** Ask and wait for the answer; raises RelayRefused or RelayUnreachable. */
  async ask<K extends Answer["frame"]>(
    question: Question,
    answer: K,
    patienceMs = REQUEST_MS,
  ): Promise<RelayFrames[K]> {
    const request = ++this.#lastRequest;
    const session = this.#session;
    if (session === null) throw new RelayUnreachable("There is no connection to the relay.");
    const found = await new Promise<Answer>((resolve, reject) => {
      this.#requests.set(request, { resolve, reject });
      session.send([{ ...question, request } as DeviceFrame]);
      if (!session.isOpen) reject(new RelayUnreachable("The connection ended."));
      this.#options.environment
        .sleep(patienceMs, this.#stop.signal)
        .then(() => reject(new RelayUnreachable("The relay did not answer in time.")));
    }).finally(() => this.#requests.delete(request));
    if (found.frame !== answer) throw new RelayUnreachable("The relay's answer breaks the protocol.");
    return found as RelayFrames[K];
  }

  /** The network may be another one: a dead connection is given up soon, and the next one does not wait. */
  check(): void {
    this.#wait.abort();
    if (this.#session !== null) void this.#probe(this.#session, MOVED_MS);
  }

  close(): void {
    this.#stop.abort();
    this.#wait.abort();
    this.#session?.close();
  }

  async #connectOnce(): Promise<End> {
    const { environment } = this.#options;
    try {
      const session = await Session.open(this.#options, this.#stop.signal);
      this.#session = session;
      const since = environment.nowMs();
      const done = new AbortController();
      try {
        void this.#keepToken(session.ready, done.signal);
        void this.#keepAlive(session, done.signal);
        session.onFrame = (frame, isOver) => this.#take(frame, isOver);
        // Who waits for an answer hears of the end at once: so does what is done at the beginning.
        void session.ended.then(() => this.#unanswered());
        await this.#handler.connected(session.ready);
        return await session.ended;
      } finally {
        done.abort();
        this.#backoff.connectionLived(environment.nowMs() - since);
      }
    } catch (error) {
      if (!(error instanceof CoachRelayError)) throw error;
      return { error, retryAfterMs: error instanceof SentAway ? error.retryAfterMs : 0 };
    } finally {
      this.#session?.close();
      this.#session = null;
      this.#unanswered();
    }
  }

  #unanswered(): void {
    for (const { reject } of this.#requests.values()) reject(new RelayUnreachable("The connection ended."));
  }

  async #take(frame: RelayFrame, isOver: () => boolean): Promise<void> {
    const waiting = "request" in frame ? this.#requests.get(frame.request) : undefined;
    if (waiting === undefined) await this.#handler.received(frame, isOver);
    else if (frame.frame === "Error") waiting.reject(new RelayRefused(whyRefused(frame.code), frame.code));
    else waiting.resolve(frame as Answer);
  }

  /** A connection that a network dropped stays open for ever: who is silent is asked for a sign of life. */
  async #keepAlive(session: Session, done: AbortSignal): Promise<void> {
    let [heard, silent] = [session.messages, 0];
    while (!done.aborted) {
      await this.#options.environment.sleep(LOOK_MS, done);
      silent = session.messages === heard ? silent + 1 : 0;
      if (silent >= SILENT_LOOKS && !done.aborted) {
        await this.#probe(session, REQUEST_MS);
        silent = 0;
      }
      heard = session.messages;
    }
  }

  /** Who answers is alive; who does not is asked again only while something still comes, or what we send goes out. */
  async #probe(session: Session, patienceMs: number): Promise<void> {
    while (session.isOpen) {
      const { messages, unsent } = session;
      try {
        await this.ask({ frame: "PutManifest", manifest: null }, "HeldManifest", patienceMs);
        return;
      } catch (error) {
        if (error instanceof RelayRefused) return; // an answer, too
        if (session.messages === messages && session.unsent >= unsent) session.giveUp();
      }
    }
  }

  async #keepToken(ready: RelayFrames["Ready"], done: AbortSignal): Promise<void> {
    const { environment, token } = this.#options;
    let lifeMs = (ready.tokenExpires - ready.time) * 1000;
    const aheadMs = ready.time * 1000 - environment.nowMs(); // this machine's clock may be wrong
    let wait = lifeMs * RENEW_AT;
    while (true) {
      await environment.sleep(wait, done);
      if (done.aborted) return;
      try {
        const began = environment.nowMs();
        this.#handler.tokenExpiring?.(began + lifeMs * (1 - RENEW_AT));
        const { tokenExpires } = await this.ask({ frame: "Renew", token: await token() }, "Renewed");
        lifeMs = tokenExpires * 1000 - aheadMs - began;
        wait = Math.max(lifeMs * RENEW_AT, RENEW_RETRY_MS);
      } catch {
        wait = RENEW_RETRY_MS; // the relay says goodbye when the old one ends: that is reported
      }
    }
  }
}
