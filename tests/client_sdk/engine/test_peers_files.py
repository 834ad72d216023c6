"""What a message says of a file is a peer's word: it is checked before anything is fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.attachments import SealedFileAltered, sealed_size
from client_sdk.content import File
from client_sdk.engine.files import sealed_of
from relay.wire.limits import MAX_BLOB_BYTES

_FILE = File(
    name="plan.pdf",
    media_type="application/pdf",
    size=1000,
    blob="zYxWvUtSrQpOnMlKjIhGfQ",
    key=bytes(32),
    sealed_size=sealed_size(1000),
    sealed_hash=bytes(32),
)


def test_sizes_that_fit_are_taken() -> None:
    assert sealed_of(_FILE).size == _FILE.size


@pytest.mark.parametrize(("size", "sealed"), [(1000, 1), (1001, sealed_size(1100)), (0, 2**53 - 1)])
def test_sizes_that_no_file_has_are_refused(size: int, sealed: int) -> None:
    with pytest.raises(SealedFileAltered):
        sealed_of(replace(_FILE, size=size, sealed_size=sealed))


def test_more_than_a_relay_keeps_is_refused() -> None:
    size = 2 * MAX_BLOB_BYTES
    with pytest.raises(SealedFileAltered):
        sealed_of(replace(_FILE, size=size, sealed_size=sealed_size(size)))
