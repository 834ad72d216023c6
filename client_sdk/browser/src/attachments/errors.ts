/**
 * Errors of attachments. What each says is a sentence for a person.
 *
 * CoachRelayError
 * └── AttachmentError
 *     ├── SourceUnreadable               the file to be sent cannot be read, or changed meanwhile (a local fault)
 *     ├── AttachmentTooLarge             a local fault
 *     ├── StorageFailed                  this browser's storage: full, or not permitted
 *     ├── SpoolMissing                   the sealed copy is no longer in this browser
 *     ├── TransferCancelled              the person gave it up
 *     ├── SealedFileInvalid              what came back is not what the sender sealed (a remote fault)
 *     │   ├── SealedFileTruncated
 *     │   ├── SealedFileExtended
 *     │   └── SealedFileAltered          also: another file in its place, a wrong key
 *     └── TransferError                  moving sealed bytes to or from the relay (a remote fault)
 *         ├── TransferInterrupted        tried as often as allowed: later it continues where it stopped
 *         ├── TransferRefused            the relay says no; `status` is the HTTP status
 *         └── BlobGone                   the relay no longer has the file
 */

import { CoachRelayError } from "../errors.ts";

export abstract class AttachmentError extends CoachRelayError {}

/** The file is larger than the relay takes. */
export class AttachmentTooLarge extends AttachmentError {
  readonly code = "attachment_too_large";
}

/** The file to be sent cannot be read: it was moved, changed or deleted, or the browser may not read it. */
export class SourceUnreadable extends AttachmentError {
  readonly code = "attachment_source_unreadable";
}

/** This browser's storage did not take or give the bytes; nothing half-written is left. */
export class StorageFailed extends AttachmentError {
  readonly code = "attachment_storage_failed";
}

/** The sealed copy is no longer in this browser. */
export class SpoolMissing extends AttachmentError {
  readonly code = "attachment_spool_missing";

  constructor() {
    super("The copy of this file that was to be sent is no longer in this browser. Send the file again.");
  }
}

/** The person gave the transfer up. */
export class TransferCancelled extends AttachmentError {
  readonly code = "attachment_cancelled";

  constructor() {
    super("The transfer of this file was cancelled.");
  }
}

export abstract class TransferError extends AttachmentError {
  override readonly fault = "remote";
}

/** The transfer was tried as often as allowed; tried again later it continues where it stopped. */
export class TransferInterrupted extends TransferError {
  readonly code = "attachment_transfer_interrupted";

  constructor() {
    super("The connection does not carry this file now. It continues where it stopped.");
  }
}

/** The relay refuses the transfer, and trying again would not help. */
export class TransferRefused extends TransferError {
  readonly code = "attachment_transfer_refused";
  readonly status: number;

  constructor(status: number) {
    super(
      status === 413
        ? "The relay does not take files of this size."
        : `The relay refused this file (HTTP status ${status}). Ask whoever runs the page.`,
    );
    this.status = status;
  }
}

/** The relay no longer has the file: it was erased when its retention was over, or never named. */
export class BlobGone extends TransferError {
  readonly code = "attachment_gone";

  constructor() {
    super("The relay no longer has this file: the time for which it keeps files is over. Ask for it again.");
  }
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
