/** Who is to be let in, and the commit that does it (docs/PROTOCOL.md section 7). */

import { SecurityAlarm } from "../alarms.ts";
import { equal } from "../bytes.ts";
import { ApprovalRequired, CredentialRefused } from "../errors.ts";
import type { ConversationInfo, Participant } from "../identity/conversation.ts";
import { groupId, participantOf, sameInfo, serializeInfo } from "../identity/conversation.ts";
import type { Manifest } from "../identity/manifest.ts";
import { checkCommit, checkView, devicesIn, leavesToRemove, viewOf } from "../identity/membership.ts";
import { checkAdmission } from "../identity/trust.ts";
import { GroupError } from "../mls/errors.ts";
import { Group } from "../mls/group.ts";
import type { Candidate } from "../mls/keyPackages.ts";
import { checkOffer, makeKeyPackage } from "../mls/keyPackages.ts";
import type { SuiteId } from "../mls/suites.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import type { Value } from "../msgpack.ts";
import type { Engagement, RelayFrames } from "../wire/frames.ts";
import type { DeviceId, UserId } from "../wire/ids.ts";
import { deviceName } from "../wire/ids.ts";
import { putCommit } from "./sending.ts";
import type { Work } from "./work.ts";

/** The devices that wait to be let in and may be, in the relay's order. */
export function waitingDevices(work: Work, engagement: Engagement, refused: ReadonlySet<string>): DeviceId[] {
  const present =
    work.view === null ? new Set([deviceName(work.shared.account.deviceId)]) : devicesIn(work.view);
  const roster = engagement.participants.map((participant) => participant.user);
  return engagement.devices
    .filter(({ user, device, hasKeyPackage }) => {
      const name = deviceName(device);
      return hasKeyPackage && !present.has(name) && !refused.has(name) && admissible(work, roster, user);
    })
    .map(({ device }) => device);
}

/** Whether a user may be added without asking anybody. */
function admissible(work: Work, roster: readonly UserId[], user: UserId): boolean {
  const { met } = work.state;
  const own = work.shared.account.user;
  const firstOfTwo = met.length === 0 && roster.length === 2 && roster.includes(own);
  return roster.includes(user) && (user === own || met.includes(user) || firstOfTwo);
}

type Claimed = RelayFrames["KeyPackages"]["packages"];

/** The suite of a new conversation: the first of ours that all these people's device lists name. */
function chooseSuite(own: Manifest, others: readonly Manifest[]): SuiteId {
  const ours = KNOWN_SUITES.filter((suite) => own.suites.includes(suite));
  const shared = ours.find((suite) => others.every((other) => other.suites.includes(suite)));
  return shared ?? ours[0] ?? KNOWN_SUITES[0];
}

/** The packages of this suite of those who may come in; `refused` learns who is left out. */
async function candidates(
  work: Work,
  engagement: Engagement,
  claimed: Claimed,
  suite: SuiteId,
  refused: Set<string>,
): Promise<Candidate[]> {
  const { account, nowMs } = work.shared;
  const found: Candidate[] = [];
  for (const { device, package: offer } of claimed) {
    try {
      const seconds = Math.floor(nowMs() / 1000);
      const one = offer && (await checkOffer(offer, device, suite, account.portal, seconds));
      if (one == null) throw new CredentialRefused("A device has no key package of this suite.");
      checkAdmission({
        candidate: one.manifest,
        deviceKey: one.deviceKey,
        own: account.manifest,
        record: work.trustOf(one.manifest.user),
        roster: engagement.participants.map(({ user }) => user),
        met: work.state.met.map((user) => user as UserId),
        approved: false,
      });
      found.push(one);
    } catch (error) {
      const known = [GroupError, CredentialRefused, ApprovalRequired, SecurityAlarm].some(
        (kind) => error instanceof kind,
      );
      if (!known) throw error;
      refused.add(deviceName(device));
    }
  }
  return found;
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
  claimed: Claimed,
  refused: Set<string>,
): Promise<void> {
  const { account, nowMs } = work.shared;
  const offered = await offeredManifests(work, engagement, claimed);
  const suite = chooseSuite(account.manifest, offered);
  const added = await candidates(work, engagement, claimed, suite, refused);
  const own = engagement.participants.find(({ user }) => user === account.user);
  if (own === undefined) return;
  const policy = new Map<string, Value>([["retention_hours", engagement.retentionHours]]);
  const participants = [{ ...own, identityKey: account.manifest.identityKey }];
  const base = { portal: account.portal, engagement: work.engagement, generation: 1 };
  const alone: ConversationInfo = { ...base, features: [], policy, participants };
  const info = infoWith(alone, engagement, added);
  const seconds = Math.floor(nowMs() / 1000);
  const bundle = await makeKeyPackage(suite, account.device, account.manifest, seconds, false);
  const id = groupId(account.portal, work.engagement, 1);
  const group = await Group.create(id, serializeInfo(info), bundle, account.device, account.portal);
  if (added.length === 0) {
    checkView(viewOf(group.facts));
    const made = {
      commit: new Uint8Array(),
      welcome: null,
      groupInfo: await group.groupInfo(),
      after: group,
    };
    putCommit(work, { ...made, current: group }, { adds: [], removes: [] }, true);
    return;
  }
  const made = await group.commit({ adds: added });
  checkView(viewOf(made.after.facts));
  putCommit(work, made, { adds: added.map(({ device }) => device), removes: [] }, true);
}

/** The manifests that come with these offers, in whatever suite: they decide on the suite. */
async function offeredManifests(work: Work, engagement: Engagement, claimed: Claimed): Promise<Manifest[]> {
  const found: Manifest[] = [];
  for (const suite of KNOWN_SUITES) {
    for (const one of await candidates(work, engagement, claimed, suite, new Set())) found.push(one.manifest);
  }
  return found;
}

/** The commit that removes who has to go and adds these; raises what receivers would. */
export async function admit(
  work: Work,
  engagement: Engagement,
  claimed: Claimed,
  refused: Set<string>,
): Promise<void> {
  const { group } = work.state;
  const before = work.view;
  if (group === null || before === null) return;
  const added = await candidates(work, engagement, claimed, group.suite, refused);
  const removes = leavesToRemove(before);
  if (added.length === 0 && removes.length === 0) return;
  const info = infoWith(before.info, engagement, added);
  const changes = {
    adds: added,
    removes,
    ...(sameInfo(info, before.info) ? {} : { info: serializeInfo(info) }),
  };
  const made = await group.commit(changes);
  const after = viewOf(made.after.facts);
  const [old, now] = [devicesIn(before), devicesIn(after)];
  const named = {
    adds: after.leaves.filter((leaf) => !old.has(leaf.name)).map((leaf) => leaf.device),
    removes: before.leaves.filter((leaf) => !now.has(leaf.name)).map((leaf) => leaf.device),
  };
  checkCommit(before, after, named, false);
  putCommit(work, made, named, false);
}
