/** What the impure rooms take from outside: clocks, randomness, timers, sockets. Tests give others. */

import type { Bytes, Rng } from "./bytes.ts";

/** A binary message channel. The callbacks are set right after it was opened. */
export interface Socket {
  onMessage: (message: Bytes) => void;
  onClose: () => void;
  /** Bytes that have been handed over and not gone out yet. */
  readonly unsent: number;
  send(message: Bytes): void;
  close(): void;
}

export interface Environment {
  /** Unix time in milliseconds. */
  nowMs(): number;
  /** A number from 0 below 1. */
  fraction(): number;
  readonly rng: Rng;
  /** Resolves after so many milliseconds, or at once when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Opens a websocket; rejects if it cannot be opened. */
  dial(url: string, signal: AbortSignal): Promise<Socket>;
}

export const browserEnvironment: Environment = {
  nowMs: () => Date.now(),
  fraction: () => Math.random(), // spreads waits; nothing secret rests on it
  rng: (length) => crypto.getRandomValues(new Uint8Array(length)),
  sleep,
  dial,
};

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal?.aborted) done();
    else signal?.addEventListener("abort", done);
  });
}

function dial(url: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const websocket = new WebSocket(url);
    websocket.binaryType = "arraybuffer";
    const socket: Socket = {
      onMessage: () => undefined,
      onClose: () => undefined,
      get unsent() {
        return websocket.bufferedAmount;
      },
      send: (message) => websocket.send(message as Uint8Array<ArrayBuffer>),
      close: () => websocket.close(),
    };
    signal.addEventListener("abort", () => websocket.close(), { once: true });
    websocket.onopen = () => resolve(socket);
    websocket.onerror = () => reject(new Error("the websocket cannot be opened"));
    websocket.onclose = () => {
      reject(new Error("the websocket was closed"));
      socket.onClose();
    };
    // A text message is none of this protocol: an empty binary one is refused as malformed.
    websocket.onmessage = ({ data }) =>
      socket.onMessage(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array());
  });
}
