/** Why what was said does not go out, in words that a page may show. */

import type { Notice } from "../api.ts";

/** The reasons, the first that holds counts. */
export const REASONS = {
  alarm: "A security alarm waits for your decision.",
  ended: "The engagement has ended.",
  offline: "There is no connection to the relay.",
  stopped: "The relay does not let this device take part.",
  catching_up: "This device is still reading what came meanwhile.",
  not_accepted:
    "You were here before with other keys. The others have to let your new ones in: call them, and have them " +
    "compare your safety number. With your recovery kit you are let in at once.",
  not_joined: "This device waits to be let into the conversation.",
  repairing:
    "The relay lost the newest messages and is being brought up to date from the devices; nothing is lost.",
  rejoining: "This device is rejoining the conversation.",
  outdated: "Somebody here has new keys, and their earlier devices have to leave the conversation first.",
  nobody_there: "Nobody else has joined the conversation yet.",
  update: "The conversation needs a newer version of the app.",
} as const;

export type Reason = keyof typeof REASONS;

export const noticeOf = (reason: Reason | null): Notice | null =>
  reason && { code: reason, message: REASONS[reason] };

export const PROTECTION = {
  none: "There is nothing to protect yet: this device waits to be let into the conversation.",
  not_yet:
    "Protected against later decryption by quantum computers: not yet. It comes by itself when everybody here " +
    "has updated their app.",
  from_now_on:
    "Protected against later decryption by quantum computers: messages and files yes; calls, and what was said " +
    "before everybody had updated their app, no.",
  yes: "Protected against later decryption by quantum computers: messages and files yes, calls not yet.",
} as const;
