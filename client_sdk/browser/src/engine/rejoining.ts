/** Coming back into step by external commit (docs/PROTOCOL.md 7): only forward, never without a visible gap. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex } from "../bytes.ts";
import { IdentityError } from "../errors.ts";
import { checkCommit } from "../identity/membership.ts";
import { GroupError } from "../mls/errors.ts";
import { makeKeyPackage } from "../mls/keyPackages.ts";
import { rejoinGroup } from "../mls/offer.ts";
import type { Stored, StoredAct } from "./history.ts";
import { isRecentLoss } from "./keeping.ts";
import { checkOffered, readOffer } from "./offers.ts";
import { placeOwn, REMOVED } from "./receiving.ts";
import { putCommit, takenBack, unencrypted, waitingAgain, waitingFor, waitingName } from "./sending.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** As many as ever wait to be sent; nobody says more to a silent room. */
export const MOST_RESENT = 1000;

/**
 * Put the external commit into the outbox by which this device takes its own place again, by the first GroupInfo that
 * is one of this conversation; one of its past raises an alarm instead. `lastCounter` is the last counter of this
 * device that the relay has stored.
 */
export async function rejoin(work: Work, groupInfos: readonly Bytes[], lastCounter: number): Promise<void> {
  for (const groupInfo of groupInfos) if (await isJoinedBy(work, groupInfo, lastCounter)) return;
}

async function isJoinedBy(work: Work, groupInfo: Bytes, lastCounter: number): Promise<boolean> {
  try {
    const made = await make(work, groupInfo);
    if (made === null) {
      work.change({ rejoinReason: "" });
      work.gap("removed", REMOVED, work.state.cursor);
      return true;
    }
    await settleOutbox(work, lastCounter);
    putCommit(work, { ...made, welcome: null }, { adds: [], removes: [] }, "rejoin");
    return true;
  } catch (error) {
    if (error instanceof SecurityAlarm) work.raise(error);
    else if (error instanceof GroupError || error instanceof IdentityError) return false;
    else throw error;
    return true;
  }
}

async function make(work: Work, groupInfo: Bytes) {
  const { account } = work.shared;
  const offer = readOffer(work, groupInfo);
  checkOffered(work, offer);
  if (!offer.view.leaves.some((leaf) => equal(leaf.device, account.deviceId))) return null;
  const { device, manifest, portal } = account;
  const bundle = await makeKeyPackage(offer.suite, device, manifest, work.nowSeconds, false);
  const { commit, group, groupInfo: after } = await rejoinGroup(offer.described, bundle, device, portal);
  checkCommit(offer.view, viewIn(group), { adds: [], removes: [] }, true);
  return { commit, groupInfo: after, after: group, current: group };
}

/** What the relay has stored is done, even where this device did not see it pass; the rest waits again. */
async function settleOutbox(work: Work, lastCounter: number): Promise<void> {
  const { startsOver, pending } = work.state;
  const before = startsOver ? work.state.box.startingOver(lastCounter) : work.state.box;
  const [box, done] = before.rejoining(Math.max(lastCounter, before.lastCounter));
  work.change({ box, pending: null });
  for (const item of done) {
    if (pending !== null && equal(item.id, pending.id)) continue;
    await placeOwn(work, item.id, Math.max(1, work.state.cursor));
  }
  for (const item of box.items) {
    const stored = await work.read(waitingName(work, item.id));
    if (stored !== null) work.put(waitingName(work, item.id), unencrypted(stored));
  }
}

/**
 * What this device said behind a position, in an epoch that the others may not have shared, is said again, under the
 * same ids: whoever has it already drops it. `newest` are this person's, the newest first.
 */
export function resend(work: Work, newest: readonly Stored[], attested: number): void {
  const own = hex(work.shared.account.deviceId);
  const again: Bytes[] = [];
  const waits = new Set(work.state.box.items.map((item) => hex(item.id)));
  for (const stored of [...newest].reverse()) {
    work.know(stored);
    const lost = stored.device === own && stored.seq > attested && stored.notice === null;
    if (lost && !waits.has(stored.id)) {
      again.push(waitingAgain(work, stored.envelope ?? takenBack(unhex(stored.id), stored.sentMs)));
      work.set({ ...stored, seq: 0, order: work.nextOrder() });
    }
    again.push(...resendActs(work, stored, attested, waits));
  }
  const reoffers = isRecentLoss(work) ? again.map(hex) : [];
  work.change({
    box: work.state.box.saidAgain(again),
    reoffers: [...work.state.reoffers, ...reoffers],
  });
}

function resendActs(work: Work, stored: Stored, attested: number, waits: ReadonlySet<string>): Bytes[] {
  const { user } = work.shared.account;
  const lost = (act: StoredAct) => act.user === user && act.seq > attested && !waits.has(act.id);
  return stored.acts.filter(lost).map((act) => waitingFor(work, act.id, act.what));
}
