"""What only a directory has to prove: durability, modes, a full disk, lost parts."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from relay.blobs import PART_BYTES, BlobCorrupt, BlobStoreFull, BlobStoreUnavailable, DirectoryBlobs
from relay.wire.ids import BlobId

A = BlobId("AAAAAAAAAAAAAAAAAAAAAA")


async def test_bytes_are_synced_before_they_get_their_name_and_the_name_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    part = tmp_path / "blobs" / A / "000000"
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path.parent.name if path.is_file() else path.name, part.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    await blobs.append(A, b"sealed", offset=0)
    assert synced == [(".staging", False), (A, True), ("blobs", True)]


async def test_a_restart_finds_what_was_acknowledged(tmp_path: Path) -> None:
    await DirectoryBlobs(tmp_path / "blobs").append(A, bytes(PART_BYTES + 7), offset=0)
    again = DirectoryBlobs(tmp_path / "blobs")
    assert await again.size(A) == PART_BYTES + 7


async def test_what_a_crash_left_half_written_is_no_blob_and_goes(tmp_path: Path) -> None:
    DirectoryBlobs(tmp_path / "blobs")
    old, new = (tmp_path / "blobs" / ".staging" / name for name in ("old", "new"))
    old.write_bytes(b"torn")
    new.write_bytes(b"another process writes this now")
    yesterday = time.time() - 86_400
    os.utime(old, (yesterday, yesterday))
    blobs = DirectoryBlobs(tmp_path / "blobs")
    assert not old.exists()
    assert new.exists()
    assert [blob async for blob in blobs.list()] == []


async def test_only_the_relay_may_look(tmp_path: Path) -> None:
    DirectoryBlobs(tmp_path / "blobs")
    assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700


async def test_room_is_left_for_the_database(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    blobs = DirectoryBlobs(tmp_path / "blobs", reserved_bytes=2 * free)
    with pytest.raises(BlobStoreFull):
        await blobs.append(A, b"sealed", offset=0)
    assert await blobs.size(A) == 0
    await blobs.check()  # the relay can still serve everything else
    assert list((tmp_path / "blobs" / ".staging").iterdir()) == []


async def test_a_full_disk_is_named_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BlobStoreFull):
        await blobs.append(A, b"sealed", offset=0)
    assert await blobs.size(A) == 0
    assert list((tmp_path / "blobs" / ".staging").iterdir()) == []


@pytest.mark.parametrize("lost", ["000000", "000001"])
async def test_a_lost_or_short_part_fails_closed(tmp_path: Path, lost: str) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    await blobs.append(A, bytes(2 * PART_BYTES + 1), offset=0)
    part = tmp_path / "blobs" / A / lost
    os.truncate(part, 10)
    with pytest.raises(BlobCorrupt):
        await blobs.size(A)
    with pytest.raises(BlobCorrupt):
        [piece async for piece in blobs.read(A, start=0, end=2 * PART_BYTES + 1)]
    part.unlink()
    with pytest.raises(BlobCorrupt):
        await blobs.size(A)


async def test_a_folder_that_cannot_be_made_is_named_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobStoreUnavailable) as caught:
        DirectoryBlobs(tmp_path / "file" / "blobs")
    assert "file/blobs" not in str(caught.value)


async def test_a_folder_that_vanishes_is_an_error(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(BlobStoreUnavailable):
        await blobs.append(A, b"sealed", offset=0)
