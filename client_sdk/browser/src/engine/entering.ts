/** Beginning an epoch: by an accepted commit, by a Welcome, or by our own commit when the stream has it. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { profile } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import { AttestLog } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { knownOf, saying } from "../devices/witnessing.ts";
import { OutboxFull } from "../errors.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import { lists } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import { checkJoined, devicesIn, governing } from "../identity/membership.ts";
import { Group } from "../mls/group.ts";
import { isStronger } from "../mls/suites.ts";
import { pack, unpack } from "../msgpack.ts";
import type { Bundle } from "../wire/bundle.ts";
import { parseBundle } from "../wire/bundle.ts";
import { WireError } from "../wire/errors.ts";
import type { Entry } from "../wire/frames.ts";
import { commitName, forgetLostCommits, noteCommit } from "./keeping.ts";
import { isEarlier } from "./offers.ts";
import { queue } from "./sending.ts";
import type { Pending } from "./state.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** Devices that left: as many as two full conversations. */
const MOST_REMOVED = 64;

/** The group is in a new epoch since the commit at this position. */
export async function enter(work: Work, seq: number, group: Group, log: AttestLog): Promise<void> {
  const [before, view] = [work.view, viewIn(group)];
  const known = before === null ? new Set<string>() : devicesIn(before);
  const own = work.shared.account;
  const names = devicesIn(view);
  const came = view.leaves.some((leaf) => !known.has(leaf.name) && !equal(leaf.device, own.deviceId));
  const users = view.leaves.map((leaf) => leaf.user).filter((user) => user !== own.user);
  const { overtaken, floor } = work.state;
  forgetLostCommits(work);
  work.change({
    group,
    log,
    cursor: seq,
    lastCommit: seq,
    highestEpoch: log.epoch,
    transcript: group.transcript,
    suite: group.suite,
    doubt: null,
    unread: 0,
    rejoinReason: "",
    removed: stayOut(work, view, known).slice(-MOST_REMOVED),
    overtaken: false,
    floor: log.epoch < floor ? floor : -1,
    met: [...new Set([...work.state.met, ...users])],
    peers: new Map([...work.state.peers].filter(([device]) => names.has(device))),
  });
  work.joined ||= came;
  if (came) await introduce(work, await knownOf(work, view, known));
  work.observePeople(view, before, overtaken);
}

/**
 * The devices that this one saw leave and nobody has let in again. Where the relay lost that they left they may be
 * back without it: they leave again before anything is said, and with them those that a newer list does not name. Of
 * our own devices our own list decides.
 */
function stayOut(work: Work, view: ConversationView, before: ReadonlySet<string>): readonly string[] {
  const { overtaken, removed } = work.state;
  const names = devicesIn(view);
  const gone = new Set([...removed, ...[...before].filter((name) => !names.has(name)).sort()]);
  for (const { name, user, deviceKey } of view.leaves) {
    const left = gone.has(name);
    if (!overtaken && (!left || before.has(name))) continue;
    gone.delete(name);
    const [manifest, known] = [governing(view, user), work.trustOf(user)];
    if (user === work.shared.account.user || manifest === null || known === null) continue;
    const unlisted = isEarlier(known, manifest) && !lists(known.newest, deviceKey);
    if (unlisted || (left && overtaken && manifest.version <= known.newest.version)) gone.add(name);
  }
  return [...gone];
}

/** Who is new cannot read what was said before: everybody tells them their name, and of their archives. */
export async function introduce(work: Work, archives: Parameters<typeof saying>[0] = []): Promise<void> {
  const { name, user } = work.shared.account;
  if (name === "" && archives.length === 0) return;
  try {
    await queue(work, profile(name || user, saying(archives)), { quiet: true });
  } catch (error) {
    if (!(error instanceof OutboxFull)) throw error; // the next newcomer occasions it again
  }
}

/** The key packages of an offer, found by what a Welcome names. */
export function finding(work: Work) {
  let offer: readonly string[] = [];
  const find = async (ref: Bytes) => {
    const found = await work.shared.findKeyPackage(ref);
    offer = found?.offer ?? offer;
    return found?.bundle ?? null;
  };
  const spend = () => {
    for (const name of offer) work.put(name, null);
    work.keyPackagesSpent = true;
  };
  return { find, spend };
}

/** The bundle in a commit entry's body, if it lets this device in. */
export function lettingIn(work: Work, body: Bytes): (Bundle & { readonly welcome: Bytes }) | null {
  const bundle = parsed(body);
  const own = work.shared.account.deviceId;
  if (bundle?.welcome == null || !bundle.adds.some((device) => equal(device, own))) return null;
  return { ...bundle, welcome: bundle.welcome };
}

/** Where a Welcome leads; nothing of it counts before `enterBy`. */
export interface Welcomed {
  readonly group: Group;
  readonly epoch: number;
  readonly spend: () => void;
}

/**
 * Where this Welcome leads, if that is later than all that this device has been in; raises SecurityAlarm, GroupError
 * or IdentityError.
 */
export async function welcomed(work: Work, welcome: Bytes): Promise<Welcomed> {
  const { account } = work.shared;
  const { find, spend } = finding(work);
  const { group } = await Group.join(welcome, find, account.device, account.portal);
  const view = viewIn(group);
  checkJoined(view, account.portal, work.engagement);
  const epoch = conversationEpoch(view.info.generation, group.epoch);
  const { overtaken, branch, highestEpoch, suite } = work.state;
  const own = overtaken ? branch : highestEpoch;
  if (epoch <= own || (!overtaken && isStronger(suite, group.suite))) {
    throw new SecurityAlarm("epoch_rolled_back", { own, offered: epoch });
  }
  return { group, epoch, spend };
}

/** Enter the group by the Welcome of this entry. */
export async function enterBy(work: Work, entry: Entry, body: Bytes, by: Welcomed): Promise<void> {
  const { group, epoch, spend } = by;
  spend();
  dropPending(work); // the group has another commit in its place, or is one that others made first
  const began = { epoch, authenticator: group.epochAuthenticator };
  work.change({ spokenEpoch: epoch, counters: new MessageCounters() });
  await enter(work, entry.seq, group, AttestLog.begin({ ...entry, bodyHash: sha256(body) }, began));
  work.change({ entered: entry.seq });
  noteCommit(work, entry, body, epoch);
}

/** Give up a commit of ours that can no longer be accepted. */
export function dropPending(work: Work): void {
  const { pending, box } = work.state;
  if (pending !== null) work.change({ pending: null, box: box.dropped(pending.id) });
}

/** Our commit is in the stream: only now does its group count. */
export async function ownCommit(work: Work, entry: Entry, pending: Pending): Promise<void> {
  const group = Group.parse(pending.after, work.shared.account.portal);
  const view = viewIn(group);
  const epoch = conversationEpoch(view.info.generation, group.epoch);
  const began = { epoch, authenticator: group.epochAuthenticator };
  const hashed = { ...entry, bodyHash: sha256(pending.body) };
  work.change({ pending: null });
  keepOffer(work, entry.seq, parsed(pending.body));
  if (pending.reason === "change" && work.state.log !== null) {
    await enter(work, entry.seq, group, work.state.log.afterCommit(hashed, began));
    noteCommit(work, entry, pending.body, epoch);
    return;
  }
  const { rejoinReason } = work.state;
  work.change({ spokenEpoch: epoch, counters: new MessageCounters() });
  await enter(work, entry.seq, group, AttestLog.begin(hashed, began));
  work.change({ entered: entry.seq });
  noteCommit(work, entry, pending.body, epoch, pending.reason === "create");
  if (pending.reason !== "rejoin") return;
  work.change({ rejoinedAt: work.nowSeconds, startsOver: false });
  work.gap("rejoined", rejoinReason, entry.seq);
  const others = [...work.state.peers.values()].filter(([user]) => user !== work.shared.account.user);
  work.resendAfter = Math.max(0, ...others.map(([, seq]) => seq));
}

const offerName = (work: Work): string => `offer/${work.engagement}`;

/** Our own entries come back without their body: what we would rejoin by, if ours is the newest commit. */
function keepOffer(work: Work, seq: number, bundle: Bundle | null): void {
  if (bundle !== null) work.put(offerName(work), pack([seq, bundle.groupInfo]));
}

/** The GroupInfo of our own commit at this position; null if it is not our newest. */
export async function ownOffer(work: Work, seq: number): Promise<Bytes | null> {
  const kept = work.state.commits.find((one) => one.seq === seq);
  const body = kept && (await work.read(commitName(work, kept)));
  if (body) return parsed(body)?.groupInfo ?? null;
  const stored = await work.read(offerName(work));
  const values = stored && unpack(stored);
  const [at, groupInfo] = Array.isArray(values) ? values : [];
  return at === seq && groupInfo instanceof Uint8Array ? groupInfo : null;
}

export function parsed(body: Bytes): Bundle | null {
  try {
    return parseBundle(body);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return null; // void for everybody
  }
}
