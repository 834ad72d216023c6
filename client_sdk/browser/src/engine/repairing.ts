/**
 * After the relay lost its newest entries: it gets them back from the devices (docs/PROTOCOL.md section 4.1).
 *
 * The stream as the relay has it now is the order. This device goes back to where both agree, reads on from there,
 * offers the commits that the relay lost, byte for byte, and then what it said itself. Its keys never go back: what
 * cannot be sent again as it was is encrypted afresh.
 */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { receipt } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import { AttestLog, RECENT } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import type { Passed } from "../delivery/repair.ts";
import { commitAt, MOST_PASSED } from "../delivery/repair.ts";
import { IdentityError, VaultCorrupt } from "../errors.ts";
import { GroupError } from "../mls/errors.ts";
import { verifyDescribed } from "../mls/offer.ts";
import type { Bundle } from "../wire/bundle.ts";
import { WireError } from "../wire/errors.ts";
import { COMMIT, MESSAGE } from "../wire/fields.ts";
import type { Entry, RelayFrames } from "../wire/frames.ts";
import { fallBack, move } from "./amending.ts";
import { parsed } from "./entering.ts";
import {
  change,
  commitName,
  extend,
  forgetLost,
  forgetLostCommits,
  forgetPassed,
  lostFrom,
  newestUpto,
  note,
  noteCommit,
  passedAfter,
  passedUpto,
  putLost,
  takeLost,
} from "./keeping.ts";
import type { Offer } from "./offers.ts";
import { readOffer } from "./offers.ts";
import { beginRejoin } from "./outOfStep.ts";
import {
  blobsOf,
  freshEnvelope,
  packWaiting,
  parseWaiting,
  takenBack,
  waitingName,
  waitingOf,
} from "./sending.ts";
import { GENERATION_EPOCHS } from "./situation.ts";
import type { Kept } from "./state.ts";
import { notBeyond, phaseOf } from "./state.ts";
import type { Work } from "./work.ts";

const OVERTAKEN =
  "The relay lost the newest messages, and others went on before this device could bring them back. " +
  "What they said meanwhile may be missing here.";
const ID_BYTES = 16;

// Going back to where both agree

/**
 * The relay's stream is ours up to `agreed`, and behind that another one, or nothing yet. Raises SecurityAlarm, and
 * has changed nothing then.
 */
export async function begin(work: Work, opened: RelayFrames["Opened"], agreed: number): Promise<void> {
  const lost = await passedAfter(work, agreed);
  const before = await passedUpto(work, agreed, RECENT);
  const own = lost.filter(({ counter }) => counter > 0);
  const { box, cursor, entered } = work.state;
  const behind = Math.max(agreed, entered - 1);
  const known = lost.filter(({ seq }) => seq > behind).length;
  if (known < cursor - behind) throw rolledBack(cursor, agreed);
  const expected = box.lastSeenCounter - own.length;
  // Who came in anew behind it has not seen all of its own entries come back, and so cannot count them.
  box.checkOpened(opened.lastCounter, entered <= agreed ? expected : 0);
  checkCommits(work, agreed, before, lost);
  const newest = await newestUpto(work, agreed);
  await lose(work, agreed, opened.lastCounter);
  goBack(work, agreed, before, newest);
  // A copy of another time: it has entries of ours of which it is not known any more what they said.
  const foreign = opened.lastCounter > expected || opened.cursor > agreed;
  // Or it ends where this device was out of step, and nobody knows here how far the stream is there.
  if (foreign || (before.length === 0 && newest !== null)) await beginRejoinAfter(work);
}

/** Nothing behind `agreed` stands where it stood: what we said there is to be sent once more. */
export async function lose(work: Work, agreed: number, lastCounter: number): Promise<void> {
  const lost = await passedAfter(work, agreed);
  forgetPassed(work, lost);
  const { commits, lostCommits, peers, reads, read, readTold } = work.state;
  const isLost = ({ seq }: Kept) => seq > agreed;
  work.change({
    commits: commits.filter((one) => !isLost(one)),
    lostCommits: [...commits.filter(isLost), ...lostCommits],
    lostFrom: lostFrom(work, agreed),
    peers: notBeyond(peers, agreed),
    reads: new Map([...reads].map(([user, seq]) => [user, Math.min(seq, agreed)])),
    read: Math.min(read, agreed),
    readTold: Math.min(readTold, agreed),
  });
  for (const one of lost.slice(-MOST_PASSED)) {
    if (one.counter > 0 || one.kind !== MESSAGE) continue;
    putLost(work, one);
    if (one.about.length > 0) await fallBack(work, hex(one.id), hex(one.about), agreed);
  }
  const own = lost.filter(({ counter, kind, id }) => counter > 0 && kind === MESSAGE && id.length > 0);
  await queueAgain(work, own, lastCounter);
}

const rolledBack = (seq: number, head: number): SecurityAlarm =>
  new SecurityAlarm("stream_rolled_back", { seq, head });

/** Whether every commit that this device accepted behind the loss is here; raises SecurityAlarm. */
function checkCommits(work: Work, agreed: number, before: readonly Passed[], lost: readonly Passed[]): void {
  const { commits, lostCommits, cursor } = work.state;
  const kept = new Set(commits.filter(({ seq }) => seq > agreed).map(({ seq }) => seq));
  let epoch = before.at(-1)?.epoch ?? -1;
  for (const one of lost) {
    if (one.kind === COMMIT && one.epoch > epoch && !kept.has(one.seq)) throw rolledBack(one.seq, agreed);
    epoch = Math.max(epoch, one.epoch);
  }
  const brings = kept.size > 0 || lostCommits.length > 0;
  if (!brings && AttestLog.at(before, []) === null) throw rolledBack(cursor, agreed);
}

/** What we said behind the loss is to be sent once more, first, and under the numbers that it had. */
async function queueAgain(work: Work, own: readonly Passed[], lastCounter: number): Promise<void> {
  const { box, reoffers } = work.state;
  const ids = new Map(own.map((one) => [hex(one.id), one]));
  const again = box.items.filter(({ id }) => reoffers.includes(hex(id)) && !ids.has(hex(id)));
  const all = [...[...ids.values()].map(({ id }) => id), ...again.map(({ id }) => id)];
  // What the relay had acknowledged, and never brought back, keeps its number too.
  const flying = box.inFlight.filter(({ kind }) => kind === MESSAGE).map((item) => item.messageCounter);
  const numbers = [...flying, ...own.map(({ number }) => number)];
  const last = numbers.length > 0 ? Math.min(...numbers) - 1 : box.lastMessageCounter;
  for (const one of ids.values()) await waitAgain(work, one);
  work.change({ box: box.repairing(all, lastCounter, last), reoffers: all.map(hex), forgotten: 0 });
}

/** What belongs to a message in the outbox, from what is left of it. */
async function waitAgain(work: Work, { id, about }: Passed): Promise<void> {
  const name = waitingName(work, id);
  const stored = await work.read(name);
  const kept = stored && parseWaiting(stored);
  work.change({ keptBytes: Math.max(0, work.state.keptBytes - (kept?.body?.length ?? 0)) });
  const before = about.length === 0 ? await itemBefore(work, id) : await actBefore(work, id, about);
  if (before === null && kept !== null && kept.content.length > 0) {
    work.put(name, packWaiting(kept)); // what is in no history
    return;
  }
  // An amendment that counts no more, or something that everybody has: only its number is needed.
  const said = before?.said ?? freshEnvelope(id, receipt(null), work.shared.nowMs());
  const cipher = kept !== null && before?.asItWas === true ? kept : null;
  work.put(
    name,
    packWaiting({
      ...waitingOf(said, blobsOf(said)),
      ...(cipher && { body: cipher.body, number: cipher.number, attests: cipher.attests }),
    }),
  );
}

/** What we said, and whether its ciphertext may go again. */
interface Before {
  readonly said: Envelope;
  readonly asItWas: boolean;
}

/** Of words that were taken back the ciphertext does not go again. */
async function itemBefore(work: Work, id: Bytes): Promise<Before | null> {
  const item = await work.find(hex(id));
  if (item === null) return null;
  work.set({ ...item, seq: 0, order: work.nextOrder() });
  const { envelope, sentMs } = item;
  return { said: envelope ?? takenBack(id, sentMs), asItWas: envelope !== null };
}

/**
 * Where another device of ours may have amended the same, it is encrypted afresh: who had both has only the newer one
 * now, and could make nothing of the older one's bytes if it comes to stand behind it.
 */
async function actBefore(work: Work, id: Bytes, about: Bytes): Promise<Before | null> {
  const target = await work.find(hex(about));
  const what = target?.acts.find((act) => act.id === hex(id))?.what;
  if (what === undefined) return null;
  const { user } = work.shared.account;
  const ours = work.view?.leaves.filter((leaf) => leaf.user === user) ?? [];
  return { said: freshEnvelope(id, what, work.shared.nowMs()), asItWas: ours.length < 2 };
}

function goBack(work: Work, agreed: number, before: readonly Passed[], newest: Passed | null): void {
  const { log, lostCommits, highestEpoch } = work.state;
  const last = before.at(-1);
  const [lost] = lostCommits;
  const isKnown = newest === null || newest.epoch >= 0;
  work.change({
    // The epoch of the last position that both agree on; -1 if this device came in behind it.
    branch: isKnown ? (newest?.epoch ?? -1) : lost === undefined ? highestEpoch : lost.epoch - 1,
    log: AttestLog.at(before, log?.closings ?? []),
    counters: new MessageCounters(),
    // Who came in behind the loss knows nothing of what is before: it begins where it is let in again.
    cursor: last === undefined ? 0 : agreed,
    lastCommit: last === undefined ? 0 : commitAt(last),
    unheard: false,
    unread: 0,
  });
  settlePending(work);
}

/**
 * A commit of ours that was on its way goes again, if it still fits; else it did not happen. While the commits before
 * it are not back, it waits: others may have seen it, and offer it again.
 */
function settlePending(work: Work): void {
  const { pending, box, lastCommit } = work.state;
  if (pending === null) return;
  if (pending.reason !== "change") work.change({ pending: null });
  else if (phaseOf(work.state) === "member") {
    work.change({ box: box.offerCommit(pending.id, lastCommit, sha256(pending.body)) });
  }
}

// Reading on, while commits are missing

/** One entry of the stream as it is now, while this device is in an epoch that it does not have yet. */
export async function follow(work: Work, entry: Entry): Promise<void> {
  if (entry.seq <= work.state.cursor) return;
  const { kind, body, seq, counter } = entry;
  if (kind === COMMIT) await commit(work, entry);
  else if (body === null) throw new SecurityAlarm("cloned_device", { seq, counter });
  else if (!(await recognized(work, entry, body))) {
    work.change({ unheard: true });
    pass(work, entry, sha256(body));
  }
}

async function commit(work: Work, entry: Entry): Promise<void> {
  const [lost] = work.state.lostCommits;
  const known = lost && (await work.read(commitName(work, lost)));
  if (lost === undefined || known === null || known === undefined) throw missing();
  if (entry.body === null) {
    const [box, item] = work.state.box.ownEntry(entry);
    work.change({ box });
    if (equal(item.bodyHash, sha256(known))) await cameBack(work, entry, lost, known);
  } else if (isSameChange(entry.body, known, lost)) await cameBack(work, entry, lost, entry.body);
  // Another commit took its place: our epoch is not in the stream any more.
  else if (await leadsElsewhere(work, entry.body, lost)) {
    checkContinues(work, entry);
    work.change({ cursor: entry.seq, lastCommit: entry.seq });
    await beginRejoinAfter(work);
  } else pass(work, entry, sha256(entry.body));
}

const missing = (): VaultCorrupt =>
  new VaultCorrupt("A change that is to be offered again is missing from what this browser stored.");

/**
 * Whether a commit entry leads to the same epoch for whoever has not seen the lost one. To them only the commit and
 * the names count; whoever put it there may have altered what is beside them. Where a new group takes over, that is
 * the group itself.
 */
function isSameChange(body: Bytes, lost: Bytes, { epoch }: Kept): boolean {
  if (equal(body, lost)) return true;
  const [theirs, ours] = [parsed(body), parsed(lost)];
  const takesOver = epoch > GENERATION_EPOCHS && epoch % GENERATION_EPOCHS === 1;
  if (takesOver || theirs === null || ours === null || ours.commit.length === 0) return false;
  return equal(theirs.commit, ours.commit) && namesOf(theirs) === namesOf(ours);
}

const namesOf = ({ adds, removes }: Bundle): string =>
  [adds, removes].map((some) => some.map(hex).sort()).join("|");

/**
 * Whether a commit entry describes another epoch after the one in which the stream is. One that describes an earlier
 * epoch, one of ours, or nothing that a member has signed, is void for all: anybody whom the relay takes for a member
 * may put it there.
 */
async function leadsElsewhere(work: Work, body: Bytes, lost: Kept): Promise<boolean> {
  const { branch, transcript, lostCommits } = work.state;
  const offer = described(work, body);
  if (offer === null || equal(offer.transcript, transcript)) return false;
  // Who came in behind the loss knows nothing of what stood there, unless it is let in anew.
  const own = work.shared.account.deviceId;
  const isLetIn = branch < 0 && parsed(body)?.adds.some((device) => equal(device, own)) === true;
  if (branch < 0 ? offer.epoch < lost.epoch && !isLetIn : offer.epoch <= branch) return false;
  try {
    await verifyDescribed(offer.described, work.shared.account.portal);
  } catch (error) {
    if (!(error instanceof GroupError)) throw error;
    return false;
  }
  for (const one of lostCommits) {
    const known = await work.read(commitName(work, one));
    const ours = known && described(work, known);
    if (ours !== null && equal(ours.transcript, offer.transcript)) return false;
  }
  return true;
}

/** The epoch of this conversation that a commit entry describes, if it does. */
function described(work: Work, body: Bytes): Offer | null {
  const bundle = parsed(body);
  try {
    return bundle && readOffer(work, bundle.groupInfo);
  } catch (error) {
    if ([GroupError, IdentityError, WireError].some((kind) => error instanceof kind)) return null;
    throw error;
  }
}

/** Go on to this position; raises SecurityAlarm if the stream does not continue there. */
function pass(work: Work, entry: Entry, bodyHash: Bytes): void {
  const { log } = work.state;
  if (log !== null) extend(work, log, entry, bodyHash);
  else {
    checkContinues(work, entry);
    work.change({ cursor: entry.seq });
    note(work, entry, bodyHash);
  }
  if (entry.kind === COMMIT) work.change({ lastCommit: entry.seq });
}

function checkContinues(work: Work, { seq }: Entry): void {
  const expected = work.state.cursor + 1;
  if (expected > 1 && seq !== expected) throw new SecurityAlarm("stream_skipped", { expected, got: seq });
}

/** The stream has the commit again: from here on it is in the epoch that this one began. */
async function cameBack(work: Work, entry: Entry, { epoch, creates }: Kept, body: Bytes): Promise<void> {
  const { group, cursor, box, log } = work.state;
  checkContinues(work, entry);
  if (group === null) return;
  const lostCommits = work.state.lostCommits.slice(1);
  const began = { epoch, authenticator: group.epochAuthenticator };
  const closings = log === null ? [] : [...log.closings, log.attest];
  const isLast = lostCommits.length === 0;
  work.change({
    ...(cursor === 0 ? { entered: entry.seq } : {}),
    cursor: entry.seq,
    lastCommit: entry.seq,
    branch: epoch,
    lostCommits,
    box: box.keeping(box.items.filter(({ kind }) => kind === MESSAGE)),
    // Of epochs in between the keys are gone, and with them what their stream hashes begin with.
    log: isLast ? AttestLog.begin({ ...entry, bodyHash: sha256(body) }, began, closings) : null,
  });
  noteCommit(work, entry, body, epoch, creates);
  if (!isLast) return;
  if (work.state.unheard) await beginRejoinAfter(work);
  else settlePending(work);
}

/** This device cannot go on from its own epoch: it comes in anew, never below what it has seen. */
async function beginRejoinAfter(work: Work): Promise<void> {
  await giveUpLost(work);
  overtaken(work, work.state.branch);
  work.change({ startsOver: true, unheard: false, pending: null });
  beginRejoin(work, OVERTAKEN);
}

/** Others may go on from `branch`, or have: what they begin may have a lower number than our epoch has. */
export function overtaken(work: Work, branch: number): void {
  const { floor, highestEpoch } = work.state;
  work.change({ overtaken: true, branch, floor: Math.max(floor, highestEpoch) });
}

/** This device is in none of the lost epochs any more: nothing of them is of use to it. */
export async function giveUpLost(work: Work): Promise<void> {
  forgetLostCommits(work);
  await forgetLost(work);
}

/** Put the next commit that the relay lost into the outbox; the bytes are those that it had. */
export async function offerNext(work: Work): Promise<void> {
  const { box, lastCommit, lostCommits } = work.state;
  const [lost] = lostCommits;
  // Only who made the group can make it again: the relay takes whoever begins for its member.
  if (lost === undefined || (!lost.creates && lastCommit === 0)) return;
  const body = await work.read(commitName(work, lost));
  if (body === null) throw missing();
  const bodyHash = sha256(body);
  const messages = box.keeping(box.items.filter(({ kind }) => kind === MESSAGE));
  work.change({ box: messages.offerCommit(bodyHash.slice(0, ID_BYTES), lastCommit, bodyHash) });
}

// What comes once more

/**
 * Whether this is a message that was here before the relay lost it; then it has its position anew. Its keys are used
 * up and deleted, so the bytes tell what it is; what it attests must hold still.
 */
export async function recognized(work: Work, entry: Entry, body: Bytes): Promise<boolean> {
  const { log: before, hasLost } = work.state;
  if (!hasLost) return false;
  const bodyHash = sha256(body);
  const known = await takeLost(work, bodyHash);
  if (known === null) return false;
  pass(work, entry, bodyHash);
  const { id, about, device, number, attest } = known;
  change(work, entry.seq, { id, about, device, number, attest });
  if (before !== null && attest !== null) {
    try {
      before.check(attest, [], entry.seq);
    } catch (error) {
      if (!(error instanceof SecurityAlarm)) throw error;
      work.raise(error);
    }
    work.change({ counters: work.state.counters.after(device, number) });
  }
  await moved(work, known, entry.seq);
  return true;
}

/** What others said stands elsewhere now. */
async function moved(work: Work, { id, about }: Passed, seq: number): Promise<void> {
  if (about.length > 0) {
    await move(work, hex(id), hex(about), seq);
    return;
  }
  const found = id.length === 0 ? null : await work.find(hex(id));
  if (found !== null) work.set({ ...found, seq, order: 0 });
}
