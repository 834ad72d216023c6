/**
 * The security alarms: about the stream, the relay and this device (docs/PROTOCOL.md section 8), and about who
 * somebody is (section 6). Sending stops, and what waits is kept, until a person has looked.
 */

import type { Bytes } from "./bytes.ts";
import { hex } from "./bytes.ts";
import { CoachRelayError } from "./errors.ts";

interface Told {
  readonly what: string;
  readonly why: string;
  readonly do?: string;
}

const UNTIL_THEN = "Nothing more is sent, and what you wrote is kept, until you decide.";
const DO = "Reach the other person another way, tell them, and compare your safety numbers before you go on.";
const ASK_OPERATOR =
  "Ask whoever runs the relay whether it was restored; then compare with the other person.";

const ALARMS = {
  stream_rolled_back: {
    what: "The relay has lost or withdrawn messages that it had already delivered.",
    why: "It was restored from an old copy, or somebody is trying to make parts of the conversation disappear.",
    do: ASK_OPERATOR,
  },
  stream_replaced: {
    what: "The relay has replaced this conversation's store by another one.",
    why: "It was restored from an old copy, or another machine poses as your relay.",
    do: ASK_OPERATOR,
  },
  stream_forked: {
    what: "You and another device of this conversation were shown different messages, or in another order.",
    why: "A correct relay shows everybody the same; one that does not may be hiding or inserting something.",
  },
  stream_skipped: {
    what: "The relay left out a part of the conversation while delivering it.",
    why: "Somebody may be keeping a message from you.",
  },
  stream_gap: {
    what: "A message that another device sent did not arrive here.",
    why: "Messages never get lost by accident on this path; somebody may be keeping one from you.",
  },
  relay_contradiction: {
    what: "The relay said one thing about a message of yours and did another.",
    why: "A message may have been stored although you were told it was not, or the other way round.",
  },
  cloned_device: {
    what: "Something was sent in the name of this device that this device did not send.",
    why: "A copy of it is in use: an old backup was restored, or somebody has stolen its keys.",
    do:
      "If you did not restore a backup yourself, remove this device from your list of devices " +
      "and set it up anew.",
  },
  bundle_mismatch: {
    what: "A change of the devices in this conversation was announced differently from what it really did.",
    why: "It was ignored; but a device or the relay tried to let somebody in or to shut somebody out.",
  },
  epoch_rolled_back: {
    what: "The relay offered an old state of the conversation as the newest one.",
    why: "In an old state, devices that were removed could still read along.",
  },
  archive_rolled_back: {
    what: "The relay has lost or withdrawn a part of your archive that it had already taken.",
    why: "It was restored from an old copy, or somebody wants you not to get your history back one day.",
    do:
      "Ask whoever runs the relay whether it was restored. Your archive is written anew from this device, " +
      "where nothing is missing.",
  },
  archive_withheld: {
    what: "The relay gave you back less of your archive than it had: the newest of your history is missing.",
    why: "It was restored from an old copy, or somebody does not want you to have it.",
    do:
      "Ask whoever runs the relay. If it has the rest after all, come back once more with your recovery " +
      "kit; or ask the others for what is missing.",
  },
  identity_changed: {
    what: "{who} appears with a new security key.",
    why:
      "Either {who} lost everything and started anew without a recovery kit, or somebody else uses that " +
      "account at your portal.",
    do:
      "Call {who}, or meet, and ask. If it is so, compare the new safety number, and let the new key in; " +
      "if not, go on without it, and tell your portal.",
  },
  identity_recovered: {
    what: "{who} came back on a new device with the recovery kit, and has a new security key.",
    why: "The earlier devices of {who} are shut out. But whoever found that kit could have done the same.",
    do: "Call {who}, or meet, ask whether it is so, and compare the new safety number. Then go on.",
  },
  own_identity_changed: {
    what: "Your own account was set up anew on another device.",
    why: "Either you did that yourself, or somebody has your portal login, and perhaps your recovery kit.",
    do:
      "If it was you, go on there: this device belongs to the time before. If it was not, call the people " +
      "you talk with, and tell your portal at once.",
  },
  manifest_rolled_back: {
    what: "An out-of-date list of the devices of {who} was presented as the current one.",
    why: "A device that was removed from it, for example a stolen one, could come back that way.",
  },
  manifest_forked: {
    what: "Two different lists of the devices of {who} exist that both claim to be the same one.",
    why: "Two devices of {who} changed it at once, or somebody else holds the key that signs it.",
    do: "Ask {who} to remove and add one device, which makes a new list; compare safety numbers if in doubt.",
  },
} as const satisfies Readonly<Record<string, Told>>;

export type AlarmCode = keyof typeof ALARMS;
export const ALARM_CODES = Object.keys(ALARMS) as readonly AlarmCode[];

const SOMEBODY = "somebody in this conversation";

/** What happened, why it matters and what to do, about the person who is called so. */
export function sentenceAbout(code: AlarmCode, who: string): string {
  const { what, why, do: toDo = DO }: Told = ALARMS[code];
  const said = [what, why, UNTIL_THEN, toDo].map((part) => part.replaceAll("{who}", who));
  return said.map((part) => part.slice(0, 1).toUpperCase() + part.slice(1)).join(" ");
}

/** One public fact: a position, an epoch, a hash, a device id (bytes as hexadecimal digits). */
export type Fact = number | string;

/**
 * An alarm. Its message says what happened, why it matters and what to do, in words for a coach; `evidence`
 * holds public facts alone, never content or keys, and stays out of the message.
 */
export class SecurityAlarm extends CoachRelayError {
  readonly code: AlarmCode;
  override readonly fault = "remote";
  readonly evidence: Readonly<Record<string, Fact>>;
  /** What happened, alone. */
  readonly what: string;

  constructor(code: AlarmCode, evidence: Readonly<Record<string, Fact | Bytes>> = {}) {
    super(sentenceAbout(code, SOMEBODY));
    this.code = code;
    this.what = ALARMS[code].what.replaceAll("{who}", SOMEBODY);
    const facts = Object.entries(evidence).map(([name, fact]) => [
      name,
      fact instanceof Uint8Array ? hex(fact) : fact,
    ]);
    this.evidence = Object.freeze(Object.fromEntries(facts));
  }
}
