/** What a conversation tells the engine. */

import type { Item, Notice } from "../api.ts";
import type { ConversationView } from "../identity/membership.ts";
import type { Stored } from "./history.ts";
import type { Whisper } from "./whispers.ts";

export interface ConversationEvents {
  item(item: Item, stored: Stored): void;
  removed(id: string): void;
  changed(): void;
  alarm(alarm: Notice): void;
  whisper(whisper: Whisper): void;
  keyPackagesSpent(): void;
  /** The relay has gone back to an earlier state, or says so. */
  restored(): void;
  /** The group is in another epoch: it may know a newer list of our devices than we do. */
  entered(view: ConversationView): Promise<void>;
  /** Something that nobody waits for failed. */
  fault(error: unknown): void;
}
