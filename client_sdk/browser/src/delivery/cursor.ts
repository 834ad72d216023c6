/** Where to go on reading, and whether the relay's stream is still the one we read before (docs/PROTOCOL.md 4). */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { RelayFrames } from "../wire/frames.ts";

/**
 * What to do after a stream was opened. `wait`: some member's device has to add this one (or has removed it);
 * `rejoin`: entries this device has not read are erased by now.
 */
export type Resume = "read" | "wait" | "rejoin";

/** What this device has stored: up to `seq` (0: nothing). */
export interface Position {
  readonly seq: number;
  readonly lastCommit: number;
  /** The one seen before, null at first. */
  readonly incarnation: Bytes | null;
}

/**
 * Whether the opened stream continues what this device has stored. Raises SecurityAlarm: `stream_replaced` when
 * the relay was set back behind our position (this SDK does not repair yet, docs/PROTOCOL.md 4.1; if nothing of
 * ours is missing it goes on, and the next message's attest tells whether it is the same stream);
 * `stream_rolled_back` when the stream ends before our position or newest commit; `cloned_device` when this
 * device had acknowledged more than it has: then its vault is an old copy.
 */
export function checkOpened(opened: RelayFrames["Opened"], at: Position): Resume {
  const shorter = opened.head < at.seq || opened.lastCommit < at.lastCommit;
  if (shorter && at.incarnation !== null && !equal(opened.incarnation, at.incarnation)) {
    throw new SecurityAlarm("stream_replaced", { before: at.incarnation, now: opened.incarnation });
  }
  if (shorter) {
    throw new SecurityAlarm("stream_rolled_back", {
      seq: at.seq,
      head: opened.head,
      last_commit: at.lastCommit,
      relay_last_commit: opened.lastCommit,
    });
  }
  if (!opened.member) return "wait";
  if (at.seq > 0 && opened.cursor > at.seq) {
    throw new SecurityAlarm("cloned_device", { seq: at.seq, cursor: opened.cursor });
  }
  return at.seq > 0 && opened.first > at.seq + 1 ? "rejoin" : "read";
}
