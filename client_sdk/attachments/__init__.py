"""Attachments: sealed once into a spool, moved resumably, opened only when they are what was sealed."""

from client_sdk.attachments.blobs import Access
from client_sdk.attachments.downloading import Download
from client_sdk.attachments.errors import (
    AttachmentError,
    AttachmentTooLarge,
    BlobGone,
    SealedFileAltered,
    SealedFileExtended,
    SealedFileInvalid,
    SealedFileTruncated,
    SourceChanged,
    SourceError,
    SourceUnreadable,
    SpoolMissing,
    StorageFailed,
    TransferError,
    TransferInterrupted,
    TransferRefused,
)
from client_sdk.attachments.names import safe_name
from client_sdk.attachments.opening import open_sealed
from client_sdk.attachments.progress import OnProgress, Phase, Progress
from client_sdk.attachments.retrying import Retry
from client_sdk.attachments.sealed import SealedFile, sealed_size
from client_sdk.attachments.sealing import seal_to_spool
from client_sdk.attachments.uploading import Upload, UploadState
from client_sdk.attachments.withdrawing import withdraw_blob

__all__ = [
    "Access",
    "AttachmentError",
    "AttachmentTooLarge",
    "BlobGone",
    "Download",
    "OnProgress",
    "Phase",
    "Progress",
    "Retry",
    "SealedFile",
    "SealedFileAltered",
    "SealedFileExtended",
    "SealedFileInvalid",
    "SealedFileTruncated",
    "SourceChanged",
    "SourceError",
    "SourceUnreadable",
    "SpoolMissing",
    "StorageFailed",
    "TransferError",
    "TransferInterrupted",
    "TransferRefused",
    "Upload",
    "UploadState",
    "open_sealed",
    "safe_name",
    "seal_to_spool",
    "sealed_size",
    "withdraw_blob",
]
