/** Beginning an epoch: by an accepted commit, by a Welcome, or by our own commit when the stream has it. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { profile } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import { AttestLog } from "../delivery/attest.ts";
import { MessageCounters } from "../delivery/counters.ts";
import { knownOf, saying } from "../devices/witnessing.ts";
import { IdentityError, OutboxFull } from "../errors.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import { checkJoined, devicesIn } from "../identity/membership.ts";
import { GroupError, UnknownKeyPackage } from "../mls/errors.ts";
import { Group } from "../mls/group.ts";
import { pack, unpack } from "../msgpack.ts";
import type { Bundle } from "../wire/bundle.ts";
import { parseBundle } from "../wire/bundle.ts";
import { WireError } from "../wire/errors.ts";
import type { Entry } from "../wire/frames.ts";
import { beginRejoin, UNKNOWN_WELCOME } from "./outOfStep.ts";
import { queue } from "./sending.ts";
import type { Pending } from "./state.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** The group is in a new epoch since the commit at this position. */
export async function enter(work: Work, seq: number, group: Group, log: AttestLog): Promise<void> {
  const [before, view] = [work.view, viewIn(group)];
  const known = before === null ? new Set<string>() : devicesIn(before);
  const own = work.shared.account;
  const names = devicesIn(view);
  const came = view.leaves.some((leaf) => !known.has(leaf.name) && !equal(leaf.device, own.deviceId));
  const users = view.leaves.map((leaf) => leaf.user).filter((user) => user !== own.user);
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
    met: [...new Set([...work.state.met, ...users])],
    peers: new Map([...work.state.peers].filter(([device]) => names.has(device))),
  });
  work.joined ||= came;
  if (came) await introduce(work, await knownOf(work, view, known));
  work.observePeople(view, before);
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

/** Enter the group by the Welcome of this bundle, if it is for this device. */
export async function join(work: Work, entry: Entry, body: Bytes): Promise<void> {
  const { account } = work.shared;
  const bundle = parsed(body);
  if (bundle?.welcome == null || !bundle.adds.some((device) => equal(device, account.deviceId))) return;
  const { find, spend } = finding(work);
  try {
    const { group } = await Group.join(bundle.welcome, find, account.device, account.portal);
    const view = viewIn(group);
    checkJoined(view, account.portal, work.engagement);
    const epoch = conversationEpoch(view.info.generation, group.epoch);
    if (epoch <= work.state.highestEpoch) {
      work.raise(new SecurityAlarm("epoch_rolled_back", { own: work.state.highestEpoch, offered: epoch }));
      return;
    }
    spend();
    dropPending(work); // another device made the group first
    const began = { epoch, authenticator: group.epochAuthenticator };
    work.change({ spokenEpoch: epoch, counters: new MessageCounters() });
    await enter(work, entry.seq, group, AttestLog.begin({ ...entry, bodyHash: sha256(body) }, began));
  } catch (error) {
    if (error instanceof UnknownKeyPackage) beginRejoin(work, UNKNOWN_WELCOME);
    // Else an invitation into something that is not this conversation.
    else if (!(error instanceof GroupError || error instanceof IdentityError)) throw error;
  }
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
    return;
  }
  const { rejoinReason } = work.state;
  work.change({ spokenEpoch: epoch, counters: new MessageCounters() });
  await enter(work, entry.seq, group, AttestLog.begin(hashed, began));
  if (pending.reason !== "rejoin") return;
  work.change({ rejoinedAt: work.nowSeconds, startsOver: false });
  work.gap("rejoined", rejoinReason, entry.seq);
  work.rejoined = true;
}

const offerName = (work: Work): string => `offer/${work.engagement}`;

/** Our own entries come back without their body: what we would rejoin by, if ours is the newest commit. */
function keepOffer(work: Work, seq: number, bundle: Bundle | null): void {
  if (bundle !== null) work.put(offerName(work), pack([seq, bundle.groupInfo]));
}

/** The GroupInfo of our own commit at this position; null if it is not our newest. */
export async function ownOffer(work: Work, seq: number): Promise<Bytes | null> {
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
