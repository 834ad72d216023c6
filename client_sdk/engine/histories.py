"""After a device was linked: it hears where the histories are, fetches them and takes them in."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from client_sdk.attachments import AttachmentError, OnProgress, TransferInterrupted
from client_sdk.engine import amending, journal, spaces
from client_sdk.engine.arriving import Meeting
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.handover import Import
from client_sdk.engine.linkline import HERE
from client_sdk.engine.told import ArrivalRecord, HistoryRef, put_arrival, read_arrival, read_ref
from client_sdk.errors import LinkTampered, RelayError
from client_sdk.identity.linking import LinkSecret
from relay.wire.ids import BlobId, EngagementId
from relay.wire.limits import MAX_ENGAGEMENTS_PER_USER

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 2.0
NOT_BROUGHT: Final = (
    "What was said before this device was linked could not be brought over. "
    "It is still on the device that let it in."
)


class Arriving:
    """After the account: hears where the histories are, fetches them and takes them in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fetching: set[EngagementId] = set()
        self.progress: OnProgress | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything is here that the other device had."""
        with self._engine.vault.transaction() as tx:
            return not tx.scan(spaces.ARRIVAL, limit=1) and not tx.scan(spaces.HISTORY, limit=1)

    def resume(self) -> None:
        """Go on with what was begun."""
        record = read_arrival(self._engine.vault)
        with self._engine.vault.transaction() as tx:
            found = tx.scan(spaces.HISTORY, limit=MAX_ENGAGEMENTS_PER_USER)
        for key, value in found:
            self._fetch(EngagementId(key.decode()), HistoryRef.parse(value))
        if record is not None and record.granted:
            self._engine.spawn(self._listen(record))

    async def _listen(self, record: ArrivalRecord) -> None:
        engine = self._engine
        line = engine.open_line(LinkSecret(record.secret).channel)
        account = engine.account
        meeting = Meeting(line, record, account.portal, account.user, engine.environment.rng)
        while record.until > engine.environment.now():
            await engine.wait_until(lambda: engine.link.online)
            line.begin()
            try:
                await line.say(HERE)
                while await self._heard(meeting):
                    continue
                break
            except (RelayError, LinkTampered) as error:
                _log.info("linking is interrupted: %s", error.code)
                await engine.environment.sleep(RETRY_SECONDS)
        with engine.vault.transaction() as tx:
            put_arrival(tx, None)
        engine.close_line(line)
        engine.notify()

    async def _heard(self, meeting: Meeting) -> bool:
        """Work on one message; False if it was the last."""
        kind, *values = await meeting.next()
        if kind == "floors":
            await meeting.say("stored")  # what was told again is here already
        elif kind == "history":
            engagement, ref = read_ref(values)
            if ref is not None:
                with self._engine.vault.transaction() as tx:
                    tx.put(spaces.HISTORY, spaces.conversation_key(engagement), ref.serialize())
                self._fetch(engagement, ref)
            await meeting.say("have", engagement)
        return kind != "done"

    def _fetch(self, engagement: EngagementId, ref: HistoryRef) -> None:
        if engagement not in self._fetching:
            self._fetching.add(engagement)
            self._engine.spawn(self._fetch_until_here(engagement, ref))

    async def _fetch_until_here(self, engagement: EngagementId, ref: HistoryRef) -> None:
        engine = self._engine
        via = EngagementId(ref.via)
        code = ""
        await engine.wait_until(lambda: via in engine.conversations and engagement in engine.conversations)
        while True:
            try:
                await self._bring(engine.conversations[engagement], engine.conversations[via], ref)
                break
            except (TransferInterrupted, RelayError) as error:
                _log.info("a history is not here yet: %s", error.code)
                await engine.environment.sleep(RETRY_SECONDS)
            except (AttachmentError, LinkTampered) as error:
                code = error.code
                self._spool(ref).unlink(missing_ok=True)
                break
        self._settle(engine.conversations[engagement], code)

    async def _bring(self, conversation: Conversation, via: Conversation, ref: HistoryRef) -> None:
        engine = self._engine
        spool = self._spool(ref)
        spool.parent.mkdir(mode=0o700, exist_ok=True)
        await engine.wait_until(lambda: engine.link.online)
        await engine.files.get_blob(via, BlobId(ref.blob), ref.size, spool, self.progress)
        await engine.wait_until(lambda: conversation.is_member or conversation.is_ended)
        up_to = conversation.standing.record.cursor if conversation.is_member else None
        taking = Import(engine.vault, conversation.id, spool, ref.key, up_to=up_to)
        more = True
        while more:
            more = taking.step()
            await asyncio.sleep(0)  # what else the program does goes on
        spool.unlink(missing_ok=True)

    def _spool(self, ref: HistoryRef) -> Path:
        """ "in-": the download goes on where it was after a restart, if it is of the same blob."""
        return self._engine.files.spool / f"in-link-{ref.blob}"

    def _settle(self, conversation: Conversation, code: str) -> None:
        with conversation.work("arrive") as work:
            work.tx.delete(spaces.HISTORY, work.key)
            amending.settle_held(work)
            if code:
                seq, notice = work.record.cursor, conversation.context.new_id()
                journal.keep_notice(work, journal.GAP, NOT_BROUGHT, seq, notice, code=code)
        self._fetching.discard(conversation.id)
        self._engine.changed(conversation)
