/** Who is to be let in or has to go, and the commit that does it (docs/PROTOCOL.md section 7). */

import { equal } from "../bytes.ts";
import { ManifestInvalid } from "../errors.ts";
import type { ConversationInfo, Participant } from "../identity/conversation.ts";
import { groupId, participantOf, sameInfo, serializeInfo } from "../identity/conversation.ts";
import type { Manifest } from "../identity/manifest.ts";
import { checkSuccessor, lists } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import {
  checkCommit,
  checkView,
  devicesIn,
  governing,
  leavesOf,
  leavesToRemove,
  placesBefore,
} from "../identity/membership.ts";
import { Group } from "../mls/group.ts";
import type { Candidate } from "../mls/keyPackages.ts";
import { makeKeyPackage } from "../mls/keyPackages.ts";
import type { SuiteId } from "../mls/suites.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import type { Value } from "../msgpack.ts";
import type { Engagement } from "../wire/frames.ts";
import type { DeviceId, UserId } from "../wire/ids.ts";
import { deviceName } from "../wire/ids.ts";
import { MAX_MEMBER_DEVICES } from "../wire/limits.ts";
import type { Claims } from "./claiming.ts";
import { targetSuite } from "./renewing.ts";
import { putCommit } from "./sending.ts";
import type { Situation } from "./situation.ts";
import { mustRise, outdatedLeaves } from "./situation.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** What the next commit should do; `places` is how many devices stand before this one. */
export interface Plan {
  readonly removes: readonly number[];
  readonly waiting: readonly DeviceId[];
  /** Our user's list is newer than that in the group. */
  readonly refresh: boolean;
  readonly places: number;
  /** The suite to move to; then nothing else is done. */
  readonly renews: SuiteId | null;
}

/** Whether a user may be added without asking anybody. */
export function isAdmissible({ state, engagement, shared }: Situation, user: UserId): boolean {
  const own = shared.account.user;
  if (user === own || state.met.includes(user) || state.admitted.includes(user)) return true;
  const roster = new Set(engagement?.participants.map((one) => one.user));
  return state.met.length === 0 && roster.size === 2 && roster.has(own) && roster.has(user);
}

/** The devices that wait to be let in and may be, in the relay's order. */
export function waitingDevices(at: Situation, claims: Claims): readonly DeviceId[] {
  const { engagement, state, shared } = at;
  const present =
    state.group === null ? new Set([deviceName(shared.account.deviceId)]) : devicesIn(viewIn(state.group));
  const roster = new Set(engagement?.participants.map((one) => one.user));
  return (engagement?.devices ?? [])
    .filter(({ user, device, hasKeyPackage }) => {
      const stays = !hasKeyPackage || present.has(deviceName(device)) || claims.isRefused(device);
      return !stays && roster.has(user) && isAdmissible(at, user);
    })
    .map(({ device }) => device);
}

/** What this member should commit now; null if nothing. */
export function planCommit(at: Situation, claims: Claims): Plan | null {
  const { group } = at.state;
  if (group === null) return null;
  const view = viewIn(group);
  const own = at.shared.account.manifest;
  const leaving = [...new Set([...leavesThatGo(view, own), ...outdatedLeaves(at)])];
  if (leaving.includes(group.ownLeaf)) return null;
  const room = MAX_MEMBER_DEVICES - view.leaves.length + leaving.length;
  const waiting = waitingDevices(at, claims).slice(0, room);
  const mine = view.leaves.find((leaf) => leaf.index === group.ownLeaf)?.manifest ?? own;
  const refresh = own.version > mine.version;
  const places = refresh ? 0 : placesBefore(view, group.ownLeaf);
  const rises = mustRise(at);
  if (leaving.length > 0 || waiting.length > 0 || refresh || rises) {
    return { removes: leaving, waiting, refresh: refresh || rises, places, renews: null };
  }
  return planRenewal(at, group, view, claims, places);
}

/** The leaves to remove: also those that this user's newest list, not yet in the tree, takes away. */
function leavesThatGo(view: ConversationView, own: Manifest): readonly number[] {
  const known = governing(view, own.user);
  if (known === null || known.version >= own.version) return leavesToRemove(view);
  const revoked = leavesOf(view, own.user).filter((leaf) => !lists(own, leaf.deviceKey));
  return [...new Set([...leavesToRemove(view), ...revoked.map((leaf) => leaf.index)])];
}

/** The move that this member should make now; null if there is none, or somebody's key package lacks. */
function planRenewal(
  { engagement, state }: Situation,
  group: Group,
  view: ConversationView,
  claims: Claims,
  places: number,
): Plan | null {
  const suite = targetSuite(group, view);
  // In doubt the others may have moved already, by an entry that did not open here: a second move would part us.
  if (suite === null || engagement === null || state.doubt !== null) return null;
  const ready = engagement.devices.filter((one) => one.hasKeyPackage && !claims.isRefused(one.device));
  const names = new Set(ready.map(({ device }) => deviceName(device)));
  const others = view.leaves.filter((leaf) => leaf.index !== group.ownLeaf);
  if (others.length === 0 || others.some((leaf) => !names.has(leaf.name))) return null;
  const waiting = others.map((leaf) => leaf.device);
  return { removes: [], waiting, refresh: false, places, renews: suite };
}

/** The suite of a new conversation: the first of ours that all these people's device lists name. */
export function chooseSuite(own: Manifest, others: readonly Manifest[]): SuiteId {
  const ours = own.suites.filter((suite) => KNOWN_SUITES.includes(suite as SuiteId)) as SuiteId[];
  const shared = ours.find((suite) => others.every((other) => other.suites.includes(suite)));
  return shared ?? ours[0] ?? KNOWN_SUITES[0];
}

/** The conversation's description with these devices' users among its participants. */
function infoWith(
  info: ConversationInfo,
  engagement: Engagement,
  added: readonly Candidate[],
): ConversationInfo {
  const participants = new Map(info.participants.map((one) => [one.user, one]));
  for (const { manifest } of added) {
    const known = participantOf(info, manifest.user);
    const invited = engagement.participants.find(({ user }) => user === manifest.user);
    const role = known?.role ?? invited?.role ?? "client";
    if (known !== undefined && equal(known.identityKey, manifest.identityKey)) continue;
    const participant: Participant = { user: manifest.user, role, identityKey: manifest.identityKey };
    participants.set(manifest.user, participant);
  }
  return { ...info, participants: [...participants.values()] };
}

/** A new group of this device and those who wait, as the first bundle of a stream. */
export async function create(
  work: Work,
  engagement: Engagement,
  added: readonly Candidate[],
  suite: SuiteId,
): Promise<void> {
  const { account } = work.shared;
  const own = engagement.participants.find(({ user }) => user === account.user);
  if (own === undefined) return;
  const policy = new Map<string, Value>([["retention_hours", engagement.retentionHours]]);
  const participants = [{ ...own, identityKey: account.manifest.identityKey }];
  const base = { portal: account.portal, engagement: work.engagement, generation: 1 };
  const alone: ConversationInfo = { ...base, features: [], policy, participants };
  const info = infoWith(alone, engagement, added);
  const bundle = await makeKeyPackage(suite, account.device, account.manifest, work.nowSeconds, false);
  const id = groupId(account.portal, work.engagement, 1);
  const group = await Group.create(id, serializeInfo(info), bundle, account.device, account.portal);
  if (added.length === 0) {
    checkView(viewIn(group));
    const groupInfo = await group.groupInfo();
    const made = { commit: new Uint8Array(), welcome: null, groupInfo, after: group, current: group };
    putCommit(work, made, { adds: [], removes: [] }, "create");
    return;
  }
  const made = await group.commit({ adds: added });
  checkView(viewIn(made.after));
  putCommit(work, made, { adds: added.map(({ device }) => device), removes: [] }, "create");
}

/**
 * The commit that adds and removes these; raises what receivers would, so that nothing void is sent.
 *
 * Of somebody who came back with another identity key all earlier devices go. If the recovery key vouches for it,
 * the new ones come in the same commit; else the person leaves with this one and comes with the next. A commit that
 * needs no path of its own does not bring our list: that comes by itself, before those who wait.
 */
export async function commit(
  work: Work,
  group: Group,
  engagement: Engagement,
  plan: Plan,
  offered: readonly Candidate[],
): Promise<void> {
  const before = viewIn(group);
  const candidates = oneIdentityEach(offered);
  const leaving = whoMustLeave(before, candidates);
  const staying = before.info.participants.filter(({ user }) => !leaving.has(user));
  const coming = candidates.filter(({ manifest }) => !leaving.has(manifest.user));
  const info = infoWith({ ...before.info, participants: staying }, engagement, plan.refresh ? [] : coming);
  const added = plan.refresh ? [] : coming;
  const removes = [...new Set([...plan.removes, ...replacedLeaves(before, added, leaving)])];
  const described = sameInfo(info, before.info) ? {} : { info: serializeInfo(info) };
  const hasPath = removes.length > 0 || added.length === 0 || "info" in described;
  if (added.length === 0 && removes.length === 0 && !plan.refresh && !("info" in described)) return;
  const manifest = hasPath ? { manifest: work.shared.account.manifest.raw } : {};
  const made = await group.commit({ adds: added, removes, ...described, ...manifest });
  const after = viewIn(made.after);
  const [old, now] = [devicesIn(before), devicesIn(after)];
  const named = {
    adds: after.leaves.filter((leaf) => !old.has(leaf.name)).map((leaf) => leaf.device),
    removes: before.leaves.filter((leaf) => !now.has(leaf.name)).map((leaf) => leaf.device),
  };
  checkCommit(before, after, named, false);
  putCommit(work, made, named, "change");
}

/** Of devices that name different identity keys of one user only those with the newest list. */
function oneIdentityEach(candidates: readonly Candidate[]): readonly Candidate[] {
  const newest = new Map<UserId, Manifest>();
  for (const { manifest } of candidates) {
    const known = newest.get(manifest.user);
    if (known === undefined || manifest.version > known.version) newest.set(manifest.user, manifest);
  }
  return candidates.filter(({ manifest }) => {
    const known = newest.get(manifest.user);
    return known !== undefined && equal(manifest.identityKey, known.identityKey);
  });
}

/** Users whose new identity nothing connects with the one that takes part. */
function whoMustLeave(view: ConversationView, candidates: readonly Candidate[]): ReadonlySet<UserId> {
  const leaving = new Set<UserId>();
  for (const { manifest } of candidates) {
    const participant = participantOf(view.info, manifest.user);
    if (participant === undefined || equal(participant.identityKey, manifest.identityKey)) continue;
    const known = governing(view, manifest.user);
    if (known === null || !succeeds(known, manifest)) leaving.add(manifest.user);
  }
  return leaving;
}

function succeeds(old: Manifest, next: Manifest): boolean {
  try {
    checkSuccessor(old, next);
    return true;
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    return false;
  }
}

/** The leaves of who leaves, and of earlier identities of those who come. */
function replacedLeaves(
  view: ConversationView,
  coming: readonly Candidate[],
  leaving: ReadonlySet<UserId>,
): readonly number[] {
  const keys = new Map(coming.map(({ manifest }) => [manifest.user, manifest.identityKey]));
  const isOver = ({ user, manifest }: { readonly user: UserId; readonly manifest: Manifest }) =>
    leaving.has(user) || !equal(manifest.identityKey, keys.get(user) ?? manifest.identityKey);
  return view.leaves.filter(isOver).map((leaf) => leaf.index);
}
