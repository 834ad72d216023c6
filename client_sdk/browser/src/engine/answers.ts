/** What the relay's refusals of our entries mean. */

import { equal, hex } from "../bytes.ts";
import type { Outbox } from "../delivery/outbox.ts";
import type { Action } from "../delivery/outboxItems.ts";
import { COMMIT } from "../wire/fields.ts";
import type { RelayFrames } from "../wire/frames.ts";
import { withdraw as withdrawAmendment } from "./amending.ts";
import { amendmentIn, readEnvelope } from "./history.ts";
import { packWaiting, parseWaiting, waitingName } from "./sending.ts";
import type { Work } from "./work.ts";

const NEVER_SENT =
  "A message of yours was refused by the relay: nobody else has it, and it will not be sent. Say it again if you can.";
const [RETRY_MS, LAST_RETRY_MS, MOST_DOUBLINGS] = [1000, 30_000, 5];

/** When to send again what the relay could not take just now. */
export class Retry {
  #atMs = 0;
  #failures = 0;

  /** It failed: wait, longer each time. */
  later(nowMs: number): void {
    const doublings = Math.min(this.#failures++, MOST_DOUBLINGS);
    this.#atMs = nowMs + Math.min(LAST_RETRY_MS, RETRY_MS * 2 ** doublings);
  }

  /** It worked. */
  succeeded(): void {
    this.#atMs = this.#failures = 0;
  }

  /** How long it is not to be tried; 0 or less: it may be. */
  waitMs(nowMs: number): number {
    return this.#atMs - nowMs;
  }
}

/** The outbox after a refusal, and what to do; raises SecurityAlarm. */
export function refused(
  box: Outbox,
  { counter, code, lastCommit }: Pick<RelayFrames["Refused"], "counter" | "code" | "lastCommit">,
  repairs = false,
): readonly [Outbox, Action] {
  const about = box.inFlight.find((item) => item.counter === counter);
  // No later commit, no reason to believe that it was not stored: encrypted anew it might be said twice.
  const doubtful = code === "stale" && about !== undefined && lastCommit <= about.afterCommit;
  // A relay that was set back may take a commit once it has got back what it lost besides.
  const notYet = repairs && ["not_member", "not_on_roster", "too_many_devices"].includes(code);
  const [after, action] = box.refused(counter, doubtful || notYet ? "internal" : code);
  // Nothing of ours stands before it, so sending it at once again would be refused at once again.
  if (action === "send_again" && about !== undefined && about === box.inFlight[0]) return [after, "wait"];
  return [after, action];
}

/** Whether the relay lost a message and its file too: the message counts without it. */
export async function withoutBlobs(work: Work, counter: number): Promise<boolean> {
  const { box, reoffers } = work.state;
  const item = box.inFlight.find((one) => one.counter === counter && reoffers.includes(hex(one.id)));
  const name = item && waitingName(work, item.id);
  const stored = name === undefined ? null : await work.read(name);
  if (name === undefined || stored === null) return false;
  work.put(name, packWaiting({ ...parseWaiting(stored), blobs: [] }));
  return true;
}

/** Store what a final refusal leaves; a message that can never be sent leaves a notice. */
export async function withdraw(work: Work, box: Outbox): Promise<void> {
  const gone = work.state.box.items.filter((item) => !box.items.some((one) => equal(one.id, item.id)));
  const { pending } = work.state;
  work.change({ box });
  const waits = box.items.some((item) => pending !== null && equal(item.id, pending.id));
  if (pending !== null && !waits) work.change({ pending: null });
  for (const { id, kind } of gone) {
    if (kind === COMMIT) continue;
    const stored = await work.read(waitingName(work, id));
    const what = stored && amendmentIn(readEnvelope(parseWaiting(stored).content));
    work.put(waitingName(work, id), null);
    if (what !== null) await withdrawAmendment(work, hex(id), hex(what.message));
    work.gap("never_sent", NEVER_SENT, work.state.cursor);
  }
}
