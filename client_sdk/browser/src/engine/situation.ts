/** Where one conversation stands, on this device and at the relay: what may be done, and why something may not. */

import { equal, hex } from "../bytes.ts";
import { MOST_IN_FLIGHT } from "../delivery/outbox.ts";
import { UpdateRequired } from "../errors.ts";
import { checkFeatures } from "../identity/conversation.ts";
import type { ConversationView } from "../identity/membership.ts";
import { governing, leavesToRemove } from "../identity/membership.ts";
import { COMMIT } from "../wire/fields.ts";
import type { Engagement, Entry, RelayFrames } from "../wire/frames.ts";
import type { NewestBundles } from "./receiving.ts";
import type { State } from "./state.ts";
import { phaseOf } from "./state.ts";
import { viewIn } from "./views.ts";
import type { Reason } from "./waiting.ts";
import type { Shared } from "./work.ts";

export const GENERATION_EPOCHS = 2 ** 32;

/** What this device knows: durably (`state`), and of the present connection. */
export interface Situation {
  readonly shared: Shared;
  readonly state: State;
  /** The relay's last word about the engagement. */
  readonly engagement: Engagement | null;
  readonly online: boolean;
  /** The stream, as the relay opened it on this connection. */
  readonly opened: RelayFrames["Opened"] | null;
  readonly newest: NewestBundles;
  /** The code by which the relay stopped us; empty if it did not. */
  readonly stopped: string;
  /** A commit up to here has to be processed before anything is encrypted. */
  readonly neededCommit: number;
}

export const viewOfState = ({ group }: State): ConversationView | null => group && viewIn(group);

export const isEnded = ({ engagement }: Situation): boolean =>
  engagement !== null && engagement.status !== "active";

/** Whether everything is here that is needed: the whole stream, or what it takes to rejoin. */
export function caughtUp({ opened, state, newest }: Situation): boolean {
  if (opened === null) return false;
  const rejoining = phaseOf(state) === "rejoining";
  // What came after the newest commit may be erased: it would be waited for in vain.
  if (rejoining && opened.lastCommit > 0 && opened.lastCommit <= newest.seq) return true;
  return state.cursor >= opened.head || !opened.member;
}

/** Whether the relay lost something that this device is bringing back. */
export const isRepairing = ({ state }: Situation): boolean =>
  phaseOf(state) === "repairing" ||
  isBelowFloor(state) ||
  viewOfState(state)?.leaves.some(({ name }) => state.removed.includes(name)) === true ||
  state.box.items.some(({ id }) => state.reoffers.includes(hex(id)));

/** Whether the group is not yet as far again as it was before the relay lost that. */
const isBelowFloor = (state: State): boolean =>
  phaseOf(state) === "member" && state.highestEpoch < state.floor;

/** Whether more epochs of this group bring it there: to a group that takes over it moves by itself. */
export function mustRise({ state }: Situation): boolean {
  const [floor, now] = [state.floor, state.highestEpoch].map((epoch) =>
    Math.floor(epoch / GENERATION_EPOCHS),
  );
  return isBelowFloor(state) && floor === now;
}

/** Entries come: if we were no member, another device has let us in again, or brought back the commit by which we are one. */
export const asMember = (opened: Opened, entries: readonly Entry[]): Opened =>
  opened.member ? opened : { ...opened, member: true, head: Math.max(opened.head, entries.at(-1)?.seq ?? 0) };
type Opened = RelayFrames["Opened"];

/** Whether the next commit that the relay lost is to be offered now: one at a time. */
export const mayOffer = ({ state, opened, neededCommit }: Situation): boolean =>
  phaseOf(state) === "repairing" &&
  opened?.member === true &&
  state.lastCommit >= neededCommit &&
  !state.box.inFlight.some(({ kind }) => kind === COMMIT);

/** Whether a commit of ours could be sent now. */
export function mayCommit(at: Situation): boolean {
  const { state, stopped, neededCommit } = at;
  return (
    caughtUp(at) &&
    state.pending === null &&
    phaseOf(state) !== "repairing" &&
    state.alarm === null &&
    stopped === "" &&
    !isEnded(at) &&
    state.lastCommit >= neededCommit &&
    state.box.inFlight.length < MOST_IN_FLIGHT &&
    state.box.late.size === 0
  );
}

/** Whether there is no group yet, and this device's user is one of those who may make it. */
export function mustCreate({ opened, engagement, state, shared }: Situation): boolean {
  if (opened === null || engagement === null || phaseOf(state) !== "outside") return false;
  const invited = engagement.participants.some(({ user }) => user === shared.account.user);
  return invited && opened.lastCommit === 0 && state.lastCommit === 0;
}

/** Whether the group has this user's newest device list: a device that left it reads nothing more. */
export function listIsKnown({ state, shared }: Situation): boolean {
  const view = viewOfState(state);
  const own = view && governing(view, shared.account.user);
  return own !== null && own.version >= shared.account.manifest.version;
}

/**
 * Leaves of people of whom this device knows another identity by now, from another conversation; and those of devices
 * that had left before the relay lost that they did.
 */
export function outdatedLeaves({ state, shared }: Situation): readonly number[] {
  const leaves = viewOfState(state)?.leaves ?? [];
  return leaves
    .filter(({ user, manifest, name }) => {
      if (state.removed.includes(name)) return true;
      const known = shared.trust.get(user)?.newest.identityKey ?? manifest.identityKey;
      return user !== shared.account.user && !equal(known, manifest.identityKey);
    })
    .map(({ index }) => index);
}

/** Whether this version has every feature that the conversation requires. */
function isSupported({ state }: Situation): boolean {
  const view = viewOfState(state);
  try {
    if (view !== null) checkFeatures(view.info);
    return true;
  } catch (error) {
    if (!(error instanceof UpdateRequired)) throw error;
    return false;
  }
}

/** Whether a device of another user is in the group. */
export const somebodyListens = ({ state, shared }: Situation): boolean =>
  viewOfState(state)?.leaves.some(({ user }) => user !== shared.account.user) ?? false;

/** Whether devices of this user take part that its list does not know: it was set up without the kit. */
function startsAnew({ engagement, shared }: Situation): boolean {
  const { user, manifest } = shared.account;
  if (engagement === null || manifest.version >= GENERATION_EPOCHS) return false;
  return engagement.devices.some(
    (one) => one.user === user && one.member && !equal(one.device, shared.account.deviceId),
  );
}

/** Whether what waits may be encrypted now, under the group's present epoch. */
export function mayEncrypt(at: Situation): boolean {
  const view = viewOfState(at.state);
  return (
    view !== null &&
    phaseOf(at.state) === "member" &&
    !isBelowFloor(at.state) &&
    at.state.alarm === null &&
    at.state.pending === null &&
    at.state.lastCommit >= at.neededCommit &&
    leavesToRemove(view).length === 0 &&
    listIsKnown(at) &&
    outdatedLeaves(at).length === 0 &&
    !view.info.participants.some(({ user }) => at.shared.trust.get(user)?.state === "changed") &&
    somebodyListens(at) &&
    isSupported(at)
  );
}

/** Why the conversation does not send; null if it does. */
export function hindrance(at: Situation): Reason | null {
  const phase = phaseOf(at.state);
  const hindrances: readonly (readonly [Reason, boolean])[] = [
    ["alarm", at.state.alarm !== null],
    ["ended", isEnded(at)],
    ["offline", !at.online],
    ["stopped", at.stopped !== ""],
    ["catching_up", !caughtUp(at)],
    ["not_accepted", phase === "outside" && startsAnew(at)],
    ["not_joined", phase === "outside"],
    ["repairing", isRepairing(at)],
    ["rejoining", phase === "rejoining"],
    ["outdated", outdatedLeaves(at).length > 0],
    ["nobody_there", !somebodyListens(at)],
    ["update", !isSupported(at)],
  ];
  return hindrances.find(([, holds]) => holds)?.[0] ?? null;
}

/** How far what is said here is safe from whoever records it for a quantum computer. */
export function protectionOf({ suite, highestEpoch }: State): "none" | "not_yet" | "from_now_on" | "yes" {
  if (suite === 0) return "none";
  if (suite !== 0xf00e) return "not_yet";
  return highestEpoch < GENERATION_EPOCHS ? "yes" : "from_now_on";
}
