/** What the relay's refusals of our entries mean. */

import { equal, hex } from "../bytes.ts";
import type { Action, Outbox } from "../delivery/outbox.ts";
import type { RelayFrames } from "../wire/frames.ts";
import { withdraw as withdrawAmendment } from "./amending.ts";
import { amendmentIn, readEnvelope } from "./history.ts";
import { parseWaiting, waitingName } from "./sending.ts";
import type { Work } from "./work.ts";

/** The outbox after a refusal, and what to do; raises SecurityAlarm. */
export function refused(
  box: Outbox,
  { counter, code, lastCommit }: Pick<RelayFrames["Refused"], "counter" | "code" | "lastCommit">,
): readonly [Outbox, Action] {
  const about = box.inFlight.find((item) => item.counter === counter);
  // No later commit, no reason to believe that it was not stored: encrypted anew it might be said twice.
  const doubtful = code === "stale" && about !== undefined && lastCommit <= about.afterCommit;
  const [after, action] = box.refused(counter, doubtful ? "internal" : code);
  // Nothing of ours stands before it, so sending it at once again would be refused at once again.
  if (action === "send_again" && about !== undefined && about === box.inFlight[0]) return [after, "wait"];
  return [after, action];
}

/** Store what a final refusal leaves; a message that can never be sent leaves a notice. */
export async function withdraw(work: Work, box: Outbox, code: string): Promise<void> {
  const gone = work.state.box.items.filter((item) => !box.items.some((one) => equal(one.id, item.id)));
  const { pending } = work.state;
  work.change({ box });
  const flying = box.inFlight.some((item) => pending !== null && equal(item.id, pending.id));
  if (pending !== null && !flying) work.change({ pending: null, box: box.dropped(pending.id) });
  for (const { id } of gone) {
    if (pending !== null && equal(id, pending.id)) continue;
    const stored = await work.read(waitingName(work, id));
    const what = stored && amendmentIn(readEnvelope(parseWaiting(stored).content));
    work.put(waitingName(work, id), null);
    if (what !== null) await withdrawAmendment(work, hex(id), hex(what.message));
    const told = `A message of yours could not be sent and never will be (${code}). Say it again.`;
    work.gap("never_sent", told, work.state.cursor);
  }
}
