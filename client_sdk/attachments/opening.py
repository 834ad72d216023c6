"""Opening a sealed file: it gets its name only when all of it is checked and durable."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_state,
)

from client_sdk.attachments.errors import (
    SealedFileAltered,
    SealedFileExtended,
    SealedFileTruncated,
    SpoolMissing,
)
from client_sdk.attachments.names import safe_name
from client_sdk.attachments.pieces import Pieces, run_in_pieces
from client_sdk.attachments.progress import OnProgress, Phase, Progress
from client_sdk.attachments.sealed import (
    CHUNK_BYTES,
    HEADER_BYTES,
    PIECE_CHUNKS,
    TAG_BYTES,
    TAG_FINAL,
    TAG_MESSAGE,
    SealedFile,
)
from client_sdk.attachments.storage import place, storage_errors
from client_sdk.content.padding import padded_length

_ALTERED: Final = "The file is not what its sender sealed: the relay or somebody else altered or replaced it."


async def open_sealed(
    spool: Path,
    sealed: SealedFile,
    folder: Path,
    *,
    name: str,
    overwrite: bool = False,
    progress: OnProgress | None = None,
) -> Path:
    """Open ``spool`` into ``folder`` under ``safe_name(name)`` and return the path, durable and complete.

    A ``folder`` that is missing is made. A name that is taken becomes ``name (2)`` and so on, unless
    ``overwrite`` is true. Nothing stands under the name before the sealed size and hash, every tag, the end
    and the padding are checked; on any error or cancellation nothing is left. Raises `SealedFileTruncated`,
    `SealedFileExtended`, `SealedFileAltered`, `SpoolMissing` or `StorageFailed`. The spool file stays.
    """
    return await run_in_pieces(_open(spool, sealed, folder, safe_name(name), overwrite), progress)


def _open(spool: Path, sealed: SealedFile, folder: Path, name: str, overwrite: bool) -> Pieces[Path]:
    with _opened_spool(spool, sealed) as cipher, _temporary(folder) as (temporary, out):
        yield from _pull_all(cipher, sealed, out)
        with storage_errors("The file could not be saved"):
            out.flush()
            os.fsync(out.fileno())
            return place(temporary, folder, name, overwrite=overwrite)


def _pull_all(cipher: BinaryIO, sealed: SealedFile, out: BinaryIO) -> Iterator[Progress]:
    pull = _Puller(cipher, sealed)
    written = 0
    for number, chunk in enumerate(pull.chunks(), 1):
        plain = chunk[: max(0, sealed.size - written)]
        if chunk[len(plain) :].strip(b"\0"):
            raise SealedFileAltered(_ALTERED)
        with storage_errors("The file could not be saved"):
            out.write(plain)
        written += len(plain)
        if number % PIECE_CHUNKS == 0:
            yield Progress(written, sealed.size, Phase.OPEN)
    pull.check_end()
    yield Progress(written, sealed.size, Phase.OPEN)


class _Puller:
    """The verified plaintext of a sealed file, chunk by chunk."""

    def __init__(self, cipher: BinaryIO, sealed: SealedFile) -> None:
        self._cipher = cipher
        self._sealed = sealed
        self._hash = hashlib.sha256()
        self._left = padded_length(sealed.size)
        self._state = crypto_secretstream_xchacha20poly1305_state()
        crypto_secretstream_xchacha20poly1305_init_pull(self._state, self._read(HEADER_BYTES), sealed.key)

    def chunks(self) -> Iterator[bytes]:
        while self._left:
            yield self._next_chunk()

    def _next_chunk(self) -> bytes:
        length = min(CHUNK_BYTES, self._left)
        chunk, tag = self._pull(self._read(length + TAG_BYTES))
        self._left -= length
        if tag != (TAG_MESSAGE if self._left else TAG_FINAL):
            raise SealedFileAltered(_ALTERED)
        return chunk

    def check_end(self) -> None:
        if self._cipher.read(1):
            raise SealedFileExtended("Something follows the end of the sealed file.")
        if not hmac.compare_digest(self._hash.digest(), self._sealed.sealed_hash):
            raise SealedFileAltered(_ALTERED)

    def _pull(self, chunk: bytes) -> tuple[bytes, int]:
        try:
            return crypto_secretstream_xchacha20poly1305_pull(self._state, chunk)
        except RuntimeError as error:  # PyNaCl's word for a tag that does not verify
            raise SealedFileAltered(_ALTERED) from error

    def _read(self, length: int) -> bytes:
        with storage_errors("The sealed copy could not be read"):
            data = self._cipher.read(length)
        if len(data) != length:
            raise SealedFileTruncated("The sealed file ends too early.")
        self._hash.update(data)
        return data


@contextmanager
def _opened_spool(spool: Path, sealed: SealedFile) -> Iterator[BinaryIO]:
    try:
        file = spool.open("rb")
    except FileNotFoundError as error:
        raise SpoolMissing("The sealed copy is no longer on this device.") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size < sealed.sealed_size:
            raise SealedFileTruncated("The sealed file ends too early.")
        if size > sealed.sealed_size:
            raise SealedFileExtended("Something follows the end of the sealed file.")
        yield file


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A file of its own in ``folder`` under a name that says it is not finished; gone at the end."""
    temporary = folder / f".{secrets.token_hex(8)}.part"
    with storage_errors("The file could not be saved"):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
