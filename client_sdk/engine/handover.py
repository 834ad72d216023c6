"""A conversation's history as a sealed file that another device of the same person takes in.

Inside is a run of records: the GroupContexts (evidence for a later disclosure) and the items, the oldest
first. It is sealed as it is written and opened as it is read, so that no disk ever holds it in the clear:

    header (24 bytes) || { length of the chunk: u32 || chunk } ...

Each chunk is one of libsodium's secretstream (XChaCha20-Poly1305) and holds whole records; the last one
carries the FINAL tag and zeros, which hide the exact size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_ABYTES,
    crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
    crypto_secretstream_xchacha20poly1305_TAG_FINAL,
    crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
)

from client_sdk.content import padded_length
from client_sdk.content.packing import PackingError, pack, unpack
from client_sdk.engine import spaces
from client_sdk.engine.handed import NotAnItem, handed_item
from client_sdk.errors import LinkTampered
from client_sdk.vault import HistoryItem, Transaction, Vault
from relay.wire.ids import EngagementId

KEY_BYTES: Final = 32
_HEADER_BYTES: Final[int] = crypto_secretstream_xchacha20poly1305_HEADERBYTES
_MESSAGE: Final[int] = crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final[int] = crypto_secretstream_xchacha20poly1305_TAG_FINAL
_TAG_BYTES: Final[int] = crypto_secretstream_xchacha20poly1305_ABYTES
_PAGE: Final = 500
_LENGTH_BYTES: Final = 4
_CHUNK_BYTES: Final = 64 * 1024  # a chunk is full at this; its last record may go beyond
_LARGEST_CHUNK: Final = 1280 * 1024
"""An item of the history is at most 1 MiB; the rest is room for what is around it."""
_MOST_PADDING: Final = 1024 * 1024
_CONTEXT: Final = "context"
_ITEM: Final = "item"
_END: Final = "end"


def export_history(vault: Vault, engagement: EngagementId, path: Path, key: bytes) -> int:
    """Write and seal everything of a conversation that has its position; how many bytes, durably.

    What still waits on this device comes to the other one by the conversation itself.
    """
    with path.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        sealing = _Sealing(out, key)
        for number, context in _contexts(vault, engagement):
            sealing.add([_CONTEXT, number, context])
        count = 0
        for item in _items(vault, engagement):
            if item.seq is not None:
                count += 1
                sealing.add([_ITEM, asdict(item)])
        sealing.add([_END, count])
        sealing.finish()
        out.flush()
        os.fsync(out.fileno())
        return out.tell()


class _Sealing:
    """Collects records into chunks and seals them."""

    def __init__(self, out: BinaryIO, key: bytes) -> None:
        self._out = out
        self._state = crypto_secretstream_xchacha20poly1305_state()
        out.write(crypto_secretstream_xchacha20poly1305_init_push(self._state, key))
        self._chunk = bytearray()

    def add(self, record: list[Any]) -> None:
        packed = pack(record)
        self._chunk += len(packed).to_bytes(_LENGTH_BYTES, "big") + packed
        if len(self._chunk) >= _CHUNK_BYTES:
            self._push(_MESSAGE)

    def finish(self) -> None:
        self._push(_MESSAGE)
        whole = self._out.tell() + _LENGTH_BYTES + _TAG_BYTES
        padding = padded_length(whole) - whole
        self._chunk += bytes(padding if padding <= _MOST_PADDING else -whole % _MOST_PADDING)
        self._push(_FINAL)

    def _push(self, tag: int) -> None:
        sealed = crypto_secretstream_xchacha20poly1305_push(self._state, bytes(self._chunk), None, tag)
        self._out.write(len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed)
        self._chunk.clear()


def _contexts(vault: Vault, engagement: EngagementId) -> Iterator[tuple[int, bytes]]:
    prefix, after = spaces.conversation_key(engagement), None
    while True:
        with vault.transaction() as tx:
            found = tx.scan(spaces.CONTEXT, prefix, limit=_PAGE, after=after)
        for key, value in found:
            yield int.from_bytes(key[len(prefix) :], "big"), value
        if len(found) < _PAGE:
            return
        after = found[-1][0]


def _items(vault: Vault, engagement: EngagementId) -> Iterator[HistoryItem]:
    """The oldest first, though the vault gives pages of the newest first: so it is read twice."""
    bounds: list[bytes | None] = [None]
    while True:
        page = _page(vault, engagement, bounds[-1])
        if len(page) < _PAGE:
            break
        bounds.append(page[-1].id)
    for bound in reversed(bounds):
        yield from reversed(_page(vault, engagement, bound))


def _page(vault: Vault, engagement: EngagementId, before: bytes | None) -> list[HistoryItem]:
    with vault.transaction() as tx:
        return tx.history(engagement, before=before, limit=_PAGE)


class Import:
    """Takes a sealed history in, a page at each `step`; taken in twice, it changes nothing more."""

    def __init__(
        self, vault: Vault, engagement: EngagementId, path: Path, key: bytes, *, up_to: int | None
    ) -> None:
        self._vault = vault
        self._engagement = engagement
        self._up_to = up_to
        self._records = _open(path, key)
        self._count = 0

    def step(self) -> bool:
        """Take in the next page; False when that was the last. Raises `LinkTampered`."""
        with self._vault.transaction() as tx:
            for _ in range(_PAGE):
                record = next(self._records, None)
                if record is None:
                    raise _broken()
                if record[0] == _END:
                    if record[1:] != [self._count] or next(self._records, None) is not None:
                        raise _broken()
                    return False
                self._take(tx, record)
        return True

    def _take(self, tx: Transaction, record: list[Any]) -> None:
        match record:
            case ["context", int(number), bytes(context)] if 0 <= number < 2**63:
                key = spaces.numbered_key(self._engagement, number)
                if tx.get(spaces.CONTEXT, key) is None:
                    tx.put(spaces.CONTEXT, key, context)
            case ["item", dict(values)]:
                self._count += 1
                item = self._item(values)
                # What is behind where this device stands comes, or came, to it by the conversation itself.
                if self._up_to is None or (item.seq or 0) <= self._up_to:
                    tx.add_item(item)
            case _:
                raise _broken()

    def _item(self, values: dict[str, Any]) -> HistoryItem:
        try:
            return handed_item(self._engagement, values)
        except NotAnItem as error:
            raise _broken() from error


def _open(path: Path, key: bytes) -> Iterator[list[Any]]:
    """The records; ends only when the whole file was what was sealed."""
    with path.open("rb") as source:
        state = crypto_secretstream_xchacha20poly1305_state()
        header = source.read(_HEADER_BYTES)
        if len(header) != _HEADER_BYTES:
            raise _broken()
        crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
        while True:
            chunk, tag = _pull(source, state)
            if tag == _FINAL:
                if chunk.strip(b"\0") or source.read(1):
                    raise _broken()
                return
            yield from _records(chunk)


def _pull(source: BinaryIO, state: crypto_secretstream_xchacha20poly1305_state) -> tuple[bytes, int]:
    length = int.from_bytes(source.read(_LENGTH_BYTES), "big")
    sealed = source.read(length) if _TAG_BYTES <= length <= _LARGEST_CHUNK else b""
    if not sealed or len(sealed) != length:
        raise _broken()
    try:
        chunk, tag = crypto_secretstream_xchacha20poly1305_pull(state, sealed, None)
    except RuntimeError as error:
        raise _broken() from error
    return bytes(chunk), int(tag)


def _records(chunk: bytes) -> Iterator[list[Any]]:
    start = 0
    while start < len(chunk):
        length = int.from_bytes(chunk[start : start + _LENGTH_BYTES], "big")
        start += _LENGTH_BYTES
        try:
            record = unpack(chunk[start : start + length])
        except PackingError as error:
            raise _broken() from error
        if not isinstance(record, list) or not record:
            raise _broken()
        yield record
        start += length


def _broken() -> LinkTampered:
    return LinkTampered(
        "The history that came from your other device is not whole. Nothing more of it is used."
    )
