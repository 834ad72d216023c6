/** The seam for parts of the engine that live in folders of their own: files, calls, devices. */

import type { RelayFrame } from "../wire/frames.ts";
import type { Conversation } from "./conversation.ts";
import type { Stored } from "./history.ts";
import type { Implementation } from "./messages.ts";
import type { Whisper } from "./whispers.ts";

/**
 * What a part is told. Nothing that it returns is waited for, but for `frame` and `online`; what it throws is told
 * to the page as a fault of the program, so it catches what it can deal with.
 */
export interface Listening {
  /** A connection is ready, and the engagements are known. */
  online?(): Promise<void>;
  offline?(): void;
  /** Something of the history is new, or has changed; durable already. */
  item?(conversation: Conversation, stored: Stored): void;
  /** An ephemeral message of a member came. */
  whisper?(conversation: Conversation, whisper: Whisper): void;
  /** A frame that belongs to no conversation (`RendezvousFrom`). */
  frame?(frame: RelayFrame): Promise<void>;
  /** The end: stop what is running. */
  destroyed?(): void;
}

export interface Part<C> {
  readonly methods: Implementation<C>;
  readonly listening: Listening;
}
