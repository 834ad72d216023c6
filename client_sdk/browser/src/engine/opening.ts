/** What it means for this device how the relay opens the stream. */

import { SecurityAlarm } from "../alarms.ts";
import { checkOpened } from "../delivery/cursor.ts";
import type { RelayFrames } from "../wire/frames.ts";
import { missed } from "./outOfStep.ts";
import { notBeyond, phaseOf } from "./state.ts";
import type { Work } from "./work.ts";

/** How exactly the time of our last look at the stream is kept. */
const NOTE_CURRENT_SECONDS = 3600;

/** Whether it is the stream that we know; the code by which the relay stops us, if it does. */
export function judgeOpened(work: Work, opened: RelayFrames["Opened"]): string | null {
  const before = work.state;
  const { cursor, lastCommit, box, currentAt } = before;
  const phase = phaseOf(before);
  const member = phase === "member";
  try {
    const inside = member || phase === "repairing";
    const resume = checkOpened(opened, inside ? { seq: cursor, lastCommit } : { seq: 0, lastCommit: 0 });
    if (phase !== "rejoining") box.checkOpened(opened.lastCounter);
    if (before.incarnation === null) work.change({ incarnation: opened.incarnation });
    // Nobody has attested in this stream what it does not have.
    if (before.startsOver) work.change({ peers: notBeyond(before.peers, opened.head) });
    if (resume === "wait" && member) return "not_member";
    if (resume === "rejoin") missed(work, opened.first);
    else if (member && opened.head === cursor && work.nowSeconds - currentAt >= NOTE_CURRENT_SECONDS) {
      work.change({ currentAt: work.nowSeconds });
    }
  } catch (error) {
    if (!(error instanceof SecurityAlarm)) throw error;
    work.halt(error, before);
  }
  return null;
}
