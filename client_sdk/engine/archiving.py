"""Keeping an archive: what is new in the history goes to the relay, sealed, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from client_sdk.delivery import ArchiveRolledBack
from client_sdk.engine import spaces, trusting
from client_sdk.engine.account import Account
from client_sdk.engine.archive_parts import (
    ArchiveRecord,
    Changed,
    Content,
    Place,
    Writer,
    head_of,
    seal_part,
)
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.witnessing import saying
from client_sdk.errors import RelayError, RelayRefused, UsageError, VaultError
from client_sdk.vault import Transaction
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from relay.wire.ids import EngagementId
from relay.wire.limits import ARCHIVE_SERIES_BYTES

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

AT_LATEST_SECONDS: Final = 60.0
TELL_SECONDS: Final = 3600.0
SOON: Final = 32  # changes after which it does not wait for the minute to be over
PART_BYTES: Final = 96 * 1024  # of items, before one more that may be as long as a message can be
PAGE: Final = 200
MOST_RECORDS: Final = 1000
_OVER: Final = frozenset((ErrorCode.NOT_FOUND, ErrorCode.ENDED))
"""How the relay refuses where a conversation is over: it erases the archive with the engagement."""
_WANTED: Final = b""
_WRITER: Final = b"archive-writer"


def read_record(tx: Transaction, engagement: EngagementId) -> ArchiveRecord | None:
    """What is known of this conversation's archive."""
    data = tx.get(spaces.ARCHIVE, spaces.conversation_key(engagement))
    return None if data is None else ArchiveRecord.parse(data)


def put_record(tx: Transaction, engagement: EngagementId, record: ArchiveRecord) -> None:
    """Store how far the archive is."""
    tx.put(spaces.ARCHIVE, spaces.conversation_key(engagement), record.serialize())


def read_writer(tx: Transaction, account: Account) -> bytes:
    """The recovery key's word that this device may write archives; raises `UsageError` if there is none.

    It is given when the kit is made, or with its words; a device that was linked has none.
    """
    stored = tx.get(spaces.SETTING, _WRITER)
    if stored is not None:
        return stored
    seed = account.recovery_seed
    if seed is None:
        raise UsageError(
            "The archive is kept from the device on which your recovery kit was made. Turn it on there."
        )
    return Writer(account.device_key.public, 0).signed(account.portal, account.user, seed.key)


def put_writer(tx: Transaction, writer: bytes) -> None:
    """Keep the recovery key's word: the words themselves leave the device."""
    tx.put(spaces.SETTING, _WRITER, writer)


def want(tx: Transaction, account: Account, *, wanted: bool) -> None:
    """Note whether this person wants an archive kept from this device. Raises `UsageError` if it may not."""
    if wanted:
        put_writer(tx, read_writer(tx, account))
        tx.put(spaces.ARCHIVE, _WANTED, b"1")
        return
    for key, _ in tx.scan(spaces.ARCHIVE, limit=MOST_RECORDS):
        tx.delete(spaces.ARCHIVE, key)


class Archives:
    """Keeps the archives of one client, if its person wants them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due = asyncio.Event()
        self._working = asyncio.Lock()
        self._fresh = 0

    @property
    def wanted(self) -> bool:
        """Whether this person wants an archive kept from this device."""
        with self._engine.vault.transaction() as tx:
            return tx.get(spaces.ARCHIVE, _WANTED) is not None

    def changed(self, count: int) -> None:
        """So many items are new."""
        self._fresh += count
        if self._fresh >= SOON:
            self._due.set()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._engine.wait_until(self._engine.listed.is_set)
        while True:
            try:
                if self._engine.link.online:
                    await self.catch_up()
            except (RelayError, VaultError) as error:
                _log.info("the archive waits: %s", error.code)
            self._due.clear()
            await self._wait()

    async def _wait(self) -> None:
        timer = asyncio.ensure_future(self._engine.environment.sleep(AT_LATEST_SECONDS))
        due = asyncio.ensure_future(self._due.wait())
        try:
            await asyncio.wait({timer, due}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (timer, due):
                waiting.cancel()
            await asyncio.gather(timer, due, return_exceptions=True)

    async def catch_up(self) -> None:
        """Bring everything that is new into the archives. Raises `RelayError` or `VaultError`.

        What the relay refuses for one conversation keeps back no other one.
        """
        async with self._working:
            self._fresh = 0
            if not self.wanted:
                return
            refused: list[RelayRefused] = []
            for conversation in list(self._engine.conversations.values()):
                try:
                    await self._bring(conversation)
                except RelayRefused as error:
                    refused.append(error)
            if refused:
                raise refused[0]

    async def _bring(self, conversation: Conversation) -> None:
        while conversation.is_member and not conversation.is_ended:
            if not await self._one_part(conversation):
                break
        self._tell(conversation)

    def _tell(self, conversation: Conversation) -> None:
        """Tell the others how far the archive is, so that they know it on the day on which it is needed."""
        account, environment = self._engine.account, self._engine.environment
        now = int(environment.now())
        with self._engine.vault.transaction() as tx:
            record = read_record(tx, conversation.id)
            if record is None or record.parts <= record.told or now - record.told_at < TELL_SECONDS:
                return
            if conversation.alarm is not None or not conversation.somebody_listens:
                return
            put_record(tx, conversation.id, replace(record, told=record.parts, told_at=now))
        said = saying(account.name or account.user, [(account.user, record.series, record.parts)])
        conversation.say(said, message_id=conversation.context.new_id(), in_history=False)

    async def erase(self) -> None:
        """Keep no archive any more, and have the relay erase what it has. Raises `RelayError`."""
        async with self._working:
            with self._engine.vault.transaction() as tx:
                kept = [c for c in self._engine.conversations.values() if read_record(tx, c.id) is not None]
            for conversation in kept:
                await self._erase(conversation.id)
            with self._engine.vault.transaction() as tx:
                want(tx, self._engine.account, wanted=False)

    async def _erase(self, engagement: EngagementId) -> None:
        try:
            await self._engine.requests.ask(
                lambda request: fr.EraseArchive(request, engagement, None), fr.ArchiveStored
            )
        except RelayRefused as error:
            if error.code not in _OVER:
                raise

    async def _one_part(self, conversation: Conversation) -> bool:
        """Archive one part's worth; False if there was nothing new, or the relay did not keep it."""
        record = self._prepared(conversation)
        if record is None:
            return False
        number, part = record.parts + 1, record.pending
        answer = await self._engine.requests.ask(
            lambda request: fr.PutArchive(request, conversation.id, record.series, number, part),
            fr.ArchiveStored,
        )
        with self._engine.vault.transaction() as tx:
            put_record(tx, conversation.id, self._after(record, taken=answer.parts == number))
        if answer.parts == number:
            return True
        # Not once more at once: a relay that lies would keep this device busy for ever.
        conversation.raise_alarm(ArchiveRolledBack(parts=record.parts, held=answer.parts))
        return False

    def _after(self, record: ArchiveRecord, *, taken: bool) -> ArchiveRecord:
        if not taken:  # everything once more, under another name
            return ArchiveRecord(self._engine.environment.rng(ARCHIVE_SERIES_BYTES))
        head = head_of(record.pending)
        return replace(record, parts=record.parts + 1, head=head, upto=record.pending_upto, pending=b"")

    def _prepared(self, conversation: Conversation) -> ArchiveRecord | None:
        """The record with the next part, which is stored before it is sent: a retry is the same part."""
        environment = self._engine.environment
        with self._engine.vault.transaction() as tx:
            record = read_record(tx, conversation.id) or ArchiveRecord(environment.rng(ARCHIVE_SERIES_BYTES))
            if record.pending:
                return record
            changed, upto = _next_changes(tx, conversation.id, record.upto)
            if not changed:
                if upto > record.upto:
                    put_record(tx, conversation.id, replace(record, upto=upto))
                return None
            part = self._sealed(tx, conversation, record, changed)
            record = replace(record, pending=part, pending_upto=upto)
            put_record(tx, conversation.id, record)
            return record

    def _sealed(
        self, tx: Transaction, conversation: Conversation, record: ArchiveRecord, changed: list[Changed]
    ) -> bytes:
        account, environment = self._engine.account, self._engine.environment
        place = Place(
            account.portal, account.user, conversation.id, record.series, record.parts + 1, record.head
        )
        content = Content(
            int(environment.now() * 1000),
            changed,
            [person for user in conversation.standing.record.met for person in _person(tx, user)],
            b"" if record.parts else read_writer(tx, account),
        )
        return seal_part(
            place,
            content,
            recovery_key=account.manifest.recovery_key,
            device=account.device_key,
            rng=environment.rng,
        )


def _person(tx: Transaction, user: str) -> list[tuple[str, bytes, str]]:
    record = trusting.trust_of(tx, user)
    return [] if record is None else [(user, record.serialize(), trusting.name_of(tx, user))]


def _next_changes(tx: Transaction, engagement: EngagementId, after: int) -> tuple[list[Changed], int]:
    """Changed items up to a part's size, and the number of the last; what has no position yet comes later."""
    found: list[Changed] = []
    size, upto = 0, after
    for number, item_id, item in tx.changes(engagement, after=after, limit=PAGE):
        if size > PART_BYTES:
            break
        upto = number
        if item is None or item.seq is not None:
            found.append(Changed(item_id, item))
            size += 0 if item is None else len(item.payload) + len(item.text)
    return found, upto
