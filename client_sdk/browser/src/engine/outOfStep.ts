/** What to do when this device cannot follow the stream: rejoin and show a gap, or raise the alarm. */

import { SecurityAlarm } from "../alarms.ts";
import { IdentityError } from "../errors.ts";
import { GroupError } from "../mls/errors.ts";
import { checkOffered, readOffer } from "./offers.ts";
import type { State } from "./state.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** Out of step twice within this is no accident: a person has to look. */
const REJOIN_AGAIN_SECONDS = 600;
const RETENTION_HOURS = 720; // docs/PROTOCOL.md 4: by default

export const AWAY = "This device was away for longer than messages are kept.";
export const OUT_OF_STEP = "This device could not follow a change that the others followed.";
export const UNKNOWN_WELCOME = "This device was added by keys that it does not have any more.";
export const LET_IN_AGAIN =
  "This device was removed from the conversation, and let in again later. What was said meanwhile, and perhaps just " +
  "before, is missing here.";

/** The stream goes on at `seq`, and what is in between is not there any more. */
export function missed(work: Work, seq: number): void {
  if (isAway(work.state, work.nowSeconds)) {
    beginRejoin(work, AWAY);
    return;
  }
  // Nothing that this device has not read can be over yet: it was withheld.
  throw new SecurityAlarm("stream_skipped", { expected: work.state.cursor + 1, got: seq });
}

/** Whether this device was away for so long that what it has not read may be erased. */
export function isAway({ group, currentAt }: State, nowSeconds: number): boolean {
  return nowSeconds - currentAt >= retentionSeconds({ group });
}

/** The policy's age. */
export function retentionSeconds({ group }: Pick<State, "group">): number {
  const hours = group && viewIn(group).info.policy.get("retention_hours");
  return (typeof hours === "number" && hours > 0 ? hours : RETENTION_HOURS) * 3600;
}

/**
 * Somebody speaks from an epoch that this device does not have.
 *
 * That anybody can do, so it counts only if there was a commit that did not open here although what it leads to
 * keeps the rules of membership. Then this device rejoins, and twice in a row a person has to look.
 */
export function lostStep(work: Work, seq: number): void {
  const { doubt, rejoinedAt, highestEpoch } = work.state;
  if (doubt === null) return;
  try {
    checkOffered(work, readOffer(work, doubt));
  } catch (error) {
    if (error instanceof SecurityAlarm) work.raise(error);
    else if (!(error instanceof GroupError || error instanceof IdentityError)) throw error;
    return;
  }
  if (work.nowSeconds - rejoinedAt < REJOIN_AGAIN_SECONDS) {
    work.raise(new SecurityAlarm("stream_forked", { seq, own_epoch: highestEpoch }));
  } else {
    beginRejoin(work, OUT_OF_STEP);
  }
}

/** Give up the group state; the newest commit of the stream brings a new one. */
export function beginRejoin(work: Work, reason: string): void {
  work.change({ rejoinReason: reason, group: null, log: null });
}
