"""Upload and Download against a tus server that cuts, forgets, refuses and lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from client_sdk.attachments import (
    AttachmentError,
    BlobGone,
    Download,
    Phase,
    Progress,
    Retry,
    SealedFileExtended,
    SealedFileTruncated,
    SpoolMissing,
    StorageFailed,
    TransferInterrupted,
    TransferRefused,
    Upload,
    UploadState,
)
from client_sdk.attachments.uploading import FIRST_PIECE, LARGEST_PIECE, MAX_ANEW
from client_sdk.errors import RelayUnreachable
from relay.wire.ids import BlobId
from tests.client_sdk.attachments.tus_server import Stored, TusServer

SIZE = 5 * FIRST_PIECE + 12_345
DATA = bytes(i * i % 251 for i in range(1000)) * (SIZE // 1000 + 1)
DATA = DATA[:SIZE]
BLOB = BlobId("A" * 22)


class Bench:
    """A relay's blobs, a device that may use them, and the waits that it made."""

    def __init__(self, server: TusServer, base: str, session: aiohttp.ClientSession, folder: Path) -> None:
        self.server = server
        self.base = base
        self.session = session
        self.spool = folder / "spool"
        self.waits: list[float] = []
        self.granted = 0
        self.states: list[UploadState] = []
        self.told: list[Progress] = []
        self.now = 0.0

    async def access(self) -> tuple[str, str]:
        self.granted += 1
        return self.base, self.server.token

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def remember(self, state: UploadState) -> None:
        self.states.append(state)

    def retry(self, attempts: int = 4) -> Retry:
        return Retry(attempts=attempts, fraction=lambda: 0.5, sleep=self.sleep, clock=lambda: self.now)

    def upload(self, state: UploadState | None = None, **options: Any) -> Upload:
        return Upload(
            self.spool,
            session=self.session,
            state=state,
            remember=self.remember,
            progress=self.told.append,
            **{"access": self.access, "retry": self.retry(), **options},
        )

    def download(self, size: int = SIZE, **options: Any) -> Download:
        return Download(
            BLOB,
            size,
            self.spool,
            session=self.session,
            access=self.access,
            **{"progress": self.told.append, "retry": self.retry(), **options},
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = TusServer()
    async with TestServer(server.app()) as listening, aiohttp.ClientSession() as session:
        yield Bench(server, str(listening.make_url("")).rstrip("/"), session, tmp_path)


@pytest.fixture
def uploading(bench: Bench) -> Bench:
    bench.spool.write_bytes(DATA)
    return bench


@pytest.fixture
def downloading(bench: Bench) -> Bench:
    bench.server.blobs[BLOB] = Stored(SIZE, bytearray(DATA))
    return bench


# Upload


async def test_an_upload_arrives_whole_and_its_state_is_kept_first(uploading: Bench) -> None:
    blob = await uploading.upload().run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert uploading.states == [UploadState(blob)]
    assert uploading.server.log[:3] == ["POST", "HEAD", "PATCH"]
    assert uploading.told[0] == Progress(0, SIZE, Phase.UPLOAD)
    assert uploading.told[-1] == Progress(SIZE, SIZE, Phase.UPLOAD)
    assert uploading.waits == []


async def test_an_absolute_location_names_the_upload_too_but_is_not_followed(uploading: Bench) -> None:
    uploading.server.location = "https://elsewhere.example/files/{}"
    blob = await uploading.upload().run()
    assert bytes(uploading.server.blobs[blob].data) == DATA


async def test_pieces_grow_while_they_are_fast(uploading: Bench) -> None:
    await uploading.upload().run()
    steps = [p.done for p in uploading.told]
    assert [b - a for a, b in pairwise(steps)][:2] == [FIRST_PIECE, 2 * FIRST_PIECE]
    assert uploading.server.log.count("PATCH") == 3
    assert LARGEST_PIECE == 4 * FIRST_PIECE


async def test_cut_connections_are_resumed_where_they_broke(uploading: Bench) -> None:
    uploading.server.cut_uploads = [400_000, 1, 100_001]
    blob = await uploading.upload().run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert len(uploading.server.blobs) == 1
    assert len(uploading.waits) == 3
    assert [p.done for p in uploading.told] == sorted(p.done for p in uploading.told)


async def test_waits_grow_with_jitter_and_are_bounded(uploading: Bench) -> None:
    uploading.server.statuses["POST"] = [503] * 20
    with pytest.raises(TransferInterrupted):
        await uploading.upload(retry=uploading.retry(attempts=12)).run()
    assert len(uploading.waits) == 11
    assert uploading.waits == sorted(uploading.waits)
    assert uploading.waits[0] == 0.125
    assert uploading.waits[-1] == 15


async def test_after_a_restart_only_the_rest_is_sent(uploading: Bench) -> None:
    uploading.server.statuses["PATCH"] = []
    uploading.server.cut_uploads = [300_000]
    with pytest.raises(TransferInterrupted):
        await uploading.upload(retry=uploading.retry(attempts=1)).run()
    kept = uploading.states[-1].serialize()

    uploading.told.clear()
    blob = await uploading.upload(UploadState.parse(kept)).run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert len(uploading.server.blobs) == 1
    assert 0 < uploading.told[0].done <= 300_000


async def test_a_finished_upload_is_not_sent_again(uploading: Bench) -> None:
    blob = await uploading.upload().run()
    uploading.server.log.clear()
    assert await uploading.upload(UploadState(blob)).run() == blob
    assert uploading.server.log == ["HEAD"]


@pytest.mark.parametrize("status", [404, 410])
async def test_an_upload_that_the_relay_lost_begins_anew(uploading: Bench, status: int) -> None:
    uploading.server.statuses["PATCH"] = [status]
    blob = await uploading.upload(UploadState(BLOB)).run()  # BLOB itself is unknown
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert uploading.states[0] == UploadState(None)
    assert uploading.states[-1] == UploadState(blob)
    assert blob != BLOB


async def test_a_relay_that_always_loses_it_is_given_up(uploading: Bench) -> None:
    uploading.server.statuses["HEAD"] = [404] * 20
    with pytest.raises(BlobGone):
        await uploading.upload().run()
    assert uploading.server.log.count("POST") == MAX_ANEW + 1


@pytest.mark.parametrize("stored", [Stored(SIZE - 1), Stored(SIZE, bytearray(SIZE + 1))])
async def test_another_files_upload_is_not_continued(uploading: Bench, stored: Stored) -> None:
    uploading.server.blobs[BLOB] = stored
    blob = await uploading.upload(UploadState(BLOB)).run()
    assert blob != BLOB
    assert bytes(uploading.server.blobs[blob].data) == DATA


async def test_an_expired_token_is_renewed_once(uploading: Bench) -> None:
    upload = uploading.upload()
    original = uploading.server.patch

    async def expire(request: Any) -> Any:
        response = await original(request)
        uploading.server.token = "token-2"
        return response

    uploading.server.patch = expire  # type: ignore[method-assign]  # the fault to be injected
    async with TestServer(uploading.server.app()) as listening:
        uploading.base = str(listening.make_url("")).rstrip("/")
        blob = await upload.run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert uploading.granted == 2
    assert uploading.waits == []


async def test_a_token_that_stays_refused_is_an_error(uploading: Bench) -> None:
    async def access() -> tuple[str, str]:
        uploading.granted += 1
        return uploading.base, "wrong"

    with pytest.raises(TransferRefused) as caught:
        await uploading.upload(access=access).run()
    assert caught.value.status == 401
    assert uploading.granted == 2
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 413, 301, 307])
async def test_a_refusal_or_a_redirect_is_an_error_at_once(uploading: Bench, status: int) -> None:
    uploading.server.statuses["POST"] = [status]
    with pytest.raises(TransferRefused) as caught:
        await uploading.upload().run()
    assert caught.value.status == status
    assert uploading.server.log == ["POST"]


@pytest.mark.parametrize("status", [408, 409, 423, 429, 500, 502, 503, 507])
async def test_a_passing_refusal_is_tried_again(uploading: Bench, status: int) -> None:
    uploading.server.statuses["PATCH"] = [status, status]
    blob = await uploading.upload().run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert len(uploading.waits) == 2


async def test_being_offline_is_waited_out(uploading: Bench) -> None:
    async def access() -> tuple[str, str]:
        uploading.granted += 1
        if uploading.granted < 3:
            raise RelayUnreachable("no connection")
        return uploading.base, uploading.server.token

    blob = await uploading.upload(access=access).run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert len(uploading.waits) == 2


async def test_a_relay_that_is_not_there_interrupts_and_the_next_run_continues(uploading: Bench) -> None:
    base, uploading.base = uploading.base, "http://127.0.0.1:9"
    upload = uploading.upload()
    with pytest.raises(TransferInterrupted):
        await upload.run()
    uploading.base = base
    fresh = uploading.upload(upload.state)
    blob = await fresh.run()
    assert bytes(uploading.server.blobs[blob].data) == DATA


async def test_a_spool_that_is_gone_is_said(uploading: Bench) -> None:
    uploading.spool.unlink()
    with pytest.raises(SpoolMissing):
        await uploading.upload().run()
    assert uploading.server.log == []


@pytest.mark.parametrize("location", ["", "/v1/blobs/short", "/v1/blobs/{}/../../x"])
async def test_a_location_that_names_no_upload_is_not_used(uploading: Bench, location: str) -> None:
    uploading.server.location = location
    with pytest.raises(TransferInterrupted):
        await uploading.upload().run()
    assert uploading.states == []


@pytest.mark.parametrize("offset", ["", "-1", "x", "٣", str(SIZE * 2), "0"])
async def test_a_patch_answer_that_makes_no_sense_is_asked_about(uploading: Bench, offset: str) -> None:
    original = uploading.server.patch
    lies = [offset]

    async def lie(request: Any) -> Any:
        response = await original(request)
        if lies:
            response.headers["Upload-Offset"] = lies.pop()
        return response

    uploading.server.patch = lie  # type: ignore[method-assign]  # the fault to be injected
    async with TestServer(uploading.server.app()) as listening:
        uploading.base = str(listening.make_url("")).rstrip("/")
        blob = await uploading.upload().run()
    assert bytes(uploading.server.blobs[blob].data) == DATA
    assert len(uploading.waits) == 1


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x92\x02\xc0", b"\x92\x01\xa1x", b"\x91\x01", b"\xc1"])
def test_a_kept_state_that_is_damaged_is_an_error(data: bytes) -> None:
    with pytest.raises(AttachmentError):
        UploadState.parse(data)


def test_a_state_survives_being_kept() -> None:
    for state in (UploadState(), UploadState(BLOB)):
        assert UploadState.parse(state.serialize()) == state


# Download


async def test_a_download_arrives_whole(downloading: Bench) -> None:
    assert await downloading.download().run() == downloading.spool
    assert downloading.spool.read_bytes() == DATA
    assert downloading.told[-1] == Progress(SIZE, SIZE, Phase.DOWNLOAD)
    assert downloading.spool.stat().st_mode & 0o777 == 0o600


async def test_a_cut_download_continues_where_it_broke(downloading: Bench) -> None:
    downloading.server.cut_downloads = [1_000_000, 1, 2_000_000]
    await downloading.download().run()
    assert downloading.spool.read_bytes() == DATA
    assert len(downloading.waits) == 3


async def test_a_download_continues_after_a_restart(downloading: Bench) -> None:
    downloading.server.cut_downloads = [1_000_000]
    with pytest.raises(TransferInterrupted):
        await downloading.download(retry=downloading.retry(attempts=1)).run()
    arrived = downloading.spool.stat().st_size
    assert 0 < arrived <= 1_000_000
    downloading.told.clear()
    await downloading.download().run()
    assert downloading.told[0].done == arrived
    assert downloading.spool.read_bytes() == DATA


async def test_a_complete_download_asks_for_nothing(downloading: Bench) -> None:
    downloading.spool.write_bytes(DATA)
    await downloading.download().run()
    assert downloading.server.log == []


async def test_a_relay_without_ranges_begins_anew(downloading: Bench) -> None:
    downloading.server.ignore_ranges = True
    downloading.server.cut_downloads = [1_000_000]
    await downloading.download().run()
    assert downloading.spool.read_bytes() == DATA


async def test_a_spool_that_is_too_long_is_not_trusted(downloading: Bench) -> None:
    downloading.spool.write_bytes(DATA + b"more")
    await downloading.download().run()
    assert downloading.spool.read_bytes() == DATA


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    ("change", "error"), [(lambda d: d[:-1], SealedFileTruncated), (lambda d: d + b"x", SealedFileExtended)]
)
async def test_another_size_is_noticed_at_once(
    downloading: Bench, ranges: bool, change: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    downloading.server.ignore_ranges = not ranges
    downloading.server.blobs[BLOB].data = bytearray(change(DATA))
    with pytest.raises(error):
        await downloading.download().run()
    assert not downloading.spool.exists()
    assert downloading.server.log == ["GET"]


async def test_a_relay_that_has_less_than_has_arrived_lies(downloading: Bench) -> None:
    downloading.spool.write_bytes(DATA[:2000])
    downloading.server.blobs[BLOB].data = bytearray(DATA[:1000])
    with pytest.raises(SealedFileTruncated):
        await downloading.download().run()


async def test_an_endless_answer_is_cut_off(downloading: Bench) -> None:
    """Chunked, so that no length warns: the spool never grows past the sealed size."""
    from aiohttp import web

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(bytes(SIZE // 10))
        return response

    downloading.server.get = endless  # type: ignore[method-assign]  # the fault to be injected
    async with TestServer(downloading.server.app()) as listening:
        downloading.base = str(listening.make_url("")).rstrip("/")
        with pytest.raises(SealedFileExtended):
            await downloading.download().run()
    assert not downloading.spool.exists()


async def test_an_answer_of_another_range_is_not_stored(downloading: Bench) -> None:
    from aiohttp import web

    downloading.spool.write_bytes(DATA[:1000])
    original = downloading.server.get
    lies = [True]

    async def lie(request: web.Request) -> web.StreamResponse:
        if lies:
            lies.pop()
            return web.Response(status=206, body=b"x" * 10, headers={"Content-Range": f"bytes 0-9/{SIZE}"})
        return await original(request)

    downloading.server.get = lie  # type: ignore[method-assign]  # the fault to be injected
    async with TestServer(downloading.server.app()) as listening:
        downloading.base = str(listening.make_url("")).rstrip("/")
        await downloading.download().run()
    assert downloading.spool.read_bytes() == DATA
    assert len(downloading.waits) == 1


async def test_a_blob_that_is_gone_is_said(downloading: Bench) -> None:
    downloading.server.blobs.clear()
    with pytest.raises(BlobGone):
        await downloading.download().run()


async def test_a_download_that_cannot_be_stored_is_an_error(downloading: Bench) -> None:
    downloading.spool = downloading.spool / "under" / "nothing"
    with pytest.raises(StorageFailed):
        await downloading.download().run()


async def test_a_cancelled_download_keeps_what_arrived(downloading: Bench) -> None:
    arrived_some = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.done:
            arrived_some.set()

    task = asyncio.create_task(downloading.download(progress=tell).run())
    await arrived_some.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    arrived = downloading.spool.read_bytes()
    assert arrived
    assert DATA.startswith(arrived)
    await downloading.download().run()
    assert downloading.spool.read_bytes() == DATA


@pytest.mark.parametrize("size", [0, -1, 2**31 + 1])
def test_no_sealed_file_has_such_a_size(downloading: Bench, size: int) -> None:
    with pytest.raises(ValueError):
        downloading.download(size)
