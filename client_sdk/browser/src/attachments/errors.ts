/**
 * Errors of attachments.
 *
 * CoachRelayError
 * └── AttachmentError
 *     ├── AttachmentTooLarge             a local fault
 *     └── SealedFileInvalid              what came back is not what the sender sealed (a remote fault)
 *         ├── SealedFileTruncated
 *         ├── SealedFileExtended
 *         └── SealedFileAltered          also: another file in its place, a wrong key
 */

import { CoachRelayError } from "../errors.ts";

export abstract class AttachmentError extends CoachRelayError {}

/** The file is larger than the relay takes. */
export class AttachmentTooLarge extends AttachmentError {
  readonly code = "attachment_too_large";
}

export abstract class SealedFileInvalid extends AttachmentError {
  override readonly fault = "remote";
}

/** The sealed file ends too early. */
export class SealedFileTruncated extends SealedFileInvalid {
  readonly code = "attachment_truncated";
}

/** Something follows the end of the sealed file. */
export class SealedFileExtended extends SealedFileInvalid {
  readonly code = "attachment_extended";
}

/** The sealed file has the right length and other bytes: altered, or another file in its place. */
export class SealedFileAltered extends SealedFileInvalid {
  readonly code = "attachment_altered";
}
