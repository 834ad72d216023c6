"""Files of messages that were taken back: the device that uploaded one has the relay erase its sealed bytes.

That it is to be done is stored with the retraction, so a crash or a time offline only delays it. What the
relay keeps all the same is noise: the key is gone from every device that has heard of the retraction.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from client_sdk.attachments import AttachmentError, TransferInterrupted
from client_sdk.engine import spaces
from client_sdk.errors import RelayError
from client_sdk.vault import Transaction
from relay.wire.ids import BlobId, EngagementId

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0
_SOME: Final = 64


def note_withdrawn(tx: Transaction, engagement: EngagementId, blob: str) -> None:
    """A file that this device sent was taken back."""
    name = blob.encode("ascii")
    tx.put(spaces.WITHDRAWN, spaces.conversation_key(engagement) + name, name)


class Withdrawing:
    """Asks the relay to erase what was noted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running = False

    def go_on(self) -> None:
        """Begin, unless it is being done or there is nothing to do."""
        if not self._running and self._noted():
            self._running = True
            self._engine.spawn(self._run())

    def _noted(self) -> list[tuple[bytes, bytes]]:
        with self._engine.vault.transaction() as tx:
            return tx.scan(spaces.WITHDRAWN, limit=_SOME)

    async def _run(self) -> None:
        try:
            while noted := self._noted():
                for key, blob in noted:
                    engagement = EngagementId(key.removesuffix(blob).decode("ascii"))
                    await self._withdraw(engagement, BlobId(blob.decode("ascii")))
                    with self._engine.vault.transaction() as tx:
                        tx.delete(spaces.WITHDRAWN, key)
        finally:
            self._running = False

    async def _withdraw(self, engagement: EngagementId, blob: BlobId) -> None:
        engine = self._engine
        while not self._is_over(engagement):
            await engine.wait_until(lambda: engine.link.online)
            try:
                await engine.files.withdraw(engine.conversations[engagement], blob)
            except (TransferInterrupted, RelayError) as error:
                _log.info("a file that was taken back is still at the relay: %s", error.code)
                await engine.environment.sleep(RETRY_SECONDS)
                continue
            except AttachmentError as error:
                _log.info("a file that was taken back is not at the relay any more: %s", error.code)
            return

    def _is_over(self, engagement: EngagementId) -> bool:
        """With an engagement, the relay erases everything of it."""
        known = self._engine.conversations.get(engagement)
        return known is None or known.is_ended
