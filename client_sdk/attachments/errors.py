"""Errors of attachments.

CoachRelayError
└── AttachmentError
    ├── SourceError                    the file to be sent (a local fault)
    │   ├── SourceUnreadable
    │   ├── SourceChanged              it changed while it was sealed
    │   └── AttachmentTooLarge
    ├── StorageFailed                  this device's disk: full, read-only, not permitted
    ├── SpoolMissing                   the sealed copy is no longer there
    ├── SealedFileInvalid              what came back is not what the sender sealed (a remote fault)
    │   ├── SealedFileTruncated
    │   ├── SealedFileExtended
    │   └── SealedFileAltered          also: another file in its place, a wrong key
    └── TransferError                  moving sealed bytes to or from the relay (a remote fault)
        ├── TransferInterrupted        tried as often as allowed: later it continues where it stopped
        ├── TransferRefused            the relay says no; ``status`` is the HTTP status
        └── BlobGone                   the relay no longer has the file
"""

from __future__ import annotations

from client_sdk.errors import CoachRelayError, Fault


class AttachmentError(CoachRelayError):
    """Root of the errors about attachments."""

    code = "attachment"


class SourceError(AttachmentError):
    """Root of the errors about the file to be sent."""

    code = "attachment_source"


class SourceUnreadable(SourceError):
    """The file to be sent cannot be read: missing, not permitted, or no regular file."""

    code = "attachment_source_unreadable"


class SourceChanged(SourceError):
    """The file changed while it was sealed: nothing of it was kept; send it again."""

    code = "attachment_source_changed"


class AttachmentTooLarge(SourceError):
    """The file is larger than the relay takes."""

    code = "attachment_too_large"


class StorageFailed(AttachmentError):
    """This device's disk did not take or give the bytes; nothing half-written is left."""

    code = "attachment_storage_failed"


class SpoolMissing(AttachmentError):
    """The sealed copy is no longer on this device: seal or download it again."""

    code = "attachment_spool_missing"


class SealedFileInvalid(AttachmentError):
    """What the relay gave is not what the sender sealed: nothing of it was kept."""

    code = "attachment_invalid"
    fault = Fault.REMOTE


class SealedFileTruncated(SealedFileInvalid):
    """The sealed file ends too early."""

    code = "attachment_truncated"


class SealedFileExtended(SealedFileInvalid):
    """Something follows the end of the sealed file."""

    code = "attachment_extended"


class SealedFileAltered(SealedFileInvalid):
    """The sealed file has the right length and other bytes: altered, or another file in its place."""

    code = "attachment_altered"


class TransferError(AttachmentError):
    """Root of the errors of moving sealed bytes to or from the relay."""

    code = "attachment_transfer"
    fault = Fault.REMOTE


class TransferInterrupted(TransferError):
    """The transfer was tried as often as allowed; tried again later it continues where it stopped."""

    code = "attachment_transfer_interrupted"


class TransferRefused(TransferError):
    """The relay refuses the transfer, and trying again would not help."""

    code = "attachment_transfer_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class BlobGone(TransferError):
    """The relay no longer has the file: it was erased when its retention was over, or never named."""

    code = "attachment_gone"
