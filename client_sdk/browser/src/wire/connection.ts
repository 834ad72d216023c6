/** A device's view of a connection, sans I/O: which frame may pass in which state, in one table. */

import type { Bytes } from "../bytes.ts";
import { WireError } from "./errors.ts";
import type { DeviceFrame, RelayFrame, UnknownFrame } from "./frames.ts";
import { DEVICE_FRAMES, RELAY_FRAMES } from "./frames.ts";
import { MAX_HANDSHAKE_MESSAGE_BYTES, MAX_MESSAGE_BYTES } from "./limits.ts";

export type ConnectionState = "greeting" | "authenticating" | "ready" | "draining" | "closed";

interface Row {
  readonly fromDevice: ReadonlySet<string>;
  readonly fromRelay: ReadonlySet<string>;
  readonly next: Readonly<Record<string, ConnectionState>>;
  readonly maxMessageBytes: number;
}

const without = (names: readonly string[], ...left: string[]): ReadonlySet<string> =>
  new Set(names.filter((name) => !left.includes(name)));
const fromRelay = [...Object.keys(RELAY_FRAMES), "Unknown"];

export const CONNECTION_TABLE: Readonly<Record<ConnectionState, Row>> = {
  greeting: {
    fromDevice: new Set(["Hello"]),
    fromRelay: new Set(["Challenge", "Goodbye"]),
    next: { Challenge: "authenticating", Goodbye: "draining" },
    maxMessageBytes: MAX_HANDSHAKE_MESSAGE_BYTES,
  },
  authenticating: {
    fromDevice: new Set(["Authenticate"]),
    fromRelay: new Set(["Ready", "Goodbye"]),
    next: { Ready: "ready", Goodbye: "draining" },
    maxMessageBytes: MAX_HANDSHAKE_MESSAGE_BYTES,
  },
  ready: {
    fromDevice: without(Object.keys(DEVICE_FRAMES), "Hello", "Authenticate"),
    fromRelay: without(fromRelay, "Challenge", "Ready"),
    next: { Goodbye: "draining" },
    maxMessageBytes: MAX_MESSAGE_BYTES,
  },
  draining: {
    fromDevice: new Set(),
    fromRelay: without(fromRelay, "Challenge", "Ready", "Goodbye"),
    next: {},
    maxMessageBytes: MAX_MESSAGE_BYTES,
  },
  closed: { fromDevice: new Set(), fromRelay: new Set(), next: {}, maxMessageBytes: 0 },
};

/** Frames pass through `received` and `sent` in the order of the wire. */
export class Connection {
  #state: ConnectionState = "greeting";

  get state(): ConnectionState {
    return this.#state;
  }

  /** Raises WireError (`too_big`) if this state does not take a message so large; call it first. */
  checkSize(message: Bytes): void {
    if (message.length > CONNECTION_TABLE[this.#state].maxMessageBytes) {
      throw new WireError("too_big", "a message beyond its bound");
    }
  }

  /** Take a frame of the relay; raises WireError (`out_of_order`). */
  received(frame: RelayFrame | UnknownFrame): void {
    const row = CONNECTION_TABLE[this.#state];
    if (!row.fromRelay.has(frame.frame)) throw new WireError("out_of_order", "not allowed in this state");
    this.#state = row.next[frame.frame] ?? this.#state;
  }

  /** Note a frame of our own before it goes out; raises WireError (`out_of_order`) if it may not. */
  sent(frame: DeviceFrame): void {
    if (!CONNECTION_TABLE[this.#state].fromDevice.has(frame.frame)) {
      throw new WireError("out_of_order", "not allowed in this state");
    }
  }

  /** The transport is gone: nothing may pass any more. */
  closed(): void {
    this.#state = "closed";
  }
}
