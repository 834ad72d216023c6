"""The sealed histories that a link owes to a new device: made once, uploaded on from wherever it was cut off.

What is needed to go on after a restart, the key and how far the upload is, stands in the vault; the sealed
file lies in the spool until the new device says that it has, or fetches, what was uploaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from client_sdk.attachments import OnProgress, UploadState
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.handover import KEY_BYTES, export_history
from client_sdk.engine.records import Record
from relay.wire.ids import BlobId, DeviceId, EngagementId

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

SPOOL_PREFIX: Final = "link-"


@dataclass(frozen=True, slots=True)
class Export(Record):
    """A sealed history on its way to the relay, uploaded by way of the engagement `via`."""

    engagement: str
    via: str
    key: bytes = field(repr=False)
    size: int
    spool: str
    state: bytes = b""


Keep = Callable[[Export], None]


class Exports:
    """Makes and uploads the sealed histories of one client."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tidy(self, known: Collection[Export]) -> None:
        """Delete sealed histories that no link needs any more."""
        wanted = {export.spool for export in known}
        folder = self._engine.files.spool
        for left in folder.glob(SPOOL_PREFIX + "*") if folder.is_dir() else ():
            if left.name not in wanted:
                left.unlink(missing_ok=True)

    def prepare(
        self, conversation: Conversation, device: DeviceId, made: Export | None, keep: Keep
    ) -> Export | None:
        """The sealed history of a conversation, the same as before if it is whole; None: it has no place."""
        via = conversation if not conversation.is_ended else _any_active(self._engine)
        if via is None:  # nothing can be left at a relay where no conversation goes on
            return None
        if made is None or made.engagement != conversation.id or not self._is_whole(made):
            made = self._make(conversation, device, via)
            keep(made)
        elif made.via != via.id and self._is_over(EngagementId(made.via)):
            made = replace(made, via=via.id, state=b"")
            keep(made)
        return made

    def _is_over(self, engagement: EngagementId) -> bool:
        known = self._engine.conversations.get(engagement)
        return known is None or known.is_ended

    def _is_whole(self, made: Export) -> bool:
        path = self._path(made)
        return path.is_file() and path.stat().st_size == made.size

    def _make(self, conversation: Conversation, device: DeviceId, via: Conversation) -> Export:
        engine = self._engine
        engine.files.spool.mkdir(mode=0o700, exist_ok=True)
        key = engine.environment.rng(KEY_BYTES)
        spool = f"{SPOOL_PREFIX}{device.hex()}-{conversation.id}"
        size = export_history(engine.vault, conversation.id, engine.files.spool / spool, key)
        return Export(conversation.id, via.id, key, size, spool)

    async def upload(self, export: Export, keep: Keep, progress: OnProgress | None) -> BlobId:
        """Upload what the relay does not have yet; raises `AttachmentError` or `RelayError`."""

        async def remember(state: UploadState) -> None:
            keep(replace(export, state=state.serialize()))

        return await self._engine.files.put_blob(
            self._engine.conversations[EngagementId(export.via)],
            self._path(export),
            progress,
            state=UploadState.parse(export.state) if export.state else None,
            remember=remember,
        )

    def drop(self, export: Export) -> None:
        """It is not needed any more."""
        self._path(export).unlink(missing_ok=True)

    def _path(self, export: Export) -> Path:
        return self._engine.files.spool / export.spool


def _any_active(engine: Engine) -> Conversation | None:
    return next((c for c in engine.conversations.values() if not c.is_ended), None)
