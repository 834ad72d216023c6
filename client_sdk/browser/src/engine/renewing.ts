/**
 * A conversation moves to a stronger suite: one entry ends its group and founds the next (docs/PROTOCOL.md 7.1).
 * Nothing can come between the end of the one and the beginning of the other, and no member is needed twice.
 */

import type { Reinit } from "ts-mls";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { BundleNamesDiffer, MembershipError } from "../errors.ts";
import type { ConversationInfo } from "../identity/conversation.ts";
import { groupId, serializeInfo } from "../identity/conversation.ts";
import type { ConversationView } from "../identity/membership.ts";
import { checkRenewed } from "../identity/membership.ts";
import { GroupRefused } from "../mls/errors.ts";
import type { Made } from "../mls/group.ts";
import { Group } from "../mls/group.ts";
import type { Candidate } from "../mls/keyPackages.ts";
import { decoded, makeKeyPackage } from "../mls/keyPackages.ts";
import { changesTheSuiteAlone, isAskedFor, isOffered, moveGroup } from "../mls/moving.ts";
import { letsIn, verifyDescribed } from "../mls/offer.ts";
import type { SuiteId } from "../mls/suites.ts";
import { isStronger, KNOWN_SUITES, suiteOfName } from "../mls/suites.ts";
import { plus } from "../msgpack.ts";
import type { Bundle } from "../wire/bundle.ts";
import { finding } from "./entering.ts";
import type { Offer } from "./offers.ts";
import { readOffer } from "./offers.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** The strongest suite, above the present one, that every member's leaf and device list name. */
export const targetSuite = (group: Group, view: ConversationView): SuiteId | null =>
  KNOWN_SUITES.find((suite) => isStronger(suite, group.suite) && allSupport(suite, group, view)) ?? null;

const allSupport = (suite: SuiteId, group: Group, view: ConversationView): boolean =>
  group.supports(suite) && view.leaves.every(({ manifest }) => manifest.suites.includes(suite));

const nextInfo = (info: ConversationInfo): ConversationInfo => ({
  ...info,
  generation: plus(info.generation, 1),
});

const idOf = ({ portal, engagement, generation }: ConversationInfo): Bytes =>
  groupId(portal, engagement, generation);

/** The entry by which everybody goes over to this suite; raises what receivers would. */
export async function makeRenewal(
  work: Work,
  group: Group,
  others: readonly Candidate[],
  suite: SuiteId,
): Promise<Made> {
  const { device, manifest, portal } = work.shared.account;
  const before = viewIn(group);
  const info = nextInfo(before.info);
  const own = await makeKeyPackage(suite, device, manifest, work.nowSeconds, false);
  const to = { suite, groupId: idOf(info), info: serializeInfo(info) };
  const made = await moveGroup(group, to, own, others, device, portal);
  checkRenewed(before, viewIn(made.after));
  return made;
}

/** A valid entry of this kind: the group that it ended, and the one that it offers to everybody. */
export interface Renewal {
  readonly ended: Group;
  readonly welcome: Bytes;
  readonly offer: Offer;
}

/**
 * Whether the commit, and what its bundle offers, is the one move that a member may make. It rests on the group and
 * on the entry's public part alone, so that all members judge alike. Raises GroupError or IdentityError: it is void.
 */
export async function checkRenewal(
  work: Work,
  group: Group,
  ended: Group,
  reinit: Reinit,
  bundle: Bundle,
): Promise<Renewal> {
  const before = viewIn(group);
  const suite = suiteOfName(reinit.cipherSuite);
  if (suite === undefined || !isStronger(suite, group.suite)) {
    throw refused("the suite that it moves to is not a stronger one");
  }
  if (!allSupport(suite, group, before)) {
    throw refused("the suite that it moves to is not one that every device supports");
  }
  if (!changesTheSuiteAlone(reinit, group, serializeInfo(nextInfo(before.info)))) {
    throw refused("it changes more than the suite");
  }
  if (bundle.adds.length > 0 || bundle.removes.length > 0) {
    throw new BundleNamesDiffer("A change that moves the conversation names devices that come or go.");
  }
  const offer = readOffer(work, bundle.groupInfo);
  if (!isAskedFor(reinit, offer.described)) {
    throw refused("the group that it offers is not the one that it asks for");
  }
  if (!letsIn(offer.described)) throw refused("the group that it offers lets nobody back in");
  await verifyDescribed(offer.described, work.shared.account.portal);
  checkRenewed(before, offer.view);
  return { ended, welcome: bundle.welcome ?? new Uint8Array(), offer };
}

/**
 * The new group, opened by its Welcome; the key packages used for it are spent. Raises GroupError if it does not
 * open for this device, which then comes in by external commit.
 */
export async function follow(work: Work, { ended, welcome, offer }: Renewal): Promise<Group> {
  const { device, portal } = work.shared.account;
  const { find, spend } = finding(work);
  const { group } = await Group.join(welcome, find, device, portal, ended);
  if (!isOffered(group, offer.described)) {
    throw new GroupRefused("The Welcome leads into another group than the one offered to all.");
  }
  spend();
  return group;
}

/** Whether this is a message of the group that would take over from the present one. */
export function isOfNextGroup(view: ConversationView, message: Bytes): boolean {
  try {
    const found = decoded(message);
    const named =
      found.wireformat === "mls_private_message"
        ? found.privateMessage.groupId
        : found.wireformat === "mls_public_message"
          ? found.publicMessage.content.groupId
          : null;
    return named !== null && equal(named, idOf(nextInfo(view.info)));
  } catch (error) {
    if (!(error instanceof GroupRefused)) throw error;
    return false;
  }
}

const refused = (reason: string): MembershipError =>
  new MembershipError(`A change that would move the conversation is ignored by everybody: ${reason}.`);
