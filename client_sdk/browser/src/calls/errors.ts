/**
 * Errors of calls.
 *
 * CoachRelayError
 * └── CallError
 *     ├── CallNotPossible      not in this state of the call (a local fault); CalledAlready: they are calling now
 *     ├── CallMessageInvalid   a message that does not fit docs/PROTOCOL.md section 12 (a remote fault)
 *     ├── DescriptionRefused   a session description that we do not take (a remote fault)
 *     └── CallTampered         the call words' commitment does not open: the call is over (a remote fault)
 */

import { CoachRelayError } from "../errors.ts";

export abstract class CallError extends CoachRelayError {}

/** What was asked of the call does not go in its present state. */
export class CallNotPossible extends CallError {
  readonly code: string = "call_not_possible";
}

/** The other side is calling at this moment: the two would call each other past one another. */
export class CalledAlready extends CallNotPossible {
  override readonly code = "called_already";
}

/** A message about a call is malformed; it was ignored and the call goes on. */
export class CallMessageInvalid extends CallError {
  readonly code = "call_message_invalid";
  override readonly fault = "remote";
}

/** A session description (SDP) is not one that we take: the call ends. */
export class DescriptionRefused extends CallError {
  readonly code = "call_description_refused";
  override readonly fault = "remote";
}

/** The caller's nonce does not open its commitment: somebody may stand between; the call is over. */
export class CallTampered extends CallError {
  readonly code = "call_tampered";
  override readonly fault = "remote";

  constructor() {
    super(
      "The other device did not keep to what it had committed itself to, so somebody may stand between " +
        "you two. The call was ended. Call again, and compare your safety numbers if it happens again.",
    );
  }
}
