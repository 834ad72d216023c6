/** What it means for this device how the relay opens the stream. */

import { SecurityAlarm } from "../alarms.ts";
import { equal } from "../bytes.ts";
import { checkOpened } from "../delivery/cursor.ts";
import type { RelayFrames } from "../wire/frames.ts";
import { missed } from "./outOfStep.ts";
import { phaseOf } from "./state.ts";
import type { Work } from "./work.ts";

/** How exactly the time of our last look at the stream is kept. */
const NOTE_CURRENT_SECONDS = 3600;

/** Whether it is the stream that we know; the code by which the relay stops us, if it does. */
export function judgeOpened(work: Work, opened: RelayFrames["Opened"]): string | null {
  const before = work.state;
  const { cursor, lastCommit, incarnation, box, currentAt } = before;
  const member = phaseOf(before) === "member";
  try {
    const at = { seq: member ? cursor : 0, lastCommit: member ? lastCommit : 0, incarnation };
    const resume = checkOpened(opened, at);
    if (phaseOf(before) !== "rejoining") box.checkOpened(opened.lastCounter);
    if (incarnation === null || !equal(incarnation, opened.incarnation)) {
      work.change({ incarnation: opened.incarnation });
    }
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
