/**
 * The security alarms: about the stream, the relay and this device (docs/PROTOCOL.md section 8), and about who
 * somebody is (section 6). Sending stops, and what waits is kept, until a person has looked.
 */

import type { Bytes } from "./bytes.ts";
import { hex } from "./bytes.ts";
import { CoachRelayError, RecordInvalid } from "./errors.ts";

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
  identity_changed: {
    what: "The security key of a person in this conversation has changed.",
    why: "They set up everything anew with their recovery kit, or somebody poses as them.",
    do:
      "Call or meet the person, ask whether they did that, and compare the new safety number. " +
      "Go on only if it is really theirs.",
  },
  manifest_rolled_back: {
    what: "An out-of-date list of a person's devices was presented as their current one.",
    why: "A device that they removed, for example a stolen one, could come back that way.",
  },
  manifest_forked: {
    what: "Two different lists of a person's devices exist that both claim to be the same one.",
    why: "Two of their devices were changed at once, or somebody else holds their identity key.",
    do: "Ask the person to save their device list again; compare safety numbers if in doubt.",
  },
} as const satisfies Readonly<Record<string, Told>>;

export type AlarmCode = keyof typeof ALARMS;

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

  constructor(code: AlarmCode, evidence: Readonly<Record<string, Fact | Bytes>> = {}) {
    const told: Told = ALARMS[code];
    super(`${told.what} ${told.why} ${UNTIL_THEN} ${told.do ?? DO}`);
    this.code = code;
    const facts = Object.entries(evidence).map(([name, fact]) => [
      name,
      fact instanceof Uint8Array ? hex(fact) : fact,
    ]);
    this.evidence = Object.freeze(Object.fromEntries(facts));
  }
}

/** The alarm that was stored as its code and evidence; raises RecordInvalid for an unknown code. */
export function alarmFrom(code: string, evidence: Readonly<Record<string, Fact>>): SecurityAlarm {
  if (!Object.hasOwn(ALARMS, code)) {
    throw new RecordInvalid("A stored alarm has a code that this version does not know. Update the app.");
  }
  return new SecurityAlarm(code as AlarmCode, evidence);
}
