/** What each entry of the stream does to this device: one step for every position. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { sha256 } from "../crypto.ts";
import type { AttestLog } from "../delivery/attest.ts";
import { received as receiptFor } from "../delivery/receipts.ts";
import { UNSAID } from "../delivery/repair.ts";
import { heardOfArchives } from "../devices/witnessing.ts";
import { BundleNamesDiffer, ContentError, IdentityError, MembershipError, VaultCorrupt } from "../errors.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import type { Leaf } from "../identity/membership.ts";
import { checkCommit } from "../identity/membership.ts";
import { GroupError, GroupRefused, NotForUs, UnknownKeyPackage, WrongEpoch } from "../mls/errors.ts";
import type { Group, Staged } from "../mls/group.ts";
import type { Bundle } from "../wire/bundle.ts";
import { parseBundle } from "../wire/bundle.ts";
import { WireError } from "../wire/errors.ts";
import { COMMIT, MESSAGE } from "../wire/fields.ts";
import type { Entry, RelayFrames } from "../wire/frames.ts";
import { arrived, erased, take as takeAmendment } from "./amending.ts";
import type { Welcomed } from "./entering.ts";
import { dropPending, enter, enterBy, lettingIn, ownCommit, ownOffer, parsed, welcomed } from "./entering.ts";
import { amendmentIn, isTakenBack, readEnvelope } from "./history.ts";
import {
  attested,
  cameInLately,
  extend,
  forgetLost,
  isRecentLoss,
  keepOwn,
  noteCommit,
  noteSaid,
  PRUNE_EVERY,
  prune,
} from "./keeping.ts";
import { letsInAnew } from "./offers.ts";
import { beginRejoin, LET_IN_AGAIN, lostStep, missed, OUT_OF_STEP, UNKNOWN_WELCOME } from "./outOfStep.ts";
import { checkRenewal, follow, isOfNextGroup } from "./renewing.ts";
import { follow as followRepair, recognized } from "./repairing.ts";
import { parseWaiting, waitingName } from "./sending.ts";
import type { State } from "./state.ts";
import { phaseOf } from "./state.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

const UNREADABLE = "Something came that no device of this conversation could have sent properly.";
export const REMOVED = "This device was removed from the conversation.";
/** In a row: then somebody is in another epoch, or makes noise. */
const MOST_UNREAD = 3;
/** So many void ones in a row are not an accident. */
const MOST_BUNDLES = 4;
const A_MEMBER_MAY = new Set(["add", "remove", "group_context_extensions"]);
const A_REJOINER_MAY = new Set(["external_init", "remove"]);

/** A member's state: both are there together. */
interface Member extends State {
  readonly group: Group;
  readonly log: AttestLog;
}

type Opened = RelayFrames["Opened"];

const isMember = (state: State): state is Member => state.group !== null && state.log !== null;

/**
 * The newest commit entries seen while this device was out of step: by one's GroupInfo it rejoins. More than one,
 * because the newest may be void, and then the group is as the one before it left it.
 */
export class NewestBundles {
  seq = 0;
  /** The newest first. */
  groupInfos: readonly Bytes[] = [];
  /** Up to where they did not help: rejoining by them was tried. */
  tried = 0;

  /** A commit entry came; null: it is no bundle, or one of ours that we have nothing of any more. */
  note(seq: number, groupInfo: Bytes | null): void {
    if (seq <= this.seq) return;
    this.seq = seq;
    if (groupInfo !== null) this.groupInfos = [groupInfo, ...this.groupInfos].slice(0, MOST_BUNDLES);
  }
}

/** Process one entry; what lies behind our position already changes nothing. */
export async function take(work: Work, entry: Entry, newest: NewestBundles, opened: Opened): Promise<void> {
  if (work.state.alarm?.halted) return;
  const before = work.state;
  const { cursor, group } = before;
  try {
    if (group !== null && cursor > 0 && entry.seq > cursor && entry.seq <= opened.cursor) {
      throw new SecurityAlarm("cloned_device", { seq: cursor, cursor: opened.cursor });
    }
    if (phaseOf(before) === "repairing") await followRepair(work, entry);
    else if (!isMember(before)) await asOutsider(work, entry, newest, opened);
    else if (entry.seq > cursor + 1) await behindAGap(work, entry, newest, opened);
    else if (entry.seq > before.cursor) await asMember(work, before, entry);
    if (entry.seq % PRUNE_EVERY === 0) await prune(work, entry.seq);
  } catch (error) {
    if (!(error instanceof SecurityAlarm)) throw error;
    work.halt(error, before);
  }
}

async function behindAGap(work: Work, entry: Entry, newest: NewestBundles, opened: Opened): Promise<void> {
  const { cursor } = work.state;
  if (await isLetInAgain(work, entry, opened)) return;
  if (opened.cursor > cursor) {
    throw new SecurityAlarm("cloned_device", { seq: cursor, cursor: opened.cursor });
  }
  missed(work, entry.seq);
  await asOutsider(work, entry, newest, opened);
}

/**
 * Enter by this entry, although a part of the stream before it never came; whether that was possible.
 *
 * So it is for a device that was removed before it saw that, and added again: the relay hands it nothing in between.
 * Only a member's word explains such a gap, never the relay's: a Welcome into a later epoch than any that was seen
 * here, or where that does not open, the description of such an epoch. The gap is shown.
 */
async function isLetInAgain(work: Work, entry: Entry, { lastCounter }: Opened): Promise<boolean> {
  const bundle = entry.kind === COMMIT && entry.body !== null ? lettingIn(work, entry.body) : null;
  if (entry.body === null || bundle === null) return false;
  let by: Welcomed;
  try {
    by = await welcomed(work, bundle.welcome);
  } catch (error) {
    if (error instanceof UnknownKeyPackage && (await letsInAnew(work, bundle.groupInfo))) {
      beginRejoin(work, UNKNOWN_WELCOME);
      // What this device says next follows this commit, also where more came behind it at once.
      work.change({ cursor: entry.seq, lastCommit: entry.seq });
      return true;
    }
    if ([SecurityAlarm, GroupError, IdentityError].some((kind) => error instanceof kind)) return false;
    throw error;
  }
  await comeIn(work, entry, entry.body, by, lastCounter);
  work.gap("removed", LET_IN_AGAIN, entry.seq);
  return true;
}

// Without a group: a commit may bring us in, all else is not for us

/** Enter the group by the Welcome of this bundle, if it is for this device. */
async function join(work: Work, entry: Entry, body: Bytes, { lastCounter }: Opened): Promise<void> {
  const bundle = lettingIn(work, body);
  if (bundle === null) return;
  try {
    await comeIn(work, entry, body, await welcomed(work, bundle.welcome), lastCounter);
  } catch (error) {
    if (error instanceof SecurityAlarm) work.raise(error);
    else if (error instanceof UnknownKeyPackage) beginRejoin(work, UNKNOWN_WELCOME);
    // Else an invitation into something that is not this conversation.
    else if (!(error instanceof GroupError || error instanceof IdentityError)) throw error;
  }
}

/** What the relay has stored of ours is done, although it never came back here; then the new epoch counts. */
async function comeIn(work: Work, entry: Entry, body: Bytes, by: Welcomed, lastCounter: number) {
  const { box } = work.state;
  const [left, done] = box.passedOver(Math.max(lastCounter, box.lastCounter));
  work.change({ box: left });
  for (const item of done) if (item.kind === MESSAGE) await placeOwn(work, item.id, entry.seq);
  await enterBy(work, entry, body, by);
}

async function asOutsider(work: Work, entry: Entry, newest: NewestBundles, opened: Opened): Promise<void> {
  if (entry.kind === COMMIT) {
    const { body, seq } = entry;
    newest.note(seq, body === null ? await ownOffer(work, seq) : (parsed(body)?.groupInfo ?? null));
  }
  if (entry.seq <= work.state.cursor) return;
  work.change({ cursor: entry.seq, ...(entry.kind === COMMIT ? { lastCommit: entry.seq } : {}) });
  const { pending, box } = work.state;
  if (entry.body !== null) {
    if (entry.kind === COMMIT) await join(work, entry, entry.body, opened);
    return;
  }
  if (!box.inFlight.some((item) => item.counter === entry.counter)) return; // of a time we have no record of
  const [after, item] = box.ownEntry(entry);
  work.change({ box: after });
  if (pending === null || !equal(item.id, pending.id)) await placeOwn(work, item.id, entry.seq);
  else if (pending.reason === "change")
    dropPending(work); // made in a state that we have given up
  else await ownCommit(work, entry, pending);
}

// As a member

async function asMember(work: Work, state: Member, entry: Entry): Promise<void> {
  if (entry.body === null) await own(work, state, entry);
  else if (state.box.items.some((item) => item.seq === entry.seq)) {
    throw new SecurityAlarm("relay_contradiction", { seq: entry.seq }); // it said that our entry stands here
  } else if (state.pending !== null && equal(entry.body, state.pending.body)) {
    // Our own commit, which the relay had lost before it came back to us, and another device had seen.
    const { pending, box } = state;
    work.change({ box: box.dropped(pending.id) });
    await ownCommit(work, entry, pending);
  } else if (entry.kind === COMMIT) await foreignCommit(work, state, entry, entry.body);
  else if (!(await recognized(work, entry, entry.body))) await message(work, state, entry, entry.body);
}

async function own(work: Work, state: Member, entry: Entry): Promise<void> {
  const [box, item] = state.box.ownEntry(entry);
  work.change({ box });
  if (state.pending !== null && equal(item.id, state.pending.id)) {
    await ownCommit(work, entry, state.pending);
    return;
  }
  extend(work, state.log, entry, item.bodyHash);
  work.change({ spokenEpoch: state.highestEpoch });
  await placeOwn(work, item.id, entry.seq);
}

/** The stream has given our message its position. */
export async function placeOwn(work: Work, id: Bytes, seq: number): Promise<void> {
  const stored = await work.read(waitingName(work, id));
  const waiting = stored && parseWaiting(stored);
  const what = waiting && amendmentIn(readEnvelope(waiting.content));
  if (waiting !== null) await keepOwn(work, waiting, id, what?.message ?? UNSAID.about, seq);
  work.change({ reoffers: work.state.reoffers.filter((one) => one !== hex(id)) });
  if (what !== null) {
    const order = work.nextOrder();
    await takeAmendment(work, { id: hex(id), seq, order, user: work.shared.account.user, what });
    return;
  }
  const found = await work.find(hex(id));
  if (found === null) return; // receipts and names are in no history
  work.set({ ...found, seq, order: 0 });
  await arrived(work, hex(id));
}

/** Stage the commit, judge it by the rules that all members apply alike, and go on accordingly. */
async function foreignCommit(work: Work, state: Member, entry: Entry, body: Bytes): Promise<void> {
  let bundle: Bundle | null = null;
  try {
    bundle = parseBundle(body);
    const staged = await state.group.stage(bundle.commit);
    if (staged.reinit !== null) await renewed(work, state, entry, body, bundle, staged);
    else if (staged.group === null) removed(work, entry, bundle, staged);
    else await accept(work, state, entry, body, bundle, staged, staged.group);
  } catch (error) {
    if (error instanceof SecurityAlarm) throw error;
    const known = [GroupError, IdentityError, WireError].some((kind) => error instanceof kind);
    if (!known) throw error;
    voided(work, state, entry, body);
    judgeVoid(work, state, entry, bundle, error);
  }
}

function judgeVoid(work: Work, state: Member, entry: Entry, bundle: Bundle | null, error: unknown): void {
  if (error instanceof BundleNamesDiffer) {
    work.raise(new SecurityAlarm("bundle_mismatch", { seq: entry.seq }));
  }
  if (bundle === null) return;
  if (error instanceof WrongEpoch && error.seen > error.current) lostStep(work, entry.seq);
  if (error instanceof GroupRefused && isOfNextGroup(viewIn(state.group), bundle.commit)) {
    lostStep(work, entry.seq);
  }
  if (error instanceof NotForUs) work.change({ doubt: bundle.groupInfo });
}

async function accept(
  work: Work,
  state: Member,
  entry: Entry,
  body: Bytes,
  bundle: Bundle,
  { proposals, external, joiner }: Staged,
  group: Group,
): Promise<void> {
  checkProposals(proposals, external);
  const [before, after] = [viewIn(state.group), viewIn(group)];
  checkCommit(before, after, bundle, external);
  const epoch = conversationEpoch(after.info.generation, group.epoch);
  const began = { epoch, authenticator: group.epochAuthenticator };
  const log = state.log.afterCommit({ ...entry, bodyHash: sha256(body) }, began);
  // A device that rejoined has a gap of its own: it may go on with any counter.
  const back = after.leaves.find((leaf) => leaf.index === joiner);
  if (back !== undefined) work.change({ counters: work.state.counters.without(back.name) });
  await begin(work, entry, body, group, log);
  if (back !== undefined) await sayAgainTo(work, back.name);
}

/** Somebody else's commit has begun an epoch. */
async function begin(work: Work, entry: Entry, body: Bytes, group: Group, log: AttestLog): Promise<void> {
  await enter(work, entry.seq, group, log);
  noteCommit(work, entry, body, log.epoch);
  await forgetLost(work);
}

/**
 * A device came in anew, and had no keys for what was said meanwhile: what the relay lost was in its way. So it hears
 * again what we said behind the loss and it has not attested. Who came in after the loss cannot know of one: to a
 * device that has attested nothing since, it says again all that it said.
 */
async function sayAgainTo(work: Work, device: string): Promise<void> {
  const { peers, lostFrom, entered } = work.state;
  const attested = peers.get(device)?.[1] ?? 0;
  const begins = isRecentLoss(work) ? [lostFrom] : [];
  if (attested < entered && (await cameInLately(work))) begins.push(entered);
  if (begins.length === 0) return;
  const after = Math.max(attested, Math.min(...begins));
  work.resendAfter = Math.min(work.resendAfter ?? after, after); // somebody else may have come in the same step
}

/** Go over to the group that takes over; if it does not open here, come in as after any lost step. */
async function renewed(
  work: Work,
  state: Member,
  entry: Entry,
  body: Bytes,
  bundle: Bundle,
  { group: ended, external, reinit }: Staged,
): Promise<void> {
  if (ended === null || reinit === null || external) {
    throw new MembershipError("A change that ends the conversation is ignored by everybody.");
  }
  const renewal = await checkRenewal(work, state.group, ended, reinit, bundle);
  let group: Group;
  try {
    group = await follow(work, renewal);
  } catch (error) {
    if (!(error instanceof GroupError || error instanceof IdentityError)) throw error;
    voided(work, state, entry, body);
    beginRejoin(work, OUT_OF_STEP);
    return;
  }
  const began = { epoch: renewal.offer.epoch, authenticator: group.epochAuthenticator };
  await begin(work, entry, body, group, state.log.afterCommit({ ...entry, bodyHash: sha256(body) }, began));
}

function checkProposals(proposals: readonly string[], external: boolean): void {
  const allowed = external ? A_REJOINER_MAY : A_MEMBER_MAY;
  if (!proposals.every((proposal) => allowed.has(proposal))) {
    throw new MembershipError(
      "A change of the conversation does what no member may do. Everybody ignores it.",
    );
  }
}

/** The group stays as it was; the entry counts as any other in the stream hash. */
function voided(work: Work, state: Member, entry: Entry, body: Bytes): void {
  extend(work, state.log, entry, sha256(body));
  work.change({ lastCommit: entry.seq });
}

function removed(work: Work, entry: Entry, bundle: Bundle, { proposals, external }: Staged): void {
  checkProposals(proposals, external);
  // Only the holder of this device's key can take its place, and this device did not.
  if (external) throw new SecurityAlarm("cloned_device", { seq: entry.seq });
  const { deviceId } = work.shared.account;
  if (!bundle.removes.some((device) => equal(device, deviceId))) {
    throw new BundleNamesDiffer("A change removes this device without naming it.");
  }
  work.change({ group: null, log: null, cursor: entry.seq, lastCommit: entry.seq });
  work.gap("removed", REMOVED, entry.seq);
}

async function message(work: Work, state: Member, entry: Entry, body: Bytes): Promise<void> {
  extend(work, state.log, entry, sha256(body));
  try {
    const { group, plaintext, sender } = await state.group.decrypt(body);
    work.change({ group, unread: 0 });
    await said(work, entry.seq, leafAt(state, sender), readEnvelope(plaintext), state.log);
  } catch (error) {
    if (!(error instanceof GroupError || error instanceof ContentError)) throw error;
    unreadable(work, state, entry.seq, body, error);
  }
}

function unreadable(work: Work, state: Member, seq: number, body: Bytes, error: CoachError): void {
  work.gap("unreadable", UNREADABLE, seq);
  if (error instanceof ContentError) return;
  work.change({ unread: work.state.unread + 1 });
  const ahead = error instanceof WrongEpoch && error.seen > error.current;
  if (ahead || isOfNextGroup(viewIn(state.group), body)) lostStep(work, seq);
  if (work.state.unread >= MOST_UNREAD && work.state.group !== null) {
    work.raise(new SecurityAlarm("stream_forked", { seq, own_epoch: work.state.highestEpoch }));
  }
}
type CoachError = GroupError | ContentError;

function leafAt(state: Member, index: number): Leaf {
  const found = viewIn(state.group).leaves.find((leaf) => leaf.index === index);
  if (found === undefined) throw new VaultCorrupt("A member's view of the group does not fit its state.");
  return found;
}

async function said(
  work: Work,
  seq: number,
  leaf: Leaf,
  envelope: Envelope,
  before: AttestLog,
): Promise<void> {
  noteSaid(work, seq, envelope, leaf.name);
  check(work, seq, leaf, envelope, before);
  await attested(work);
  const { content } = envelope;
  work.change({ receipts: receiptFor(work.state.receipts, content.kind === "receipt") });
  if (content.kind === "receipt") {
    // Nobody has read what they do not have.
    const { read } = content;
    if (read !== null) heardRead(work, leaf, Math.min(read, envelope.attest.seq, work.state.cursor));
    work.heard ??= false;
    return;
  }
  work.heard = true;
  if (content.kind === "profile") {
    work.setName(leaf.user, content.name);
    await heardOfArchives(work, leaf.user, content.extra);
  } else await keep(work, seq, leaf, envelope);
}

/** A receipt says how far a user has read, on whichever of their devices. */
function heardRead(work: Work, { user }: Leaf, seq: number): void {
  const { read, readTold, reads } = work.state;
  if (user === work.shared.account.user) {
    work.change({ read: Math.max(read, seq), readTold: Math.max(readTold, seq) });
  } else if (seq > (reads.get(user) ?? 0)) work.change({ reads: new Map([...reads, [user, seq]]) });
}

async function keep(work: Work, seq: number, leaf: Leaf, envelope: Envelope): Promise<void> {
  const id = hex(envelope.id);
  const what = amendmentIn(envelope);
  if (what !== null) {
    await takeAmendment(work, { id, seq, order: work.nextOrder(), user: leaf.user, what });
    return;
  }
  const known = await work.find(id);
  // Who never had a message that was taken back before it came again learns that there was one.
  const gone = isTakenBack(envelope);
  if (known !== null) {
    // Said again after a rejoin: it counts where it stands now. An id of somebody else's is never taken over.
    const same = known.user === leaf.user && known.device === leaf.name;
    if (same && known.seq > 0) work.set({ ...(gone ? erased(known) : known), seq, order: 0 });
    return;
  }
  const mine = leaf.user === work.shared.account.user;
  const { sentMs } = envelope;
  work.set({
    ...{ id, seq, order: 0, user: leaf.user, device: leaf.name, mine },
    ...{ sentMs, envelope: gone ? null : envelope, notice: null, acts: [] },
  });
  await arrived(work, id);
}

/** Does the sender see what we see, and is this its next message? What it says is kept in any case. */
function check(work: Work, seq: number, leaf: Leaf, envelope: Envelope, before: AttestLog): void {
  const raising = (action: () => void) => {
    try {
      action();
    } catch (error) {
      if (!(error instanceof SecurityAlarm)) throw error;
      work.raise(error);
    }
  };
  raising(() => {
    before.check(envelope.attest, envelope.closings, seq);
    work.change({ peers: new Map([...work.state.peers, [leaf.name, [leaf.user, envelope.attest.seq]]]) });
  });
  raising(() => work.state.counters.check(leaf.name, envelope.counter));
  work.change({ counters: work.state.counters.after(leaf.name, envelope.counter) });
}
