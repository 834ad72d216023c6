/** The GroupInfo of a bundle, judged by what this device knows of the conversation. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { ManifestInvalid } from "../errors.ts";
import type { Participant } from "../identity/conversation.ts";
import { conversationEpoch } from "../identity/conversation.ts";
import type { Manifest } from "../identity/manifest.ts";
import { checkSuccessor } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import { checkJoined, governing, viewOf } from "../identity/membership.ts";
import type { TrustRecord } from "../identity/trust.ts";
import { checkNotOlder } from "../identity/trust.ts";
import type { Described } from "../mls/offer.ts";
import { describe } from "../mls/offer.ts";
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

function checkNewer(work: Work, { epoch, suite, transcript }: Offer): void {
  const { highestEpoch: own, suite: ownSuite, transcript: ownTranscript } = work.state;
  if (epoch < own || isStronger(ownSuite, suite)) {
    throw new SecurityAlarm("epoch_rolled_back", { own, offered: epoch });
  }
  if (epoch === own && !equal(transcript, ownTranscript)) {
    throw new SecurityAlarm("stream_forked", { own_epoch: own, own_transcript: ownTranscript });
  }
}
