/** What can go wrong with a person's own devices: linking, removing, recovering. */

import { CoachRelayError, type Fault } from "../errors.ts";

export abstract class DeviceError extends CoachRelayError {}

/** The words or the code for linking a device are none: mistyped, or of something else. */
export class LinkCodeInvalid extends DeviceError {
  readonly code = "link_code_invalid";
}

/** While linking, something came that the other device did not send. */
export class LinkTampered extends DeviceError {
  readonly code = "link_tampered";
  override readonly fault: Fault = "remote";
}

/** The two devices did not come together. */
export class LinkFailed extends DeviceError {
  readonly code = "link_failed";
}

/** A person has at most 8 devices. */
export class TooManyDevices extends DeviceError {
  readonly code = "too_many_devices";
}

/** This device does not hold the key that changes the list of devices. */
export class MayNotLink extends DeviceError {
  readonly code = "may_not_link";
}

/** The list of devices was changed on another device at the same time: nothing was done. */
export class DevicesChanged extends DeviceError {
  readonly code = "devices_changed";
}

/** The relay keeps a device list of another identity for this user, until the portal ends it. */
export class OtherListHeld extends DeviceError {
  readonly code = "other_list_held";
}

/** There is no such device in the list. */
export class UnknownDevice extends DeviceError {
  readonly code = "unknown_device";
}

/** What was typed are not the words of a recovery kit. */
export class RecoveryWordsInvalid extends DeviceError {
  readonly code = "recovery_words_invalid";
}

/** The recovery words are well-formed, and not those of this account. */
export class RecoveryRefused extends DeviceError {
  readonly code = "recovery_refused";
}

/** A part of an archive was altered, or no device of its owner wrote it: nothing of it is used. */
export class ArchiveDamaged extends DeviceError {
  readonly code = "archive_damaged";
  override readonly fault: Fault = "remote";
}
