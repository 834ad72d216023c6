/** What coach-relay.js exports, after src/api.ts: both together are the types that are shipped (scripts/release.mjs). */

import type { CoachRelayOptions, RelayApi, RoomApi } from "./api.ts";

/** Every error. Its message says what happened, why, and what to do next; its `code` is stable. */
export declare abstract class CoachRelayError extends Error {
  abstract readonly code: string;
  /** Who has to do something about it: this program or person, or a peer, the relay or the network. */
  readonly fault: "local" | "remote";
}

/** What the methods of relay, room and call raise. */
export declare class CoachRelayFailure extends CoachRelayError {
  readonly code: string;
}

/** One conversation. `on` hears its events with their types; `addEventListener` works too, with the same details. */
export declare class Room extends EventTarget {
  private constructor();
}
export interface Room extends RoomApi {}

/** This person's device in this browser. */
export declare class CoachRelay extends EventTarget {
  private constructor();
  engagement(id: string): Promise<Room>;
  /** How much this origin stores and may store, in bytes, and whether the browser promised to keep it. */
  storage(): Promise<{
    readonly usage: number | null;
    readonly quota: number | null;
    readonly kept: boolean;
  }>;
}
export interface CoachRelay extends RelayApi {}

/** This person's device in this browser, made anew at the first time. `prepare` may listen before it starts. */
export declare function createCoachRelay(
  options: CoachRelayOptions,
  prepare?: (made: CoachRelay) => void,
): Promise<CoachRelay>;

/** What `react` takes. */
export declare const REACTIONS: readonly string[];
