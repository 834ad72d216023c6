/**
 * Every error the SDK raises, in one tree. Each has a stable `code` and a message that says what happened, why,
 * and what to do next.
 *
 * CoachRelayError
 * ├── UsageError                   the program called us wrongly (a local fault)
 * ├── WireError                    what a peer sent breaks the protocol; `code` is the protocol's own
 * ├── ContentError                 ContentMalformed, ContentInvalid (BodyInvalid), ContentTooBig, AnswerInvalid
 * ├── IdentityError                ManifestInvalid, ConversationInfoInvalid, CredentialRefused, MembershipError
 * │                                (BundleNamesDiffer), UpdateRequired, CallRevealFailed, SignatureInvalid,
 * │                                SafetyCodeInvalid, SafetyNumberDiffers
 * ├── TrustError                   ApprovalRequired
 * ├── SecurityAlarm                sending stops until a person has looked (src/alarms.ts)
 * ├── GroupError                   MLS (src/mls/errors.ts)
 * ├── AttachmentError              (src/attachments/errors.ts)
 * ├── DeviceError                  linking, removing, recovering (src/devices/errors.ts)
 * ├── EphemeralRefused
 * ├── CallError                    (src/calls/errors.ts)
 * ├── VaultError                   VaultMissing, VaultInUse, VaultClosed, VaultCorrupt, VaultFull, VaultUnavailable
 * ├── DeliveryError                OutboxFull, RecordInvalid
 * └── RelayError                   RelayUnreachable, AccessRefused, RelayRefused, EngagementUnavailable
 */

/** Who has to do something about it: this program or person, or a peer, the relay or the network. */
export type Fault = "local" | "remote";

export abstract class CoachRelayError extends Error {
  abstract readonly code: string;
  readonly fault: Fault = "local";

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The program called the SDK in a way that makes no sense. */
export class UsageError extends CoachRelayError {
  readonly code = "usage";
}

// What is said inside a conversation

export abstract class ContentError extends CoachRelayError {}

/** The bytes are no content: another structure than docs/PROTOCOL.md section 9 gives. */
export class ContentMalformed extends ContentError {
  readonly code = "content_malformed";
  override readonly fault = "remote";
}

/** A field of the content is against its rule. */
export class ContentInvalid extends ContentError {
  readonly code: string = "content_invalid";
}

/** The content is longer than a message may be. */
export class ContentTooBig extends ContentError {
  readonly code = "content_too_big";
}

/** An answer does not fit the questions of its check-in. */
export class AnswerInvalid extends ContentError {
  readonly code = "answer_invalid";
}

// Who is who

export abstract class IdentityError extends CoachRelayError {
  override readonly fault: Fault = "remote";
}

/** A manifest (a user's signed device list) does not parse, verify, or follow its predecessor. */
export class ManifestInvalid extends IdentityError {
  readonly code = "manifest_invalid";
}

/** The conversation's extension 0xF0C1 is missing, malformed, or changed in a way it never may. */
export class ConversationInfoInvalid extends IdentityError {
  readonly code = "conversation_info_invalid";
}

/** A leaf or key package carries a credential that its user did not sign for. */
export class CredentialRefused extends IdentityError {
  readonly code = "credential_refused";
}

/** A commit breaks a membership rule: it is void, and every member finds it so. */
export class MembershipError extends IdentityError {
  readonly code: string = "membership";
}

/** The bundle names other devices than its commit adds and removes. */
export class BundleNamesDiffer extends MembershipError {
  override readonly code = "bundle_names_differ";
}

/** A signature does not verify. */
export class SignatureInvalid extends IdentityError {
  readonly code = "signature_invalid";
}

/** The conversation requires features that this version of the SDK does not have. */
export class UpdateRequired extends IdentityError {
  readonly code = "update_required";
  override readonly fault = "local";
  readonly features: readonly string[];

  constructor(features: readonly string[]) {
    super(
      `This conversation needs ${features.join(", ")}, which this version of the app does not have. ` +
        "Nothing is sent until the app is updated.",
    );
    this.features = features;
  }
}

/** The caller's nonce does not open its commitment: somebody may stand between; the call ends. */
export class CallRevealFailed extends IdentityError {
  readonly code = "call_reveal_failed";
}

/** What was scanned is no code of a safety number, or is for two other people. */
export class SafetyCodeInvalid extends IdentityError {
  readonly code = "safety_code_invalid";
  override readonly fault = "local";
}

/** The other person's code names other keys than this device knows. */
export class SafetyNumberDiffers extends IdentityError {
  readonly code = "safety_number_differs";
}

export abstract class TrustError extends CoachRelayError {}

/** A further person waits to be admitted: somebody in the conversation has to approve. */
export class ApprovalRequired extends TrustError {
  readonly code = "approval_required";
}

// The encrypted local store

export abstract class VaultError extends CoachRelayError {}

/** What this browser had stored for this person is gone: it was evicted, or site data was cleared. */
export class VaultMissing extends VaultError {
  readonly code = "vault_missing";
}

/** Another tab has the vault open and did not give it up. */
export class VaultInUse extends VaultError {
  readonly code = "vault_in_use";
}

/** The vault was used after its end. */
export class VaultClosed extends VaultError {
  readonly code = "vault_closed";
}

/** A record is damaged or altered, or its key is gone: nothing in it is used. */
export class VaultCorrupt extends VaultError {
  readonly code = "vault_corrupt";
}

/** The browser's storage is full: the transaction did not happen. */
export class VaultFull extends VaultError {
  readonly code = "vault_full";
}

/** The browser does not let us store anything: the transaction did not happen. */
export class VaultUnavailable extends VaultError {
  readonly code = "vault_unavailable";
}

// What waits to be sent

export abstract class DeliveryError extends CoachRelayError {}

/** Too many messages wait for the connection: this one was not taken. */
export class OutboxFull extends DeliveryError {
  readonly code = "outbox_full";
}

/** A record that this device stored does not parse: fails closed, nothing in it is used. */
export class RecordInvalid extends DeliveryError {
  readonly code = "record_invalid";
}

// The connection and the relay's answers

export abstract class RelayError extends CoachRelayError {
  override readonly fault = "remote";
}

/** The relay does not answer; what was to be sent is kept and sent later. */
export class RelayUnreachable extends RelayError {
  readonly code = "relay_unreachable";
}

/** The relay does not let this device in; `reason` is its code (docs/PROTOCOL.md section 2.3). */
export class AccessRefused extends RelayError {
  readonly code = "access_refused";
  readonly reason: string;

  constructor(message: string, reason: string) {
    super(message);
    this.reason = reason;
  }
}

/** The relay refused a request; `code` is the relay's own (docs/PROTOCOL.md section 2.3). */
export class RelayRefused extends RelayError {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** There is no such engagement, or it is not this user's (the two look the same), or it has ended. */
export class EngagementUnavailable extends RelayError {
  readonly code = "engagement_unavailable";
}
