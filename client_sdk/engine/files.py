"""Files on their way: sealed into a spool, uploaded (again after a restart), named in a message; and back."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from client_sdk.attachments import (
    Access,
    AttachmentError,
    Download,
    OnProgress,
    Progress,
    SealedFile,
    SealedFileAltered,
    TransferInterrupted,
    Upload,
    UploadState,
    open_sealed,
    safe_name,
    seal_to_spool,
    withdraw_blob,
)
from client_sdk.attachments.storage import storage_errors
from client_sdk.content import File
from client_sdk.engine import journal, sending, spaces
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.records import UploadRecord
from client_sdk.engine.withdrawing import Withdrawing
from client_sdk.errors import RelayError
from relay.wire import frames as fr
from relay.wire.ids import BlobId

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

MAX_TRANSFERS: Final = 2  # more at once only make each other slower
RETRY_SECONDS: Final = 10.0
MAX_UPLOADS: Final = 256  # waiting in one conversation
_OF_OTHERS: Final = ("in-", "link-")
"""What is fetched goes on when it is fetched again; what a new device is to get, its link looks after."""
_UNKNOWN_TYPE: Final = "application/octet-stream"
NOT_SENT: Final = "A file of yours could not be sent ({}). Send it again."

Session = Callable[[], aiohttp.ClientSession]


class Files:
    """The transfers of one client."""

    def __init__(self, engine: Engine, *, base: str, spool: Path, session: Session) -> None:
        self._engine = engine
        self._base = base
        self.spool: Final = spool
        self._spool = spool
        self._session = session
        self._slots = asyncio.Semaphore(MAX_TRANSFERS)
        self._waiting: dict[bytes, UploadRecord] = {}
        self._conversations: dict[bytes, Conversation] = {}
        self._withdrawing = Withdrawing(engine)
        self.on_progress: OnProgress | None = None
        """Told about uploads that an earlier run of the program began."""

    # Sending

    def resume(self) -> None:
        """Go on with what an earlier run did not finish, and delete what belongs to nothing."""
        for conversation in self._engine.conversations.values():
            with self._engine.vault.transaction() as tx:
                prefix = spaces.conversation_key(conversation.id)
                found = tx.scan(spaces.UPLOAD, prefix, limit=MAX_UPLOADS)
            for _, value in found:
                self._start(conversation, UploadRecord.parse(value), self._tell)
        self._withdrawing.go_on()
        known = {record.spool for record in self._waiting.values()}
        if self._spool.is_dir():
            for left in self._spool.iterdir():
                if left.name not in known and not left.name.startswith(_OF_OTHERS):
                    left.unlink(missing_ok=True)

    def _tell(self, progress: Progress) -> None:
        if self.on_progress is not None:
            self.on_progress(progress)

    def uploads(self, conversation: Conversation) -> list[bytes]:
        """The ids of messages whose file is not at the relay yet, in order."""
        return [key for key, of in self._conversations.items() if of is conversation]

    async def send(
        self,
        conversation: Conversation,
        source: Path,
        *,
        name: str | None,
        media_type: str | None,
        progress: OnProgress | None,
    ) -> bytes:
        """Seal a file and begin to upload it; returns its message's id when it is safe on this device."""
        message_id = conversation.context.new_id()
        self._spool.mkdir(mode=0o700, exist_ok=True)
        spool = f"out-{message_id.hex()}"
        shown = safe_name(name or source.name)
        guessed = media_type or mimetypes.guess_type(shown)[0] or _UNKNOWN_TYPE
        sealed = await seal_to_spool(
            source, self._spool / spool, rng=self._engine.environment.rng, progress=progress
        )
        record = UploadRecord(
            id=message_id,
            sent_ms=int(self._engine.environment.now() * 1000),
            name=shown,
            media_type=guessed,
            size=sealed.size,
            key=sealed.key,
            sealed_size=sealed.sealed_size,
            sealed_hash=sealed.sealed_hash,
            spool=spool,
        )
        self._keep(conversation, record)
        self._start(conversation, record, progress)
        return message_id

    def _keep(self, conversation: Conversation, record: UploadRecord) -> None:
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.UPLOAD, _key(conversation, record.id), record.serialize())

    def _start(self, conversation: Conversation, record: UploadRecord, progress: OnProgress | None) -> None:
        self._waiting[record.id] = record
        self._conversations[record.id] = conversation
        self._engine.spawn(self._upload(conversation, record, progress))

    async def _upload(
        self, conversation: Conversation, record: UploadRecord, progress: OnProgress | None
    ) -> None:
        async with self._slots:
            try:
                blob = await self._upload_until_done(conversation, record, progress)
            except AttachmentError as error:
                _log.info("a file cannot be sent: %s", error.code)
                self._done(conversation, record, None, error.code)
                return
        self._done(conversation, record, blob, "")

    async def _upload_until_done(
        self, conversation: Conversation, record: UploadRecord, progress: OnProgress | None
    ) -> BlobId:
        async def remember(state: UploadState) -> None:
            self._keep(conversation, replace(record, state=state.serialize()))

        upload = Upload(
            self._spool / record.spool,
            session=self._session(),
            access=self._access(conversation),
            state=UploadState.parse(record.state) if record.state else None,
            remember=remember,
            progress=progress,
        )
        while True:
            await self._engine.wait_until(lambda: conversation.caught_up and conversation.is_member)
            try:
                return await upload.run()
            except (TransferInterrupted, RelayError) as error:
                _log.info("an upload is interrupted: %s", error.code)
                await self._engine.environment.sleep(RETRY_SECONDS)

    def _done(self, conversation: Conversation, record: UploadRecord, blob: BlobId | None, code: str) -> None:
        with conversation.work("file") as work:
            work.tx.delete(spaces.UPLOAD, _key(conversation, record.id))
            if blob is None:
                seq, notice_id = work.record.cursor, conversation.context.new_id()
                journal.keep_notice(work, journal.GAP, NOT_SENT.format(code), seq, notice_id, code=code)
            else:
                sending.queue(
                    work,
                    conversation.context.account,
                    _message(record, blob),
                    message_id=record.id,
                    blobs=(blob,),
                    sent_ms=record.sent_ms,
                )
        self._waiting.pop(record.id, None)
        self._conversations.pop(record.id, None)
        (self._spool / record.spool).unlink(missing_ok=True)
        conversation.go_on()

    # Receiving

    async def save(
        self,
        conversation: Conversation,
        file: File,
        folder: Path,
        *,
        overwrite: bool,
        progress: OnProgress | None,
    ) -> Path:
        """Fetch, check and open a file into a folder; raises `AttachmentError` or `RelayError`."""
        sealed = sealed_of(file)
        with storage_errors("The folder cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)
        self._spool.mkdir(mode=0o700, exist_ok=True)
        spool = self._spool / f"in-{file.blob}"
        async with self._slots:
            download = Download(
                BlobId(file.blob),
                file.sealed_size,
                spool,
                session=self._session(),
                access=self._access(conversation),
                progress=progress,
            )
            await download.run()
        saved = await open_sealed(
            spool, sealed, folder, name=file.name, overwrite=overwrite, progress=progress
        )
        spool.unlink(missing_ok=True)
        return saved

    # Between one person's own devices

    def forget(self, blobs: Sequence[str]) -> None:
        """These files were taken back: delete what was fetched of them, and what the relay has of ours."""
        for blob in blobs:
            (self._spool / f"in-{blob}").unlink(missing_ok=True)
        self._withdrawing.go_on()

    async def withdraw(self, conversation: Conversation, blob: BlobId) -> None:
        """Have the relay erase a file that this device uploaded; raises `AttachmentError` or `RelayError`."""
        await withdraw_blob(blob, session=self._session(), access=self._access(conversation))

    async def put_blob(
        self,
        via: Conversation,
        sealed: Path,
        progress: OnProgress | None,
        *,
        state: UploadState | None = None,
        remember: Callable[[UploadState], Awaitable[None]] | None = None,
    ) -> BlobId:
        """Upload a sealed file that no message names; the relay keeps it for 24 hours.

        What `remember` is told makes it go on where it was. Raises `AttachmentError` or `RelayError`.
        """
        upload = Upload(
            sealed,
            session=self._session(),
            access=self._access(via),
            state=state,
            remember=remember,
            progress=progress,
        )
        return await upload.run()

    async def get_blob(
        self, via: Conversation, blob: BlobId, size: int, spool: Path, progress: OnProgress | None
    ) -> None:
        """Fetch a sealed file, going on with what is there; raises `AttachmentError` or `RelayError`."""
        access = self._access(via)
        await Download(blob, size, spool, session=self._session(), access=access, progress=progress).run()

    def _access(self, conversation: Conversation) -> Access:
        async def access() -> tuple[str, str]:
            answer = await self._engine.requests.ask(
                lambda number: fr.RequestBlobAccess(number, conversation.id), fr.BlobAccess
            )
            return self._base, answer.token

        return access


def _key(conversation: Conversation, message_id: bytes) -> bytes:
    return spaces.conversation_key(conversation.id) + message_id


def sealed_of(file: File) -> SealedFile:
    """What a message says of its file; raises `SealedFileAltered` before anything of it is fetched."""
    try:
        return SealedFile(
            key=file.key, size=file.size, sealed_size=file.sealed_size, sealed_hash=file.sealed_hash
        )
    except ValueError as error:
        raise SealedFileAltered("What was said of this file cannot be: no file has these sizes.") from error


def _message(record: UploadRecord, blob: BlobId) -> File:
    return File(
        name=record.name,
        media_type=record.media_type,
        size=record.size,
        blob=blob,
        key=record.key,
        sealed_size=record.sealed_size,
        sealed_hash=record.sealed_hash,
    )
