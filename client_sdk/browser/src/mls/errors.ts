/**
 * Errors of a group.
 *
 * GroupError
 * ├── GroupRefused      a message, Welcome or key package against the rules of RFC 9420: void for every member
 * ├── WrongEpoch        it is of another epoch than the group's
 * ├── NotForUs          it may be valid for others: it did not open here
 * └── UnknownKeyPackage a Welcome for key packages that this device does not have any more
 */

import { CoachRelayError } from "../errors.ts";

export abstract class GroupError extends CoachRelayError {
  override readonly fault = "remote";
}

export class GroupRefused extends GroupError {
  readonly code = "group_refused";
}

export class WrongEpoch extends GroupError {
  readonly code = "wrong_epoch";
  readonly seen: number;
  readonly current: number;

  constructor(seen: number, current: number) {
    super("A message is of another epoch of the conversation than this device's.");
    this.seen = seen;
    this.current = current;
  }
}

export class NotForUs extends GroupError {
  readonly code = "group_not_for_us";
}

export class UnknownKeyPackage extends GroupError {
  readonly code = "unknown_key_package";
}
