/**
 * What this device keeps of the stream in case the relay loses it: of what has passed the hashes; commits whole, for
 * as long as messages may stay, because whoever was away finds them in the stream alone; own ciphertexts until every
 * other device in the group has attested their position.
 */

import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { sha256 } from "../crypto.ts";
import type { AttestLog } from "../delivery/attest.ts";
import type { Passed } from "../delivery/repair.ts";
import { MOST_PASSED, parsePassed, serializePassed, UNSAID } from "../delivery/repair.ts";
import type { Entry } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { amendmentIn, digits } from "./history.ts";
import { retentionSeconds } from "./outOfStep.ts";
import type { Waiting } from "./sending.ts";
import { packWaiting, parseWaiting, waitingName } from "./sending.ts";
import type { Kept } from "./state.ts";
import type { Work } from "./work.ts";

/** Of a conversation: more than change its devices in a month. */
const MOST_COMMITS = 64;
/** One of 32 devices with post-quantum keys has some 100 KiB. */
const COMMIT_BYTES = 8 * 1024 * 1024;
/** Own ciphertexts for a device that never speaks: then the oldest go. */
const KEPT_BYTES = 16 * 1024 * 1024;
/** Entries; what is over is deleted then. */
export const PRUNE_EVERY = 256;
/** More than there ever are. */
const ALL = 1_000_000;

export const passedName = (engagement: EngagementId, seq: number): string =>
  `passed/${engagement}/${digits(seq)}`;
const lostName = (work: Work, bodyHash: Bytes): string => `lost/${work.engagement}/${hex(bodyHash)}`;
export const commitName = (work: Work, { epoch }: Pick<Kept, "epoch">): string =>
  `commit/${work.engagement}/${digits(epoch)}`;

/** Go on to this entry's position; raises SecurityAlarm. */
export function extend(work: Work, log: AttestLog, entry: Entry, bodyHash: Bytes): void {
  work.change({ log: log.afterEntry({ ...entry, bodyHash }), cursor: entry.seq });
  note(work, entry, bodyHash);
}

/** An entry has been processed: the log stands behind it. */
export function note(work: Work, { seq, kind, afterCommit, counter, body }: Entry, bodyHash: Bytes): void {
  const { log } = work.state;
  work.passed.set(seq, {
    ...{ seq, kind, afterCommit, bodyHash },
    ...{ hash: log?.attest.hash ?? UNSAID.id, epoch: log?.epoch ?? work.state.branch },
    ...{ counter: body === null ? counter : 0, at: work.nowSeconds, ...UNSAID },
  });
}

/** What the message that has just passed says about itself. */
export function noteSaid(work: Work, seq: number, envelope: Envelope, device: string): void {
  const { id, counter: number, attest } = envelope;
  const about = amendmentIn(envelope)?.message ?? UNSAID.about;
  change(work, seq, { id, about, device, number, attest });
}

export function change(work: Work, seq: number, changes: Partial<Passed>): void {
  const passed = work.passed.get(seq);
  if (passed !== undefined) work.passed.set(seq, { ...passed, ...changes });
}

/** An accepted commit stands at this position, and is kept whole. */
export function noteCommit(work: Work, entry: Entry, body: Bytes, epoch: number, creates = false): void {
  note(work, entry, sha256(body));
  const kept = { epoch, seq: entry.seq, at: work.nowSeconds, size: body.length, creates };
  work.put(commitName(work, kept), body);
  const oldest = work.nowSeconds - retentionSeconds(work.state);
  const commits: Kept[] = [kept];
  let size = kept.size;
  for (const one of work.state.commits.filter((known) => known.epoch !== epoch).reverse()) {
    size += one.size;
    if (commits.length < MOST_COMMITS && size <= COMMIT_BYTES && one.at >= oldest) commits.unshift(one);
    else work.put(commitName(work, one), null);
  }
  work.change({ commits });
}

/** Our message has its position: its ciphertext is kept, of its words only what the history lacks. */
export async function keepOwn(
  work: Work,
  waiting: Waiting,
  id: Bytes,
  about: Bytes,
  seq: number,
): Promise<void> {
  const name = waitingName(work, id);
  if (!work.passed.has(seq) || waiting.body === null) {
    work.put(name, null); // this device is out of step, and will say again what others lack
    return;
  }
  change(work, seq, { id, about, number: waiting.number });
  const isTold = about.length > 0 || (await work.find(hex(id))) !== null;
  work.put(name, packWaiting({ ...waiting, content: isTold ? UNSAID.id : waiting.content }));
  work.change({ keptBytes: work.state.keptBytes + waiting.body.length });
  if (work.state.keptBytes > KEPT_BYTES) await forgetOwn(work, seq - 1, KEPT_BYTES);
}

/** Somebody has attested more: what every other device has need not be kept. */
export async function attested(work: Work): Promise<void> {
  const own = hex(work.shared.account.deviceId);
  const others = work.view?.leaves.filter(({ name }) => name !== own) ?? [];
  const lowest = Math.min(...others.map(({ name }) => work.state.peers.get(name)?.[1] ?? 0));
  if (lowest > work.state.forgotten && others.length > 0) await forgetOwn(work, lowest);
}

const rows = async (work: Work, from: number, before: number, most = ALL): Promise<readonly Passed[]> => {
  if (from >= before) return [];
  const [start, end] = [passedName(work.engagement, from), passedName(work.engagement, before)];
  return (await work.shared.pages.oldest(start, end, most)).map(parsePassed);
};

/** What passed behind a position, in order. What this step adds is not among it. */
export const passedAfter = (work: Work, seq: number): Promise<readonly Passed[]> =>
  rows(work, seq + 1, Number.MAX_SAFE_INTEGER);

/** The remembered entries that end with this position, without a gap, in order, at most so many. */
export async function passedUpto(work: Work, seq: number, most: number): Promise<readonly Passed[]> {
  const [start, end] = [passedName(work.engagement, 0), passedName(work.engagement, seq + 1)];
  const found = (await work.shared.pages.newest(start, end, most)).map(parsePassed);
  const gap = found.findIndex((one, back) => one.seq !== seq - back);
  return (gap < 0 ? found : found.slice(0, gap)).reverse();
}

/** Whether the relay was set back so lately that somebody may not have come since then. */
export function isRecentLoss({ state, nowSeconds }: Work): boolean {
  const last = state.histories.at(-1);
  return last !== undefined && nowSeconds - last.at <= retentionSeconds(state);
}

/** Whether the relay may have lost something, before this device came in, that somebody has still. */
export async function cameInLately(work: Work): Promise<boolean> {
  const entered = await newestUpto(work, work.state.entered);
  return entered !== null && work.nowSeconds - entered.at <= retentionSeconds(work.state);
}

/** From where on others may lack something, of all that the relay has lost of late. */
export const lostFrom = (work: Work, agreed: number): number =>
  isRecentLoss(work) ? Math.min(work.state.lostFrom, agreed) : agreed;

/** The oldest remembered entry. */
export const oldest = async (work: Work): Promise<Passed | null> =>
  (await rows(work, 0, Number.MAX_SAFE_INTEGER, 1))[0] ?? null;

/** The newest remembered entry up to a position, with or without a gap behind it. */
export async function newestUpto(work: Work, seq: number): Promise<Passed | null> {
  const [start, end] = [passedName(work.engagement, 0), passedName(work.engagement, seq + 1)];
  const [newest] = await work.shared.pages.newest(start, end, 1);
  return newest === undefined ? null : parsePassed(newest);
}

/** These entries are not in the stream any more. */
export function forgetPassed(work: Work, gone: readonly Passed[]): void {
  for (const { seq } of gone) work.put(passedName(work.engagement, seq), null);
}

/** The relay lost this message. */
export function putLost(work: Work, passed: Passed): void {
  work.put(lostName(work, passed.bodyHash), serializePassed(passed));
  work.change({ hasLost: true });
}

/** A message that the relay lost, if it is one of those: it comes once. */
export async function takeLost(work: Work, bodyHash: Bytes): Promise<Passed | null> {
  const name = lostName(work, bodyHash);
  const data = await work.read(name);
  if (data !== null) work.put(name, null);
  return data && parsePassed(data);
}

/** In a new epoch nothing comes again that was encrypted for an earlier one. */
export async function forgetLost(work: Work): Promise<void> {
  if (!work.state.hasLost) return;
  const start = `lost/${work.engagement}/`;
  for (const data of await work.shared.pages.oldest(start, `${start}\uffff`, ALL)) {
    work.put(lostName(work, parsePassed(data).bodyHash), null);
  }
  work.change({ hasLost: false });
}

/** This device is in none of the lost epochs any more: nothing of them is of use to it. */
export function forgetLostCommits(work: Work): void {
  for (const kept of work.state.lostCommits) work.put(commitName(work, kept), null);
  if (work.state.lostCommits.length > 0) work.change({ lostCommits: [] });
}

/** This device goes on with whatever stream there is: nothing of this one is offered again. */
export async function forgetStream(work: Work): Promise<void> {
  forgetPassed(work, await passedAfter(work, -1));
  for (const kept of work.state.commits) work.put(commitName(work, kept), null);
  forgetLostCommits(work);
  await forgetLost(work);
  work.change({ commits: [], reoffers: [], unheard: false });
}

/** Delete our ciphertexts up to a position, the oldest first, or until few enough bytes are left. */
async function forgetOwn(work: Work, upto: number, most = -1): Promise<void> {
  let { forgotten, keptBytes } = work.state;
  // What has passed in this very step is looked at the next time.
  const end = Math.min(upto, ...[...work.passed.keys()].map((seq) => seq - 1));
  for (const one of await rows(work, forgotten + 1, end + 1)) {
    if (keptBytes <= most) break;
    keptBytes -= await forget(work, one);
    forgotten = one.seq;
  }
  work.change({
    forgotten: most < 0 ? Math.max(forgotten, end) : forgotten,
    keptBytes: Math.max(0, keptBytes),
  });
}

/** Delete the ciphertext of an entry of ours; how many bytes it had. */
async function forget(work: Work, { counter, id }: Passed): Promise<number> {
  if (counter === 0 || id.length === 0 || work.state.box.items.some((item) => equal(item.id, id))) return 0;
  const name = waitingName(work, id);
  const stored = await work.read(name);
  if (stored === null) return 0;
  work.put(name, null);
  return parseWaiting(stored).body?.length ?? 0;
}

/** Delete what is too much, or older than messages may be. */
export async function prune(work: Work, seq: number): Promise<void> {
  const oldest = work.nowSeconds - retentionSeconds(work.state);
  for (const one of await rows(work, 0, seq, 4 * PRUNE_EVERY)) {
    if (one.seq > seq - MOST_PASSED && one.at >= oldest) return;
    await forget(work, one);
    forgetPassed(work, [one]);
  }
}
