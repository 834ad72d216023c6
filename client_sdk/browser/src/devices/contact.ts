/** The connection of a device that has no account yet: it can be linked, recover, and ask what the relay holds. */

import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { CoachRelayError } from "../errors.ts";
import { AccessRefused, ManifestInvalid, RelayUnreachable } from "../errors.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { Manifest } from "../identity/manifest.ts";
import { verifyManifest } from "../identity/manifest.ts";
import type { LinkHandler } from "../transport/link.ts";
import { Link } from "../transport/link.ts";
import type { RelayFrame } from "../wire/frames.ts";
import type { Arrival } from "./first.ts";
import { Line } from "./line.ts";

export class Contact implements LinkHandler {
  readonly device: KeyPair;
  readonly #link: Link;
  #lines: readonly Line[] = [];
  #online = false;
  #refused: AccessRefused | null = null;
  #changed: () => void = () => undefined;

  readonly #offline: Arrival["offline"];

  constructor({ address, portal, token, environment, offline }: Arrival, device: KeyPair) {
    this.device = device;
    this.#offline = offline;
    this.#link = new Link({ address, portal, device, token, environment }, this);
  }

  /** Do this while there is a connection, and end it then; raises what the action raises. */
  async during<T>(action: (contact: this) => Promise<T>): Promise<T> {
    const running = this.#link.run();
    try {
      return await Promise.race([action(this), running.then(() => Promise.reject(new Error("it ended")))]);
    } finally {
      this.#link.close();
      await running;
    }
  }

  /** Resolves when there is a connection; raises AccessRefused when there will be none. */
  async untilOnline(signal?: AbortSignal): Promise<void> {
    while (!this.#online) {
      signal?.throwIfAborted();
      if (this.#refused !== null) throw this.#refused;
      await new Promise<void>((resolve) => {
        this.#changed = () => {
          signal?.removeEventListener("abort", this.#changed);
          resolve();
        };
        signal?.addEventListener("abort", this.#changed, { once: true });
      });
    }
  }

  /** Ask the relay and wait for its answer; raises RelayRefused or RelayUnreachable. */
  readonly ask: Link["ask"] = (question, answer) => this.#link.ask(question, answer);

  /** The same across broken connections; raises RelayRefused or AccessRefused. */
  readonly insist: Link["ask"] = async (question, answer) => {
    while (true) {
      await this.untilOnline();
      try {
        return await this.#link.ask(question, answer);
      } catch (error) {
        if (!(error instanceof RelayUnreachable)) throw error;
      }
    }
  };

  /** The device list that the relay holds of this user; null: none that anybody signed. Raises what `insist` does. */
  async held(): Promise<Manifest | null> {
    const { manifest } = await this.insist({ frame: "PutManifest", manifest: null }, "HeldManifest");
    return manifest && verified(manifest);
  }

  openLine(channel: Bytes): Line {
    const line = new Line(this.ask, channel);
    this.#lines = [...this.#lines, line];
    return line;
  }

  // What the link brings

  async connected(): Promise<void> {
    for (const line of this.#lines) line.begin();
    this.#online = true;
    this.#changed();
  }

  async received(frame: RelayFrame): Promise<void> {
    if (frame.frame !== "RendezvousFrom") return;
    for (const line of this.#lines) if (equal(line.channel, frame.channel)) line.feed(frame.body);
  }

  async disconnected(error: CoachRelayError | null): Promise<void> {
    this.#online = false;
    if (error instanceof AccessRefused) this.#refused = error;
    if (error !== null) this.#offline?.(error);
    for (const line of this.#lines) line.broken();
    this.#changed();
  }
}

function verified(raw: Bytes): Manifest | null {
  try {
    return verifyManifest(raw);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    return null;
  }
}
