/**
 * The rules of membership: the same verdict for every member (docs/PROTOCOL.md sections 5, 6 and 7).
 *
 * Everything here is a pure function of the group before and after a commit and of the bundle's names. Clock,
 * trust and verification have no place here: they may stop this client from sending, never from accepting. A
 * commit whose check raises any IdentityError is void: the state before it stays.
 */

import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import { BundleNamesDiffer, CredentialRefused, ManifestInvalid, MembershipError } from "../errors.ts";
import { plus } from "../msgpack.ts";
import type { DeviceId, EngagementId, PortalId, UserId } from "../wire/ids.ts";
import { deviceId, deviceName } from "../wire/ids.ts";
import { MAX_MEMBER_DEVICES } from "../wire/limits.ts";
import type { ConversationInfo } from "./conversation.ts";
import { groupId, parseInfo, participantOf, sameInfo } from "./conversation.ts";
import type { Manifest } from "./manifest.ts";
import { checkSuccessor, lists, verifyManifest } from "./manifest.ts";

/** What of a group the rules read. `info` is the data of the extension 0xF0C1, null if it is not there once. */
export interface GroupFacts {
  readonly groupId: Bytes;
  readonly info: Bytes | null;
  /** Whether `required_capabilities` names the extension 0xF0C1. */
  readonly demandsInfo: boolean;
  readonly members: readonly MemberFacts[];
}

/** A non-blank leaf; `identity` is that of its BasicCredential, null for a credential of another type. */
export interface MemberFacts {
  readonly index: number;
  readonly signatureKey: Bytes;
  readonly identity: Bytes | null;
}

/** One member device: its place in the tree, and what its user signed about it. */
export interface Leaf {
  readonly index: number;
  readonly deviceKey: Bytes;
  readonly device: DeviceId;
  /** The device id in hexadecimal digits. */
  readonly name: string;
  readonly user: UserId;
  readonly manifest: Manifest;
}

/** A group's state as the rules see it, every manifest in it verified. */
export interface ConversationView {
  readonly groupId: Bytes;
  readonly info: ConversationInfo;
  readonly leaves: readonly Leaf[];
}

/** The verified manifest in a leaf's credential, which must list the leaf's own key; raises CredentialRefused. */
export function manifestOf(identity: Bytes | null, signatureKey: Bytes): Manifest {
  if (identity === null) throw refused("its credential is of another type");
  let manifest: Manifest;
  try {
    manifest = verifyManifest(identity);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    throw refused("its user's device list is not valid");
  }
  if (!lists(manifest, signatureKey)) throw refused("its user's device list does not name it");
  return manifest;
}

/** Whether the manifest's user takes part, with exactly this identity key; raises CredentialRefused. */
export function checkParticipant(info: ConversationInfo, manifest: Manifest): void {
  if (manifest.portal !== info.portal) throw refused("its user belongs to another portal");
  const participant = participantOf(info, manifest.user);
  if (participant === undefined) throw refused("its user does not take part in this conversation");
  if (!equal(participant.identityKey, manifest.identityKey)) {
    throw refused("its user's identity key is not the one that was admitted");
  }
}

/** Verify every manifest, decode the extension; raises an IdentityError. */
export function viewOf(group: GroupFacts): ConversationView {
  const leaves = group.members.map(leafOf);
  if (group.info === null) throw voided("the group does not carry its description exactly once");
  const info = parseInfo(group.info);
  if (!group.demandsInfo) throw voided("it no longer demands that everybody understands its description");
  return { groupId: group.groupId, info, leaves };
}

function leafOf({ index, signatureKey, identity }: MemberFacts): Leaf {
  const manifest = manifestOf(identity, signatureKey);
  const device = deviceId(signatureKey);
  return { index, deviceKey: signatureKey, device, name: deviceName(device), user: manifest.user, manifest };
}

/** The names of the member devices. */
export const devicesIn = (view: ConversationView): ReadonlySet<string> =>
  new Set(view.leaves.map((leaf) => leaf.name));

export const leavesOf = (view: ConversationView, user: UserId): readonly Leaf[] =>
  view.leaves.filter((leaf) => leaf.user === user);

/** The user's manifest with the highest version in the tree; null without a leaf. */
export function governing(view: ConversationView, user: UserId): Manifest | null {
  let found: Manifest | null = null;
  for (const { manifest } of leavesOf(view, user)) {
    if (found === null || manifest.version > found.version) found = manifest;
  }
  return found;
}

/**
 * The leaves that their user's governing manifest does not list. The next committer removes them, and nobody
 * sends application data before that.
 */
export const leavesToRemove = (view: ConversationView): readonly number[] =>
  view.leaves.filter((leaf) => !governs(view, leaf)).map((leaf) => leaf.index);

/** How many leaves that stay stand before this one: who commits first when several could. */
export function placesBefore(view: ConversationView, leafIndex: number): number {
  const leaving = leavesToRemove(view);
  return view.leaves.filter((leaf) => leaf.index < leafIndex && !leaving.includes(leaf.index)).length;
}

/** The rules that hold in every epoch; raises MembershipError or CredentialRefused. */
export function checkView(view: ConversationView): void {
  const { portal, engagement, generation } = view.info;
  if (!equal(view.groupId, groupId(portal, engagement, generation))) {
    throw voided("the group's id is not that of its engagement");
  }
  if (view.leaves.length < 1 || view.leaves.length > MAX_MEMBER_DEVICES) {
    throw voided(`it has not 1 to ${MAX_MEMBER_DEVICES} devices`);
  }
  if (devicesIn(view).size !== view.leaves.length) throw voided("a device is in it twice");
  for (const leaf of view.leaves) {
    checkParticipant(view.info, leaf.manifest);
    if (!lists(leaf.manifest, leaf.deviceKey)) throw voided("a device is not in its user's device list");
  }
  checkOneManifestAVersion(view);
}

/** What a device that was added (or rejoins) checks before it takes part, besides `checkView`. */
export function checkJoined(view: ConversationView, portal: PortalId, engagement: EngagementId): void {
  if (view.info.portal !== portal || view.info.engagement !== engagement) {
    throw voided("it belongs to another engagement than the one opened");
  }
  checkView(view);
}

/**
 * Whether a group that takes over has the same conversation, people and devices; raises MembershipError. Only its
 * generation is the next one; each device's list is the same as before or a successor.
 */
export function checkRenewed(before: ConversationView, after: ConversationView): void {
  checkView(after);
  const next = { ...before.info, generation: plus(before.info.generation, 1) };
  if (!sameInfo(next, after.info)) {
    throw voided("the group that is to take over is described otherwise than as its next generation");
  }
  const [old, now] = [devicesIn(before), devicesIn(after)];
  if (before.leaves.length !== after.leaves.length || [...old].some((name) => !now.has(name))) {
    throw voided("the group that is to take over has other devices");
  }
  checkManifests(before, after);
}

/** The devices that a bundle names. */
export interface Named {
  readonly adds: readonly DeviceId[];
  readonly removes: readonly DeviceId[];
}

/**
 * Whether a commit keeps the rules; raises an IdentityError, and then it is void for all. Whether the bundle's
 * names fit is checked last, by `checkBundle`, which raises its own MembershipError subclass.
 */
export function checkCommit(
  before: ConversationView,
  after: ConversationView,
  named: Named,
  external: boolean,
): void {
  checkView(after);
  checkConstant(before.info, after.info);
  checkParticipants(before, after);
  checkManifests(before, after);
  checkAdded(before, after);
  if (external) checkExternal(before, after);
  checkBundle(before, after, named);
}

/** Whether the bundle names exactly the devices that come and go; raises BundleNamesDiffer. */
export function checkBundle(before: ConversationView, after: ConversationView, named: Named): void {
  const [old, now] = [devicesIn(before), devicesIn(after)];
  const adds = new Set([...now].filter((name) => !old.has(name)));
  const removes = new Set([...old].filter((name) => !now.has(name)));
  if (!sameNames(adds, named.adds) || !sameNames(removes, named.removes)) {
    throw new BundleNamesDiffer(
      "A change of the conversation's devices names others than it changes. It is ignored by everybody.",
    );
  }
}

function sameNames(wanted: ReadonlySet<string>, named: readonly DeviceId[]): boolean {
  const names = new Set(named.map(deviceName));
  return names.size === wanted.size && [...names].every((name) => wanted.has(name));
}

function governs(view: ConversationView, leaf: Leaf): boolean {
  const found = governing(view, leaf.user);
  return found !== null && lists(found, leaf.deviceKey);
}

function checkOneManifestAVersion(view: ConversationView): void {
  const seen = new Map<string, Bytes>();
  for (const { user, manifest } of view.leaves) {
    const key = `${user} ${manifest.version}`;
    const first = seen.get(key) ?? manifest.raw;
    seen.set(key, first);
    if (!equal(first, manifest.raw)) throw voided("two device lists of one user claim the same version");
  }
}

function checkConstant(before: ConversationInfo, after: ConversationInfo): void {
  const same =
    before.portal === after.portal &&
    before.engagement === after.engagement &&
    before.generation === after.generation;
  if (!same) throw voided("it changes what conversation this is");
}

/** Who is new brings a device; roles stay; an identity key changes only by its recovery key. */
function checkParticipants(before: ConversationView, after: ConversationView): void {
  for (const participant of after.info.participants) {
    const known = participantOf(before.info, participant.user);
    if (known === undefined) {
      if (leavesOf(after, participant.user).length === 0) {
        throw voided("it names a new participant without adding one of their devices");
      }
      continue;
    }
    if (known.role !== participant.role) throw voided("it changes the role of a participant");
    if (!equal(known.identityKey, participant.identityKey)) checkRecovered(before, after, participant.user);
  }
}

function checkRecovered(before: ConversationView, after: ConversationView, user: UserId): void {
  const [old, next] = [governing(before, user), governing(after, user)];
  if (old === null || next === null) {
    throw voided("it changes a participant's identity key, and nothing shows that it was they");
  }
  checkFollows(old, next);
}

/** A user's governing manifest only moves forward, and no device's own one moves back. */
function checkManifests(before: ConversationView, after: ConversationView): void {
  for (const user of new Set(before.leaves.map((leaf) => leaf.user))) {
    const [old, next] = [governing(before, user), governing(after, user)];
    if (old !== null && next !== null && next.version >= old.version) checkFollows(old, next);
  }
  const earlier = new Map(before.leaves.map((leaf) => [hex(leaf.deviceKey), leaf.manifest]));
  for (const leaf of after.leaves) {
    const old = earlier.get(hex(leaf.deviceKey));
    if (old !== undefined) checkFollows(old, leaf.manifest);
  }
}

function checkFollows(old: Manifest, next: Manifest): void {
  try {
    checkSuccessor(old, next);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    throw voided("a device list does not follow the one before");
  }
}

/** A device that comes is one its user lists today, as far as anybody in the group has seen. */
function checkAdded(before: ConversationView, after: ConversationView): void {
  const known = devicesIn(before);
  for (const leaf of after.leaves) {
    if (known.has(leaf.name)) continue;
    const newest = governing(before, leaf.user);
    if (newest === null || newest.version <= leaf.manifest.version || lists(newest, leaf.deviceKey)) continue;
    throw voided("it adds a device that its user has removed from their list");
  }
}

/** A rejoin replaces the leaf of a member device, and changes nothing else. */
function checkExternal(before: ConversationView, after: ConversationView): void {
  const [old, now] = [devicesIn(before), devicesIn(after)];
  if (old.size !== now.size || [...old].some((name) => !now.has(name))) {
    throw voided("a rejoining device is not the one whose place it takes");
  }
  if (!sameInfo(before.info, after.info)) throw voided("a rejoin changes the conversation's description");
}

const voided = (reason: string): MembershipError =>
  new MembershipError(`A change of the conversation breaks its rules: ${reason}. Everybody ignores it.`);

const refused = (reason: string): CredentialRefused =>
  new CredentialRefused(`A device is not let into the conversation: ${reason}. What brought it is ignored.`);
