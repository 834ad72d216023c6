"""One file sealed or opened in a process of its own, so that its peak memory is its own.

`python -m tests.bench.filework seal SOURCE SPOOL` prints seconds, peak bytes and what opening needs, as JSON;
`open SPOOL FOLDER KEY SIZE SEALED_SIZE HASH` the same; `bare SOURCE SPOOL OPENED` and `memory SIZE` print the
seconds of bare secretstream, from file to file and without any file.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nacl import bindings

from client_sdk.attachments import SealedFile, open_sealed, seal_to_spool
from tests.bench.machine import peak_resident_bytes

_CHUNK_BYTES: Final = 64 * 1024
_TAG_BYTES: Final = bindings.crypto_secretstream_xchacha20poly1305_ABYTES


def _seal(source: Path, spool: Path) -> dict[str, object]:
    start = time.perf_counter()
    sealed = asyncio.run(seal_to_spool(source, spool))
    seconds = time.perf_counter() - start
    parts = [sealed.key.hex(), str(sealed.size), str(sealed.sealed_size), sealed.sealed_hash.hex()]
    return {"seconds": seconds, "peak": peak_resident_bytes(), "sealed": parts}


def _open(spool: Path, folder: Path, *parts: str) -> dict[str, object]:
    sealed = SealedFile(
        key=bytes.fromhex(parts[0]),
        size=int(parts[1]),
        sealed_size=int(parts[2]),
        sealed_hash=bytes.fromhex(parts[3]),
    )
    start = time.perf_counter()
    opened = asyncio.run(open_sealed(spool, sealed, folder, name="opened"))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak_resident_bytes(), "path": str(opened)}


def _streams() -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """A sealing and an opening function for chunks, under one fresh key."""
    key = os.urandom(32)
    push: Any = bindings.crypto_secretstream_xchacha20poly1305_state()
    pull: Any = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(push, key)
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(pull, header, key)

    def opened(chunk: bytes) -> bytes:
        return bindings.crypto_secretstream_xchacha20poly1305_pull(pull, chunk)[0]

    return lambda chunk: bindings.crypto_secretstream_xchacha20poly1305_push(push, chunk), opened


def _bare(source: Path, spool: Path, target: Path) -> dict[str, float]:
    """Seal and open from file to durable file: no hash, no padding, no checks."""
    seal, unseal = _streams()
    return {
        "seal": _convert(source, spool, seal, _CHUNK_BYTES),
        "open": _convert(spool, target, unseal, _CHUNK_BYTES + _TAG_BYTES),
    }


def _convert(source: Path, target: Path, work: Callable[[bytes], bytes], size: int) -> float:
    start = time.perf_counter()
    with source.open("rb", buffering=0) as read, target.open("wb", buffering=0) as write:
        while chunk := read.read(size):
            write.write(work(chunk))
        os.fsync(write.fileno())
    return time.perf_counter() - start


def _memory(size: int) -> dict[str, float]:
    seal, unseal = _streams()
    plain = os.urandom(_CHUNK_BYTES)
    sealing = opening = 0.0
    for _ in range(0, size, _CHUNK_BYTES):
        start = time.perf_counter()
        sealed = seal(plain)
        middle = time.perf_counter()
        unseal(sealed)
        sealing += middle - start
        opening += time.perf_counter() - middle
    return {"seal": sealing, "open": opening}


_WORK: Final[dict[str, Callable[..., object]]] = {
    "seal": lambda source, spool: _seal(Path(source), Path(spool)),
    "open": lambda spool, folder, *parts: _open(Path(spool), Path(folder), *parts),
    "bare": lambda source, spool, target: _bare(Path(source), Path(spool), Path(target)),
    "memory": lambda size: _memory(int(size)),
}

if __name__ == "__main__":
    print(json.dumps(_WORK[sys.argv[1]](*sys.argv[2:])))
