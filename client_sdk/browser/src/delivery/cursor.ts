/** Where to go on reading, and whether the relay's stream is still the one we read before (docs/PROTOCOL.md 4). */

import { SecurityAlarm } from "../alarms.ts";
import type { RelayFrames } from "../wire/frames.ts";

/**
 * What to do after a stream was opened. `wait`: some member's device has to add this one (or has removed it);
 * `rejoin`: entries this device has not read are erased by now; `anew`: the relay has this device's place further on,
 * where the first entry has to let it in anew.
 */
export type Resume = "read" | "wait" | "rejoin" | "anew";

/** What this device has stored: up to `seq` (0: nothing). */
export interface Position {
  readonly seq: number;
  readonly lastCommit: number;
}

/**
 * Whether the opened stream, of the incarnation that is known, continues what this device has stored. Raises
 * SecurityAlarm: `stream_rolled_back` when the stream ends before our position or newest commit; `cloned_device` when
 * this device had acknowledged more than it has: then its vault is an old copy. One that was removed and added again
 * meanwhile has its place before the bundle that added it, and gets nothing from before that one.
 */
export function checkOpened(opened: RelayFrames["Opened"], at: Position): Resume {
  if (opened.head < at.seq || opened.lastCommit < at.lastCommit) {
    throw new SecurityAlarm("stream_rolled_back", {
      seq: at.seq,
      head: opened.head,
      last_commit: at.lastCommit,
      relay_last_commit: opened.lastCommit,
    });
  }
  if (!opened.member) return "wait";
  if (at.seq > 0 && opened.cursor > at.seq) {
    if (!isThere(opened, opened.cursor + 1)) {
      throw new SecurityAlarm("cloned_device", { seq: at.seq, cursor: opened.cursor });
    }
    return "anew";
  }
  return at.seq > 0 && opened.first > at.seq + 1 ? "rejoin" : "read";
}

const isThere = ({ first, head, lastCommit }: RelayFrames["Opened"], seq: number): boolean =>
  (first <= seq && seq <= head) || seq === lastCommit;
