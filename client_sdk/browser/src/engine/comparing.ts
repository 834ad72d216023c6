/**
 * The relay's stream is of another incarnation: how far is it the one that this device has read? A relay cannot prove
 * what it held. So the device reads the newest entries that both have once more, and compares them with what it
 * remembers; whether others were shown the same, their next message tells as ever.
 */

import { SecurityAlarm } from "../alarms.ts";
import { afterIncarnation, Comparison, MOST_COMPARED, replaced } from "../delivery/repair.ts";
import type { RelayFrames } from "../wire/frames.ts";
import { lostFrom, newestUpto, oldest, passedAfter, passedUpto } from "./keeping.ts";
import { begin, giveUpLost, lose, overtaken } from "./repairing.ts";
import { phaseOf } from "./state.ts";
import type { Work } from "./work.ts";

type Opened = RelayFrames["Opened"];

/** What is to be read again; null if the new incarnation is dealt with. Raises SecurityAlarm. */
export async function meet(work: Work, opened: Opened): Promise<Comparison | null> {
  const { group, cursor, entered } = work.state;
  const histories = historiesAfter(work, opened, false);
  if (group === null) return meetWithoutGroup(work, opened);
  if (opened.head === 0 && cursor > 0) throw unknown(work, opened); // it was begun anew
  if (opened.member && cursor > 0) return compared(work, opened, Math.min(cursor, opened.head));
  if (cursor > 0 && (await isLostFrom(work, opened))) {
    // It may have come in anew since it was let in, which the relay lost as well.
    const first = (await oldest(work))?.seq ?? entered;
    await repair(work, opened, Math.min(opened.head, first - 1));
  } else work.change({ histories, incarnation: opened.incarnation });
  return null;
}

async function compared(work: Work, opened: Opened, upto: number): Promise<Comparison | null> {
  const passed = await passedUpto(work, upto, MOST_COMPARED);
  const comparison = new Comparison(passed, upto, opened.first, work.state.entered);
  if (comparison.agreed !== null) await conclude(work, opened, comparison);
  return comparison.agreed === null ? comparison : null;
}

/** What it read when it was in the group is compared too: what it said since then is to come again. */
async function meetWithoutGroup(work: Work, opened: Opened): Promise<Comparison | null> {
  const newest = await newestUpto(work, opened.head);
  if (phaseOf(work.state) === "rejoining" && newest !== null && opened.member) {
    return compared(work, opened, newest.seq);
  }
  await beginAnew(work, opened, null);
  return null;
}

/** How far both agree is known: go on, or go back and repair. Raises SecurityAlarm. */
export async function conclude(work: Work, opened: Opened, { agreed }: Comparison): Promise<void> {
  if (agreed === null || agreed < 0) throw unknown(work, opened);
  if (work.state.group === null) await beginAnew(work, opened, agreed);
  else if (agreed < work.state.cursor) await repair(work, opened, agreed);
  else {
    const histories = historiesAfter(work, opened, false);
    const box = work.state.box.setBack(opened.lastCounter);
    work.change({ box, lostFrom: lostFrom(work, agreed), histories, incarnation: opened.incarnation });
  }
}

async function repair(work: Work, opened: Opened, agreed: number): Promise<void> {
  const { cursor } = work.state;
  if ((await passedUpto(work, cursor, 1)).length === 0) {
    // An earlier version of this program kept nothing that could be offered again.
    throw new SecurityAlarm("stream_rolled_back", { seq: cursor, head: opened.head });
  }
  const histories = historiesAfter(work, opened, true);
  await begin(work, opened, agreed);
  work.change({ histories, incarnation: opened.incarnation });
}

/** This device has no group state: it takes the stream as it is, never below what it has seen. */
async function beginAnew(work: Work, opened: Opened, agreed: number | null): Promise<void> {
  const { lastCommit, startsOver, highestEpoch, box } = work.state;
  const rejoins = phaseOf(work.state) === "rejoining";
  if (opened.lastCommit === 0 && lastCommit > 0) throw unknown(work, opened);
  if (!startsOver) box.checkOpened(opened.lastCounter, 0);
  const lost = agreed !== null && (await passedAfter(work, agreed)).length > 0;
  const histories = historiesAfter(work, opened, lost);
  if (agreed !== null) {
    const epoch = (await newestUpto(work, agreed))?.epoch ?? -1;
    await lose(work, agreed, opened.lastCounter);
    await giveUpLost(work);
    overtaken(work, epoch);
    work.change({ startsOver: true });
  } else {
    work.change({ box: box.repairing([], opened.lastCounter, box.lastMessageCounter) });
    if (highestEpoch >= 0) {
      overtaken(work, rejoins ? highestEpoch : -1);
      work.change({ startsOver: rejoins || startsOver });
    }
  }
  const least = Math.min(lastCommit, opened.lastCommit);
  work.change({ pending: null, cursor: 0, lastCommit: least, histories, incarnation: opened.incarnation });
}

/**
 * The relay does not count this device among the members. Whether it lost that it came in; else it has all that was
 * said here, and the device was removed. Raises SecurityAlarm.
 */
async function isLostFrom(work: Work, opened: Opened): Promise<boolean> {
  const { entered, box } = work.state;
  const spoke = (await passedAfter(work, entered)).some(({ counter }) => counter > 0);
  if (entered > 0 && (opened.lastCounter < box.lastSeenCounter || !spoke)) return true;
  box.checkOpened(opened.lastCounter);
  return false;
}

const historiesAfter = ({ state, nowSeconds }: Work, { incarnation }: Opened, lost: boolean) =>
  afterIncarnation(state.histories, state.incarnation ?? incarnation, incarnation, { at: nowSeconds, lost });

const unknown = ({ state }: Work, { incarnation }: Opened): SecurityAlarm =>
  replaced(state.incarnation ?? incarnation, incarnation);
