"""Sealing a file into a spool file, once (docs/PROTOCOL.md section 11)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
)

from client_sdk.attachments.errors import AttachmentTooLarge, SourceChanged, SourceUnreadable
from client_sdk.attachments.pieces import Pieces, run_in_pieces
from client_sdk.attachments.progress import OnProgress, Phase, Progress
from client_sdk.attachments.sealed import (
    CHUNK_BYTES,
    HEADER_BYTES,
    KEY_BYTES,
    PIECE_CHUNKS,
    TAG_BYTES,
    TAG_FINAL,
    TAG_MESSAGE,
    SealedFile,
    sealed_size,
)
from client_sdk.attachments.storage import storage_errors, sync_folder
from client_sdk.content.padding import padded_length
from relay.wire.limits import MAX_BLOB_BYTES

_PIECE_BYTES: Final = HEADER_BYTES + PIECE_CHUNKS * (CHUNK_BYTES + TAG_BYTES)
_NOT_STORED: Final = "The sealed copy could not be stored"


async def seal_to_spool(
    source: Path,
    spool: Path,
    *,
    rng: Callable[[int], bytes] = os.urandom,
    progress: OnProgress | None = None,
) -> SealedFile:
    """Seal ``source`` under a fresh key into ``spool``, whole and durable when this returns.

    ``rng`` gives the key. Memory does not depend on the size; the work is done off the event loop, and after
    a cancellation or an error no spool file is left. Raises `SourceUnreadable`, `SourceChanged`,
    `AttachmentTooLarge` or `StorageFailed`.
    """
    return await run_in_pieces(_seal(source, spool, rng(KEY_BYTES)), progress)


def _seal(source: Path, spool: Path, key: bytes) -> Pieces[SealedFile]:
    partial = spool.with_name(spool.name + ".part")
    with _opened_source(source) as (plain, before):
        size = before.st_size
        if size > MAX_BLOB_BYTES or sealed_size(size) > MAX_BLOB_BYTES:
            raise AttachmentTooLarge(f"The file has {size} bytes; the relay takes {MAX_BLOB_BYTES}, sealed.")
        with _opened_spool(partial) as out:
            with ThreadPoolExecutor(1) as writer:
                sink = _Sink(out, writer)
                yield from _push_all(_Source(plain, before), key, sink)
                digest = sink.finish()
            with storage_errors(_NOT_STORED):
                partial.replace(spool)
                sync_folder(spool.parent)
    return SealedFile(key=key, size=size, sealed_size=sealed_size(size), sealed_hash=digest)


def _push_all(source: _Source, key: bytes, sink: _Sink) -> Iterator[Progress]:
    state = crypto_secretstream_xchacha20poly1305_state()
    sink.add(crypto_secretstream_xchacha20poly1305_init_push(state, key))
    size = source.size
    left = padded_length(size)
    while left:
        for _ in range(PIECE_CHUNKS):
            length = min(CHUNK_BYTES, left)
            left -= length
            tag = TAG_MESSAGE if left else TAG_FINAL
            sink.add(crypto_secretstream_xchacha20poly1305_push(state, source.read(length), None, tag))
            if not left:
                source.check_unchanged()
                break
        sink.flush()
        yield Progress(min(size, source.position), size, Phase.SEAL)


class _Source:
    """The file's bytes, then zeros; it notices a file that is not what it was."""

    def __init__(self, file: BinaryIO, before: os.stat_result) -> None:
        self._file = file
        self._before = before
        self.size = before.st_size
        self.position = 0

    def read(self, length: int) -> bytes:
        wanted = max(0, min(length, self.size - self.position))
        try:
            data = self._file.read(wanted)
        except OSError as error:
            raise SourceUnreadable(f"The file cannot be read: {error.strerror}.") from error
        if len(data) != wanted:
            raise SourceChanged("The file became shorter while it was sealed. Send it again.")
        self.position += length
        return data if wanted == length else data + bytes(length - wanted)

    def check_unchanged(self) -> None:
        after = os.fstat(self._file.fileno())
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise SourceChanged("The file changed while it was sealed. Send it again.")


class _Sink:
    """Hashes and writes one piece while the next one is sealed.

    Two buffers are filled in turn: fresh memory for each piece would cost more than sealing it.
    """

    def __init__(self, out: BinaryIO, writer: ThreadPoolExecutor) -> None:
        self._out = out
        self._writer = writer
        self._hash = hashlib.sha256()
        self._filling, self._writing = (
            memoryview(bytearray(_PIECE_BYTES)),
            memoryview(bytearray(_PIECE_BYTES)),
        )
        self._filled = 0
        self._pending: Future[None] | None = None

    def add(self, sealed: bytes) -> None:
        self._filling[self._filled : self._filled + len(sealed)] = sealed
        self._filled += len(sealed)

    def flush(self) -> None:
        self._settle()
        self._filling, self._writing = self._writing, self._filling
        self._pending = self._writer.submit(self._write, self._writing[: self._filled])
        self._filled = 0

    def finish(self) -> bytes:
        """Return the SHA-256 of everything, which is durable then."""
        self._settle()
        with storage_errors(_NOT_STORED):
            self._out.flush()
            os.fsync(self._out.fileno())
        return self._hash.digest()

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _write(self, piece: memoryview) -> None:
        self._hash.update(piece)
        with storage_errors(_NOT_STORED):
            self._out.write(piece)


@contextmanager
def _opened_source(path: Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    try:
        # Looked at first, because opening a pipe would wait for its writer for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceUnreadable("Only a regular file can be sent.")
        file = path.open("rb")
    except OSError as error:
        raise SourceUnreadable(f"The file cannot be read: {error.strerror}.") from error
    with file:
        yield file, os.fstat(file.fileno())


@contextmanager
def _opened_spool(partial: Path) -> Iterator[BinaryIO]:
    with storage_errors(_NOT_STORED):
        partial.unlink(missing_ok=True)  # what a crash left
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
    finally:
        partial.unlink(missing_ok=True)
