/** One connection to a relay: the handshake, then frames in the order of the wire. */

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
import { NOT_SIGNED_IN, whyEnded } from "./refusals.ts";

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

/** How a connection ended, and how long to wait before the next: null for our own judgement. */
export interface End {
  readonly error: CoachRelayError;
  readonly retryAfterMs: number;
}

export class SentAway extends RelayRefused {
  readonly retryAfterMs: number;

  constructor(code: string, retryAfterMs: number) {
    super(whyEnded(code), code);
    this.retryAfterMs = retryAfterMs;
  }
}

const goodbyeError = ({ code, reconnectAfterMs }: DeviceGoodbye): CoachRelayError =>
  ACCESS_CODES.has(code) ? new AccessRefused(whyEnded(code), code) : new SentAway(code, reconnectAfterMs);
type DeviceGoodbye = RelayFrames["Goodbye"];

export class Session {
  readonly #socket: Socket;
  readonly #automaton = new Connection();
  readonly ended: Promise<End>;
  #end: (end: End) => void = () => undefined;
  #working: Promise<void> = Promise.resolve();
  #onFrame: (frame: RelayFrame, isOver: () => boolean) => Promise<void>;
  #ready: RelayFrames["Ready"] | null = null;
  /** How many have come. */
  messages = 0;
  /** How often each stream was opened. */
  readonly #openings = new Map<string, number>();

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
  set onFrame(take: (frame: RelayFrame, isOver: () => boolean) => Promise<void>) {
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

  get unsent(): number {
    return this.#socket.unsent;
  }

  get isOpen(): boolean {
    return this.#automaton.state === "ready";
  }

  close(): void {
    this.#automaton.closed();
    this.#socket.close();
    this.#finish(new RelayUnreachable("The connection was closed."));
  }

  /** Nobody is at the other end any more. */
  giveUp(): void {
    this.#finish(new RelayUnreachable("The relay does not answer."));
  }

  #receive(message: Bytes): void {
    if (this.#automaton.state === "closed") return;
    this.messages += 1;
    try {
      this.#automaton.checkSize(message);
      for (const frame of decodeFromRelay(message)) this.#accept(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#finish(new RelayUnreachable("What the relay says makes no sense here.", { cause: error }));
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
   * the relay's word about an engagement: it would be applied after that of a later answer. What still waits when
   * the connection is over, or entries when their stream is opened anew, are not for anybody: they come once more.
   */
  #hand(frame: RelayFrame): void {
    const openings = this.#openings;
    if (frame.frame === "Opened") openings.set(frame.stream, (openings.get(frame.stream) ?? 0) + 1);
    const of = frame.frame === "Entries" ? openings.get(frame.stream) : 0;
    const isOver = () =>
      this.#automaton.state === "closed" || (frame.frame === "Entries" && of !== openings.get(frame.stream));
    if (("request" in frame && frame.request > 0) || frame.frame === "EngagementChanged") {
      void this.#onFrame(frame, isOver);
      return;
    }
    this.#working = this.#working
      .then(() => (isOver() ? undefined : this.#onFrame(frame, isOver)))
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
    throw new RelayUnreachable(NOT_SIGNED_IN);
  }
}
