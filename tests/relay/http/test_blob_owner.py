"""Whose the sealed files are: a relay with other records, or with none, erases nothing of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.blobs import BlobsOfAnother, BlobStoreUnavailable, DirectoryBlobs, S3Blobs
from relay.cli.main import main
from relay.http import blob_owner
from relay.http.blob_owner import MARK, check_owner
from relay.http.server import Serving, serving
from relay.http.sweep import KEPT_SECONDS, FileSweep
from relay.hub import spaces
from relay.wire.ids import BlobId, EngagementId
from tests.relay.http.support import settings_in
from tests.support.s3 import S3Server, s3_server

ENGAGEMENT = EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA")
LOST = BlobId("LLLLLLLLLLLLLLLLLLLLLA")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def in_bucket(s3: S3Server, bucket: str, prefix: str = "") -> dict[str, Any]:
    return {
        "s3_bucket": bucket,
        "s3_endpoint": s3.endpoint,
        "s3_access_key_id": "id",
        "s3_secret_access_key": "secret",
        "s3_prefix": prefix,
    }


async def add_file(running: Serving, *, named: bool = True) -> BlobId:
    relay = running.relay
    blob = (await relay.hub.uploads.begin(ENGAGEMENT, 6)).blob if named else LOST
    await relay.blobs.append(blob, b"sealed", offset=0)
    return blob


async def stored(running: Serving) -> set[BlobId]:
    return {blob async for blob in running.relay.blobs.list()}


async def swept_for_two_days(running: Serving) -> int:
    """How many files a relay erases that runs on for two days."""
    now = 0.0
    sweep = FileSweep(running.relay.hub, running.relay.blobs, clock=lambda: now)
    erased = 0
    while now <= 2 * KEPT_SECONDS:
        erased += (await sweep.run()).erased
        now += 3600
    return erased


async def test_a_relay_with_empty_records_does_not_start_on_the_files_of_another(
    tmp_path: Path, s3: S3Server
) -> None:
    bucket = in_bucket(s3, s3.bucket())
    async with serving(settings_in(tmp_path / "one", **bucket)) as running:
        blob = await add_file(running)
    with pytest.raises(BlobsOfAnother, match=r"bucket .* belong to other records.*s3_prefix"):
        async with serving(settings_in(tmp_path / "two", **bucket)):
            pytest.fail("it must not start")
    async with serving(settings_in(tmp_path / "one", **bucket)) as running:  # and whose they are goes on
        assert await stored(running) == {blob}
        assert await swept_for_two_days(running) == 0


async def test_nor_where_the_files_are_from_before_anything_said_whose_they_are(tmp_path: Path) -> None:
    async with serving(settings_in(tmp_path)) as running:
        blob = await add_file(running)
    folder = settings_in(tmp_path).blob_dir
    (folder / ".owner").unlink()
    for name in ("directory.db", "streams.db"):
        (folder.parent / name).rename(tmp_path / name)
    with pytest.raises(BlobsOfAnother, match="move it away"):
        async with serving(settings_in(tmp_path)):
            pytest.fail("it must not start")
    assert (folder / blob / "000000").read_bytes() == b"sealed"


@pytest.mark.parametrize("forgotten", ["files", "records", "both"])
async def test_files_whose_records_are_there_are_taken_over_whoever_has_forgotten_it(
    tmp_path: Path, forgotten: str
) -> None:
    """An upgrade, a backup without the mark, a bucket that was copied without it."""
    async with serving(settings_in(tmp_path)) as running:
        kept = {await add_file(running), await add_file(running)}
        await add_file(running, named=False)
        if forgotten != "files":
            await running.relay.hub.directory.delete(spaces.MARKS, MARK)
    if forgotten != "records":
        (settings_in(tmp_path).blob_dir / ".owner").unlink()
    async with serving(settings_in(tmp_path)) as running:
        assert await running.relay.blobs.owner() != b""
        assert await swept_for_two_days(running) == 1
        assert await stored(running) == kept


async def test_a_backup_and_what_is_moved_to_another_store_keep_their_files(tmp_path: Path) -> None:
    data, copy = settings_in(tmp_path).data_dir, str(tmp_path / "copy")
    async with serving(settings_in(tmp_path)) as running:
        blob = await add_file(running)
        await add_file(running, named=False)
        assert await asyncio.to_thread(main, ["backup", copy, "--data-dir", str(data)]) == 0
    restored, moved = tmp_path / "restored" / "data", tmp_path / "moved" / "data"
    assert await asyncio.to_thread(main, ["restore", copy, "--yes", "--data-dir", str(restored)]) == 0
    arguments = ["migrate", "--from", f"sqlite:{restored}", "--to", f"sqlite:{moved}"]
    assert await asyncio.to_thread(main, arguments) == 0
    shutil.copytree(restored / "blobs", moved / "blobs")
    for folder in (tmp_path, restored.parent, moved.parent):
        async with serving(settings_in(folder)) as running:
            assert await swept_for_two_days(running) == 1
            assert await stored(running) == {blob}


async def test_records_that_are_lost_while_it_runs_cost_no_file(tmp_path: Path) -> None:
    async with serving(settings_in(tmp_path)) as running:
        blob, directory = await add_file(running), running.relay.hub.directory
        for space in (spaces.MARKS, spaces.UPLOADS):
            while await directory.take(space, ""):
                continue
        with pytest.raises(BlobsOfAnother):
            await swept_for_two_days(running)
        assert await stored(running) == {blob}


async def test_records_set_back_keep_what_they_do_not_know_for_a_day(tmp_path: Path) -> None:
    """A practice restore, or the wrong copy, on the same bucket: somebody has time to notice."""
    async with serving(settings_in(tmp_path)) as running:
        await add_file(running, named=False)
        now = 0.0
        sweep = FileSweep(running.relay.hub, running.relay.blobs, clock=lambda: now)
        assert await sweep.run() == (0, 1)
        now = KEPT_SECONDS - 1
        assert await sweep.run() == (0, 1)
        assert await stored(running) == {LOST}
        now = KEPT_SECONDS
        assert await sweep.run() == (1, 0)
        assert await stored(running) == set()


async def test_a_file_whose_record_comes_back_is_not_counted_from_before(tmp_path: Path) -> None:
    async with serving(settings_in(tmp_path)) as running:
        relay, now = running.relay, 0.0
        sweep = FileSweep(relay.hub, relay.blobs, clock=lambda: now)
        blob = await add_file(running)
        ((key, record),) = await relay.hub.directory.scan(spaces.UPLOADS, "", limit=2)
        await relay.hub.directory.delete(spaces.UPLOADS, key)
        assert await sweep.run() == (0, 1)
        await relay.hub.directory.put(spaces.UPLOADS, key, record)
        assert await sweep.run() == (0, 0)
        await relay.hub.directory.delete(spaces.UPLOADS, key)
        now = KEPT_SECONDS
        assert await sweep.run() == (0, 1)
        assert await stored(running) == {blob}


async def test_what_is_no_sealed_file_is_left_alone(tmp_path: Path, s3: S3Server) -> None:
    """The bucket's other objects, and those of a relay with a prefix beneath this one's."""
    bucket = s3.bucket()
    async with (
        serving(settings_in(tmp_path / "one", **in_bucket(s3, bucket))) as running,
        serving(settings_in(tmp_path / "two", **in_bucket(s3, bucket, "second"))) as beneath,
    ):
        blob = await add_file(beneath)
        blobs = running.relay.blobs
        assert isinstance(blobs, S3Blobs)
        await blobs.append(BlobId("backups"), b"of the operator", offset=0)
        assert await swept_for_two_days(running) == 0
        assert await stored(beneath) == {blob}
        assert await blobs.size(BlobId("backups")) == len(b"of the operator")


async def test_nodes_that_share_their_records_share_the_files(tmp_path: Path, s3: S3Server) -> None:
    """Two that begin at once on records that have no name yet."""
    bucket = s3.bucket()
    async with serving(settings_in(tmp_path, **in_bucket(s3, bucket))) as running:
        directory = running.relay.hub.directory
        await directory.delete(spaces.MARKS, MARK)
        places = [S3Blobs(s3.location(s3.bucket())) for _ in range(2)]
        await asyncio.gather(*(check_owner(directory, place, "") for place in places))
        assert await places[0].owner() == await places[1].owner() != b""


async def test_a_place_that_is_away_or_hangs_keeps_no_relay_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_blobs: object) -> bytes:
        raise BlobStoreUnavailable("it does not answer")

    async def hangs(_blobs: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(blob_owner, "BEGIN_SECONDS", 0.01)
    for owner in (away, hangs):
        monkeypatch.setattr(DirectoryBlobs, "owner", owner)
        async with serving(settings_in(tmp_path)) as running:
            assert await add_file(running)


async def test_the_mark_is_copied_with_the_folder(tmp_path: Path) -> None:
    """As `cp -r` and `aws s3 sync` do: the files belong to the same records elsewhere."""
    async with serving(settings_in(tmp_path)) as running:
        await add_file(running)
    settings = settings_in(tmp_path)
    copied = tmp_path / "copied"
    shutil.copytree(settings.blob_dir, copied / "blobs")
    assert await DirectoryBlobs(copied / "blobs").owner() == await DirectoryBlobs(settings.blob_dir).owner()
