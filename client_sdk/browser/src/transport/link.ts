/** The lasting connection to a relay: connects, renews the token, and connects again when it breaks. */

import type { Bytes } from "../bytes.ts";
import type { Environment, Socket } from "../environment.ts";
import { AccessRefused, CoachRelayError, RelayRefused, RelayUnreachable } from "../errors.ts";
import type { KeyPair } from "../identity/keys.ts";
import { decodeFromRelay, encode } from "../wire/codec.ts";
import { Connection } from "../wire/connection.ts";
import { WireError } from "../wire/errors.ts";
import type { DeviceFrame, RelayFrame, RelayFrames, UnknownFrame } from "../wire/frames.ts";
import type { PortalId } from "../wire/ids.ts";
import { deviceId } from "../wire/ids.ts";
import { HANDSHAKE_SECONDS, NONCE_BYTES, PROTOCOL_VERSION } from "../wire/limits.ts";
import { connectProofBytes } from "../wire/proof.ts";
import type { RelayAddress } from "./address.ts";
import { Backoff } from "./backoff.ts";

const RENEW_AT = 0.8; // of the token's remaining life: leaves time for the portal to be slow
const RENEW_RETRY_MS = 5000;
const MAX_RETRY_AFTER_MS = 120_000; // a relay cannot send a device away for longer
const REQUEST_MS = 20_000;

/** The relay does not let this device in until something changes: the token, its device list, our version. */
const ACCESS_CODES = new Set([
  "unsupported_version",
  "token_invalid",
  "token_revoked",
  "signature_invalid",
  "device_limit",
  "device_foreign",
  "device_revoked",
  "quota_exceeded",
]);

/** What the link needs to know. `token` asks the portal. */
export interface LinkOptions {
  readonly address: RelayAddress;
  readonly portal: PortalId;
  readonly device: KeyPair;
  readonly token: () => Promise<string>;
  readonly environment: Environment;
}

/** Who works on what the link brings; `received` is not called again before it has resolved. */
export interface LinkHandler {
  connected(ready: RelayFrames["Ready"]): Promise<void>;
  received(frame: RelayFrame): Promise<void>;
  disconnected(error: CoachRelayError | null): Promise<void>;
  /** The portal is asked for another token: the present one ends then (Unix milliseconds). */
  tokenExpiring?(endsMs: number): void;
}

type Answer = Extract<RelayFrame, { readonly request: number }>;
type Asked = Extract<DeviceFrame, { readonly request: number }>;
type Question = Asked extends infer Q ? (Q extends Asked ? Omit<Q, "request"> : never) : never;

/** How a connection ended, and how long to wait before the next: null for our own judgement. */
interface End {
  readonly error: CoachRelayError;
  readonly retryAfterMs: number;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #handler: LinkHandler;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #requests = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
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
    const { environment } = this.#options;
    while (!this.#stop.signal.aborted) {
      const { error, retryAfterMs } = await this.#connectOnce();
      await this.#handler.disconnected(this.#stop.signal.aborted ? null : error);
      const wait = Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) || this.#backoff.nextDelayMs();
      await environment.sleep(wait, this.#stop.signal);
    }
  }

  /** Have these frames go out in order, in one websocket message; what is said offline is lost. */
  send(...frames: readonly DeviceFrame[]): void {
    if (frames.length > 0) this.#session?.send(frames);
  }

  /** Ask and wait for the answer; raises RelayRefused or RelayUnreachable. */
  async ask<K extends Answer["frame"]>(question: Question, answer: K): Promise<RelayFrames[K]> {
    const request = ++this.#lastRequest;
    const session = this.#session;
    if (session === null) throw new RelayUnreachable("There is no connection to the relay.");
    const found = await new Promise<Answer>((resolve, reject) => {
      this.#requests.set(request, { resolve, reject });
      session.send([{ ...question, request } as DeviceFrame]);
      if (!session.isOpen) reject(new RelayUnreachable("The connection ended."));
      this.#options.environment
        .sleep(REQUEST_MS, this.#stop.signal)
        .then(() => reject(new RelayUnreachable("The relay did not answer in time.")));
    }).finally(() => this.#requests.delete(request));
    if (found.frame !== answer) throw new RelayUnreachable("The relay's answer breaks the protocol.");
    return found as RelayFrames[K];
  }

  close(): void {
    this.#stop.abort();
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
        session.onFrame = (frame) => this.#take(frame);
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

  async #take(frame: RelayFrame): Promise<void> {
    const waiting = "request" in frame ? this.#requests.get(frame.request) : undefined;
    if (waiting === undefined) await this.#handler.received(frame);
    else if (frame.frame === "Error")
      waiting.reject(new RelayRefused(`The relay refused (${frame.code}).`, frame.code));
    else waiting.resolve(frame as Answer);
  }

  async #keepToken(ready: RelayFrames["Ready"], done: AbortSignal): Promise<void> {
    const { environment, token } = this.#options;
    let lifeMs = (ready.tokenExpires - ready.time) * 1000;
    let wait = lifeMs * RENEW_AT;
    while (true) {
      await environment.sleep(wait, done);
      if (done.aborted) return;
      try {
        const began = environment.nowMs();
        this.#handler.tokenExpiring?.(began + lifeMs * (1 - RENEW_AT));
        const { tokenExpires } = await this.ask({ frame: "Renew", token: await token() }, "Renewed");
        lifeMs = tokenExpires * 1000 - began;
        wait = Math.max(lifeMs * RENEW_AT, RENEW_RETRY_MS);
      } catch {
        wait = RENEW_RETRY_MS; // the relay says goodbye when the old one ends: that is reported
      }
    }
  }
}

class SentAway extends RelayRefused {
  readonly retryAfterMs: number;

  constructor(code: string, retryAfterMs: number) {
    super(`The relay ended the connection (${code}).`, code);
    this.retryAfterMs = retryAfterMs;
  }
}

const goodbyeError = ({ code, reconnectAfterMs }: DeviceGoodbye): CoachRelayError =>
  ACCESS_CODES.has(code)
    ? new AccessRefused(`The relay does not let this device in (${code}).`, code)
    : new SentAway(code, reconnectAfterMs);
type DeviceGoodbye = RelayFrames["Goodbye"];

/** One connection: the handshake, then frames in the order of the wire. */
class Session {
  readonly #socket: Socket;
  readonly #automaton = new Connection();
  readonly ended: Promise<End>;
  #end: (end: End) => void = () => undefined;
  #working: Promise<void> = Promise.resolve();
  #onFrame: (frame: RelayFrame) => Promise<void>;
  #ready: RelayFrames["Ready"] | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const waiting: RelayFrame[] = [];
    this.#onFrame = async (frame) => void waiting.push(frame);
    this.#early = waiting;
    socket.onClose = () => this.#finish(new RelayUnreachable("The relay closed the connection."));
    socket.onMessage = (message) => this.#receive(message);
  }

  #early: RelayFrame[];

  get ready(): RelayFrames["Ready"] {
    if (this.#ready === null) throw new RelayUnreachable("The connection is not ready.");
    return this.#ready;
  }

  /** Who gets the frames, also those that came before this was set. */
  set onFrame(take: (frame: RelayFrame) => Promise<void>) {
    const early = this.#early.splice(0);
    this.#onFrame = take;
    for (const frame of early) this.#hand(frame);
  }

  /** Dial, greet and authenticate; raises RelayUnreachable, AccessRefused or RelayRefused. */
  static async open(options: LinkOptions, stop: AbortSignal): Promise<Session> {
    const { environment, address } = options;
    const token = await asked(options.token);
    const late = new AbortController();
    const done = new AbortController();
    const stopped = () => done.abort();
    stop.addEventListener("abort", stopped);
    let settled = false;
    const tooLate = environment.sleep(HANDSHAKE_SECONDS * 1000, done.signal).then(() => {
      if (!settled) late.abort(); // a connection that is there stays
      throw new RelayUnreachable("The relay does not answer.");
    });
    tooLate.catch(() => undefined); // the race below has its verdict; later ones are for nobody
    const opening = environment
      .dial(address.connect, late.signal)
      .catch(() => {
        throw new RelayUnreachable("The relay cannot be reached.");
      })
      .then((socket) => new Session(socket).#greet(options, token));
    try {
      return await Promise.race([opening, tooLate]);
    } catch (error) {
      late.abort();
      throw error;
    } finally {
      settled = true;
      done.abort();
      stop.removeEventListener("abort", stopped);
    }
  }

  async #greet({ environment, device, portal, address }: LinkOptions, token: string): Promise<Session> {
    const clientNonce = environment.rng(NONCE_BYTES);
    this.send([{ frame: "Hello", versions: [PROTOCOL_VERSION], clientNonce }]);
    const { version, relayNonce } = await this.#next("Challenge");
    if (version !== PROTOCOL_VERSION) throw new RelayUnreachable("The relay's greeting breaks the protocol.");
    const own = deviceId(device.public);
    const proof = { origin: address.origin, portal, device: own, relayNonce, clientNonce };
    const signature = device.signLabelled(connectProofBytes(proof));
    this.send([{ frame: "Authenticate", token, deviceKey: device.public, signature }]);
    const ready = await this.#next("Ready");
    if (ready.portal !== portal || ready.device.join() !== own.join()) {
      throw new RelayUnreachable("The relay took this device for another one.");
    }
    this.#ready = ready;
    return this;
  }

  /** The next frame of the greeting; raises what ended the connection instead. */
  async #next<K extends "Challenge" | "Ready">(kind: K): Promise<RelayFrames[K]> {
    const arrived = new Promise<RelayFrame>((resolve) => {
      const [first] = this.#early.splice(0, 1);
      if (first !== undefined) resolve(first);
      else
        this.#onFrame = async (frame) => {
          this.#onFrame = async (later) => void this.#early.push(later);
          resolve(frame);
        };
    });
    const failed = this.ended.then(({ error }) => {
      throw error;
    });
    const frame = await Promise.race([arrived, failed]);
    if (frame.frame !== kind) throw new RelayUnreachable("The relay's greeting breaks the protocol.");
    return frame as RelayFrames[K];
  }

  /** What is said when the connection is over is lost; raises nothing, as the handler is told of the end. */
  send(frames: readonly DeviceFrame[]): void {
    if (this.#automaton.state === "closed" || this.#automaton.state === "draining") return;
    for (const frame of frames) this.#automaton.sent(frame);
    this.#socket.send(encode(frames));
  }

  get isOpen(): boolean {
    return this.#automaton.state === "ready";
  }

  close(): void {
    this.#automaton.closed();
    this.#socket.close();
    this.#finish(new RelayUnreachable("The connection was closed."));
  }

  #receive(message: Bytes): void {
    if (this.#automaton.state === "closed") return;
    try {
      this.#automaton.checkSize(message);
      for (const frame of decodeFromRelay(message)) this.#accept(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#finish(new RelayUnreachable(`The relay breaks the protocol (${error.code}).`));
    }
  }

  #accept(frame: RelayFrame | UnknownFrame): void {
    this.#automaton.received(frame);
    if (frame.frame === "Unknown") return;
    if (frame.frame === "Goodbye") this.#finish(goodbyeError(frame), frame.reconnectAfterMs);
    else this.#hand(frame);
  }

  /**
   * Answers to requests do not wait for the work on entries that came before them: that work may ask. Nor does
   * the relay's word about an engagement: it would be applied after that of a later answer.
   */
  #hand(frame: RelayFrame): void {
    if (("request" in frame && frame.request > 0) || frame.frame === "EngagementChanged") {
      void this.#onFrame(frame);
      return;
    }
    this.#working = this.#working
      .then(() => this.#onFrame(frame))
      .catch((error: unknown) => {
        const known =
          error instanceof CoachRelayError ? error : new RelayUnreachable("A frame could not be processed.");
        this.#finish(known);
      });
  }

  #finish(error: CoachRelayError, retryAfterMs = 0): void {
    this.#automaton.closed();
    this.#end({ error, retryAfterMs });
  }
}

async function asked(token: () => Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (error) {
    if (error instanceof CoachRelayError) throw error;
    throw new RelayUnreachable("The portal gave no access token.");
  }
}
