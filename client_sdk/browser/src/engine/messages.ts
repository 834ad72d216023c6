/** What page and Worker say to each other: the page gets messages, never keys. */

import type { CallCalls } from "../calls/methods.ts";
import type { DeviceCalls } from "../devices/methods.ts";
import type { FileCalls } from "../files/methods.ts";
import type { RelayCalls } from "./methods/relay.ts";
import type { RoomCalls } from "./methods/room.ts";

export interface Failure {
  readonly code: string;
  readonly message: string;
}

/**
 * What the page may ask of the Worker, and what it gets; each part of the SDK adds its own methods. Arguments and
 * answers can be cloned. A method takes the engagement first if it is about one.
 */
export interface Calls extends RelayCalls, RoomCalls, FileCalls, CallCalls, DeviceCalls {}

export type Method = keyof Calls;

/** How the Worker does these methods. */
export type Implementation<C> = {
  readonly [M in keyof C]: C[M] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/**
 * Something that happened: an event of `RoomEvents` or `RelayEvents` (src/api.ts), or, if its name begins with @,
 * one between the two halves of a part of the SDK.
 */
export interface Happening {
  readonly event: string;
  readonly engagement: string | null;
  readonly detail: unknown;
}

export type ToWorker =
  | { readonly kind: "call"; readonly id: string; readonly method: Method; readonly args: readonly unknown[] }
  | { readonly kind: "reply"; readonly id: string; readonly value: unknown }
  | { readonly kind: "refusal"; readonly id: string; readonly failure: Failure };

/** A `question` is the Worker's to the page: for a token, how to begin. */
export type ToPage =
  | { readonly kind: "answer"; readonly id: string; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: string; readonly failure: Failure }
  | {
      readonly kind: "question";
      readonly id: string;
      readonly name: string;
      readonly args: readonly unknown[];
    }
  | { readonly kind: "event"; readonly happening: Happening };
