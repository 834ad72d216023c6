/** The GroupInfo of a bundle, judged by what this device knows of the conversation. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { IdentityError, ManifestInvalid } from "../errors.ts";
import type { Participant } from "../identity/conversation.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import type { Manifest } from "../identity/manifest.ts";
import { checkSuccessor } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import { checkJoined, governing, viewOf } from "../identity/membership.ts";
import type { TrustRecord } from "../identity/trust.ts";
import { checkNotOlder } from "../identity/trust.ts";
import { GroupError } from "../mls/errors.ts";
import type { Described } from "../mls/offer.ts";
import { describe, hasNewLeafOf, verifyDescribed } from "../mls/offer.ts";
import { isStronger } from "../mls/suites.ts";
import type { Work } from "./work.ts";

/** A GroupInfo and the conversation as it describes it; `epoch` is numbered through the conversation. */
export interface Offer extends Omit<Described, "epoch"> {
  readonly described: Described;
  readonly view: ConversationView;
  readonly epoch: number;
}

/** The offer in these bytes, if it is of this conversation; raises GroupError or IdentityError. */
export function readOffer(work: Work, groupInfo: Bytes): Offer {
  const described = describe(groupInfo);
  const view = viewOf(described.facts);
  checkJoined(view, work.shared.account.portal, work.engagement);
  const epoch = conversationEpoch(view.info.generation, described.epoch);
  return { ...described, described, view, epoch };
}

/** Whether it is of the present, and of the people that this device knows; raises SecurityAlarm. */
export function checkOffered(work: Work, offer: Offer): void {
  checkNewer(work, offer);
  for (const participant of offer.view.info.participants) {
    const known = work.trustOf(participant.user);
    if (known === null || participant.user === work.shared.account.user) continue;
    const manifest = governing(offer.view, participant.user);
    // Its devices that are not on the newer list leave before anything is said.
    if (work.state.overtaken && isEarlier(known, manifest)) continue;
    if (manifest !== null) checkNotOlder(known, manifest);
    checkIdentity(participant, known, manifest);
  }
}

/** The key that is known, or one that the recovery key vouches for. */
function checkIdentity({ user, identityKey }: Participant, known: TrustRecord, manifest: Manifest | null) {
  if (equal(identityKey, known.newest.identityKey)) return;
  const changed = new SecurityAlarm("identity_changed", { user, identity: identityKey });
  if (manifest === null) throw changed;
  try {
    checkSuccessor(known.newest, manifest);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    throw changed;
  }
}

/**
 * Whether a member describes a later epoch, in which another key package stands for this device. Then this device was
 * removed and added again, whatever the relay has told it.
 */
export async function letsInAnew(work: Work, groupInfo: Bytes): Promise<boolean> {
  const { group, highestEpoch } = work.state;
  try {
    const offer = readOffer(work, groupInfo);
    await verifyDescribed(offer.described, work.shared.account.portal);
    checkOffered(work, offer);
    return group !== null && offer.epoch > highestEpoch && hasNewLeafOf(offer.described, group);
  } catch (error) {
    if ([SecurityAlarm, GroupError, IdentityError].some((kind) => error instanceof kind)) return false;
    throw error;
  }
}

function checkNewer(work: Work, { epoch, suite, transcript }: Offer): void {
  const { highestEpoch, suite: ownSuite, transcript: ownTranscript, overtaken, branch } = work.state;
  // Where the relay lost the epoch that we were in others went on from an earlier one that we know too.
  const own = overtaken ? branch : highestEpoch;
  if (epoch < own || (!overtaken && isStronger(ownSuite, suite))) {
    throw new SecurityAlarm("epoch_rolled_back", { own, offered: epoch });
  }
  if (!overtaken && epoch === own && !equal(transcript, ownTranscript)) {
    throw new SecurityAlarm("stream_forked", { own_epoch: own, own_transcript: ownTranscript });
  }
}

/** Whether this device has seen a device list that came after this one. */
export function isEarlier({ newest }: TrustRecord, manifest: Manifest | null): boolean {
  if (manifest === null || newest.version <= manifest.version) return false;
  try {
    checkSuccessor(manifest, newest);
    return true;
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    return false;
  }
}
