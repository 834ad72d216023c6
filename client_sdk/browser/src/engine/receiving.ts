/** What each entry of the stream does to this device: one step for every position. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { sha256 } from "../crypto.ts";
import type { AttestLog } from "../delivery/attest.ts";
import { AttestLog as Log } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { received as receiptFor } from "../delivery/receipts.ts";
import { BundleNamesDiffer, ContentError, IdentityError, MembershipError, VaultCorrupt } from "../errors.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import type { ConversationView, Leaf } from "../identity/membership.ts";
import { checkCommit, checkJoined, devicesIn, viewOf } from "../identity/membership.ts";
import { GroupError, NotForUs, UnknownKeyPackage, WrongEpoch } from "../mls/errors.ts";
import { Group } from "../mls/group.ts";
import type { Bundle } from "../wire/bundle.ts";
import { parseBundle } from "../wire/bundle.ts";
import { WireError } from "../wire/errors.ts";
import { COMMIT } from "../wire/fields.ts";
import type { Entry } from "../wire/frames.ts";
import { readEnvelope } from "./history.ts";
import type { Pending, State } from "./state.ts";
import type { Work } from "./work.ts";

const UNREADABLE = "Something came that no device of this conversation could have sent properly.";
const REMOVED = "This device was removed from the conversation.";
const A_MEMBER_MAY = new Set(["add", "remove", "group_context_extensions"]);
const A_REJOINER_MAY = new Set(["external_init", "remove"]);

/** A member's state: all three are there together. */
interface Member extends State {
  readonly group: Group;
  readonly log: AttestLog;
}

const isMember = (state: State): state is Member => state.group !== null && state.log !== null;

/** Process one entry; what lies behind our position already changes nothing. */
export async function take(work: Work, entry: Entry): Promise<void> {
  if (work.state.alarm?.halted || entry.seq <= work.state.cursor) return;
  const before = work.state;
  try {
    if (isMember(before)) await asMember(work, before, entry);
    else await asOutsider(work, entry);
  } catch (error) {
    if (!(error instanceof SecurityAlarm)) throw error;
    work.halt(error, before);
  }
}

// Without a group: a commit may bring us in, all else is not for us

async function asOutsider(work: Work, entry: Entry): Promise<void> {
  work.change({ cursor: entry.seq, ...(entry.kind === COMMIT ? { lastCommit: entry.seq } : {}) });
  const { pending, box } = work.state;
  if (entry.body !== null) {
    if (entry.kind === COMMIT) await join(work, entry, entry.body);
    return;
  }
  if (!box.inFlight.some((item) => item.counter === entry.counter)) return; // of a time we have no record of
  const [after, item] = box.ownEntry(entry);
  work.change({ box: after });
  if (pending !== null && equal(item.id, pending.id)) await ownCommit(work, entry, pending);
}

/** Enter the group by the Welcome of this bundle, if it is for this device. */
async function join(work: Work, entry: Entry, body: Bytes): Promise<void> {
  const { account } = work.shared;
  const bundle = parsed(body);
  if (bundle?.welcome == null || !bundle.adds.some((device) => equal(device, account.deviceId))) return;
  let offer: readonly string[] = [];
  const find = async (ref: Bytes) => {
    const found = await work.shared.findKeyPackage(ref);
    offer = found?.offer ?? offer;
    return found?.bundle ?? null;
  };
  try {
    const { group } = await Group.join(bundle.welcome, find, account.device, account.portal);
    const view = viewOf(group.facts);
    checkJoined(view, account.portal, work.engagement);
    const epoch = conversationEpoch(view.info.generation, group.epoch);
    if (epoch <= work.state.highestEpoch) {
      work.raise(new SecurityAlarm("epoch_rolled_back", { own: work.state.highestEpoch, offered: epoch }));
      return;
    }
    for (const name of offer) work.put(name, null);
    work.keyPackagesSpent = true;
    dropPending(work); // another device made the group first
    const log = Log.begin(
      { ...entry, bodyHash: sha256(body) },
      { epoch, authenticator: group.epochAuthenticator },
    );
    work.change({ spokenEpoch: epoch, counters: new MessageCounters() });
    enter(work, entry.seq, group, view, log);
  } catch (error) {
    if (error instanceof UnknownKeyPackage) work.outOfStep();
    // Else an invitation into something that is not this conversation.
    else if (!(error instanceof GroupError || error instanceof IdentityError)) throw error;
  }
}

/** Give up a commit of ours that can no longer be accepted. */
export function dropPending(work: Work): void {
  const { pending, box } = work.state;
  if (pending !== null) work.change({ pending: null, box: box.dropped(pending.id) });
}

/** The group is in a new epoch since the commit at this position. */
function enter(work: Work, seq: number, group: Group, view: ConversationView, log: AttestLog): void {
  const before = work.view;
  const known = before === null ? new Set<string>() : devicesIn(before);
  const own = work.shared.account;
  const names = devicesIn(view);
  work.joined ||= view.leaves.some((leaf) => !known.has(leaf.name) && !equal(leaf.device, own.deviceId));
  const users = view.leaves.map((leaf) => leaf.user).filter((user) => user !== own.user);
  work.change({
    group,
    log,
    cursor: seq,
    lastCommit: seq,
    highestEpoch: log.epoch,
    doubted: false,
    met: [...new Set([...work.state.met, ...users])],
    peers: new Map([...work.state.peers].filter(([device]) => names.has(device))),
  });
  work.observePeople(view);
}

/** Our commit is in the stream: only now does its group count. */
async function ownCommit(work: Work, entry: Entry, pending: Pending): Promise<void> {
  const group = Group.parse(pending.after, work.shared.account.portal);
  const view = viewOf(group.facts);
  const began = {
    epoch: conversationEpoch(view.info.generation, group.epoch),
    authenticator: group.epochAuthenticator,
  };
  const hashed = { ...entry, bodyHash: sha256(pending.body) };
  work.change({ pending: null });
  if (!pending.creates && work.state.log !== null) {
    enter(work, entry.seq, group, view, work.state.log.afterCommit(hashed, began));
    return;
  }
  work.change({ spokenEpoch: began.epoch, counters: new MessageCounters() });
  enter(work, entry.seq, group, view, Log.begin(hashed, began));
}

// As a member

async function asMember(work: Work, state: Member, entry: Entry): Promise<void> {
  if (entry.body === null) await own(work, state, entry);
  else if (state.box.items.some((item) => item.seq === entry.seq)) {
    throw new SecurityAlarm("relay_contradiction", { seq: entry.seq }); // it said that our entry stands here
  } else if (entry.kind === COMMIT) await foreignCommit(work, state, entry, entry.body);
  else await message(work, state, entry, entry.body);
}

async function own(work: Work, state: Member, entry: Entry): Promise<void> {
  const [box, item] = state.box.ownEntry(entry);
  work.change({ box });
  if (state.pending !== null && equal(item.id, state.pending.id)) {
    await ownCommit(work, entry, state.pending);
    return;
  }
  const id = hex(item.id);
  const log = state.log.afterEntry({ ...entry, bodyHash: item.bodyHash });
  work.change({ log, cursor: entry.seq, spokenEpoch: state.highestEpoch });
  work.place(id, entry.seq);
  work.put(`out/${work.engagement}/${id}`, null);
}

/** Stage the commit, judge it by the rules that all members apply alike, and go on accordingly. */
async function foreignCommit(work: Work, state: Member, entry: Entry, body: Bytes): Promise<void> {
  try {
    const bundle = parseBundle(body);
    const staged = await state.group.stage(bundle.commit);
    if (staged.proposals.includes("reinit")) {
      work.outOfStep(); // the conversation moves to a stronger suite: this version does not follow
      return;
    }
    checkProposals(staged.proposals, staged.external);
    if (staged.group === null) removed(work, entry, bundle, staged.external);
    else accept(work, state, entry, body, bundle, staged.group, staged.external);
  } catch (error) {
    if (error instanceof SecurityAlarm) throw error;
    const known = [GroupError, IdentityError, WireError].some((kind) => error instanceof kind);
    if (!known) throw error;
    voided(work, state, entry, body);
    if (error instanceof BundleNamesDiffer)
      work.raise(new SecurityAlarm("bundle_mismatch", { seq: entry.seq }));
    if (error instanceof WrongEpoch && error.seen > error.current) work.outOfStep();
    if (error instanceof NotForUs) work.change({ doubted: true });
  }
}

function accept(
  work: Work,
  state: Member,
  entry: Entry,
  body: Bytes,
  bundle: Bundle,
  group: Group,
  external: boolean,
): void {
  const [before, after] = [viewOf(state.group.facts), viewOf(group.facts)];
  checkCommit(before, after, bundle, external);
  const epoch = conversationEpoch(after.info.generation, group.epoch);
  const hashed = { ...entry, bodyHash: sha256(body) };
  const log = state.log.afterCommit(hashed, { epoch, authenticator: group.epochAuthenticator });
  if (external) forgetCounters(work, before, after);
  enter(work, entry.seq, group, after, log);
}

/** A device that rejoined has a gap of its own: it may go on with any counter. */
function forgetCounters(work: Work, before: ConversationView, after: ConversationView): void {
  const places = new Map(before.leaves.map((leaf) => [leaf.name, leaf]));
  for (const leaf of after.leaves) {
    if (places.get(leaf.name)?.index === leaf.index) continue;
    work.change({ counters: work.state.counters.without(leaf.name) });
  }
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
  const log = state.log.afterEntry({ ...entry, bodyHash: sha256(body) });
  work.change({ log, cursor: entry.seq, lastCommit: entry.seq });
}

function removed(work: Work, entry: Entry, bundle: Bundle, external: boolean): void {
  // Only the holder of this device's key can take its place, and this device did not.
  if (external) throw new SecurityAlarm("cloned_device", { seq: entry.seq });
  const { deviceId } = work.shared.account;
  if (!bundle.removes.some((device) => equal(device, deviceId))) {
    throw new BundleNamesDiffer("A change removes this device without naming it.");
  }
  work.change({ group: null, log: null, cursor: entry.seq, lastCommit: entry.seq });
  work.notice(REMOVED, entry.seq);
}

async function message(work: Work, state: Member, entry: Entry, body: Bytes): Promise<void> {
  const log = state.log.afterEntry({ ...entry, bodyHash: sha256(body) });
  work.change({ log, cursor: entry.seq });
  try {
    const { group, plaintext, sender } = await state.group.decrypt(body);
    work.change({ group });
    said(work, entry.seq, leafAt(state, sender), readEnvelope(plaintext), state.log);
  } catch (error) {
    if (!(error instanceof GroupError || error instanceof ContentError)) throw error;
    work.notice(UNREADABLE, entry.seq);
    if (error instanceof WrongEpoch && error.seen > error.current && state.doubted) work.outOfStep();
  }
}

function leafAt(state: Member, index: number): Leaf {
  const found = viewOf(state.group.facts).leaves.find((leaf) => leaf.index === index);
  if (found === undefined) throw new VaultCorrupt("A member's view of the group does not fit its state.");
  return found;
}

function said(work: Work, seq: number, leaf: Leaf, envelope: Envelope, before: AttestLog): void {
  check(work, seq, leaf, envelope, before);
  const { content } = envelope;
  work.change({ receipts: receiptFor(work.state.receipts, content.kind === "receipt") });
  if (content.kind === "receipt") return;
  if (content.kind === "profile") work.setName(leaf.user, content.name);
  else work.keep(envelope, { seq, user: leaf.user, device: leaf.name, mine: false });
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

function parsed(body: Bytes): Bundle | null {
  try {
    return parseBundle(body);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return null; // void for everybody
  }
}
