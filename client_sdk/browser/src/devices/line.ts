/** The line between two devices of one person, by way of the relay's rendezvous (docs/PROTOCOL.md 2.5). */

import type { Bytes } from "../bytes.ts";
import { RelayRefused, RelayUnreachable } from "../errors.ts";
import type { Link } from "../transport/link.ts";
import { LinkFailed } from "./errors.ts";

/** What a device says that has come to the channel and waits for the other one. */
export const HERE: Bytes = new Uint8Array();
/** Bodies that nobody has taken yet; the two devices answer each other, so there are never more than a few. */
const MOST_WAITING = 64;

const REFUSALS = new Map([
  [
    "rate_limited",
    "Too many devices were to be linked to your account within a quarter of an hour, or you tried too often. Wait " +
      "that long, then begin again.",
  ],
  [
    "too_many_devices",
    "Two devices have met by these words already. If one of them is not yours, do not go on with the other. Begin " +
      "again on the new device: it shows new words.",
  ],
]);

/** What a refusal of the relay means for who links a device; anything else as it is. */
export function meaningOf(error: unknown): unknown {
  const said = error instanceof RelayRefused ? REFUSALS.get(error.code) : undefined;
  return said === undefined ? error : new LinkFailed(said);
}

/** One channel on one client's connection. */
export class Line {
  readonly channel: Bytes;
  readonly #ask: Link["ask"];
  #bodies: (Bytes | null)[] = [];
  #heard: () => void = () => undefined;

  constructor(ask: Link["ask"], channel: Bytes) {
    this.#ask = ask;
    this.channel = channel;
  }

  /** Say something; whether the other device was there. Raises RelayUnreachable or RelayRefused. */
  async say(body: Bytes): Promise<boolean> {
    return (await this.#ask({ frame: "Rendezvous", channel: this.channel, body }, "Met")).present;
  }

  /** What the other device says next; raises RelayUnreachable when the connection breaks. */
  async hear(signal?: AbortSignal): Promise<Bytes> {
    while (this.#bodies.length === 0) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#heard = () => {
          signal?.removeEventListener("abort", this.#heard);
          resolve();
        };
        signal?.addEventListener("abort", this.#heard, { once: true });
      });
    }
    const body = this.#bodies.shift();
    if (body === null || body === undefined) throw new RelayUnreachable("The connection to the relay broke.");
    return body;
  }

  /** The relay brought something; what is too much is dropped, and the two begin anew. */
  feed(body: Bytes): void {
    if (this.#bodies.length >= MOST_WAITING) return;
    this.#bodies.push(body);
    this.#heard();
  }

  /** The connection is gone, and with it what was on its way. */
  broken(): void {
    this.#bodies = [null];
    this.#heard();
  }

  /** Forget what came before: a meeting begins. */
  begin(): void {
    this.#bodies = [];
  }
}
