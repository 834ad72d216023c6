"""Having the relay erase a sealed file of a message that was taken back (docs/PROTOCOL.md section 14)."""

from __future__ import annotations

import aiohttp

from client_sdk.attachments.blobs import Access, Blobs
from client_sdk.attachments.errors import TransferInterrupted
from client_sdk.attachments.retrying import PASSING
from client_sdk.attachments.uploading import TUS
from relay.wire.ids import BlobId


async def withdraw_blob(blob: BlobId, *, session: aiohttp.ClientSession, access: Access) -> None:
    """Erase a blob that this device uploaded.

    Raises `BlobGone` if the relay has none such of this device, `TransferRefused`, or `TransferInterrupted`
    if it is to be tried again.
    """
    try:
        async with Blobs(session, access).request("DELETE", f"{blob}?retracted=1", headers=TUS):
            return
    except PASSING as error:
        raise TransferInterrupted("The relay could not be asked to erase a file.") from error
