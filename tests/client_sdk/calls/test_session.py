"""The media of a call on this device: what is opened is given back, whatever fails or hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from client_sdk.calls import Media, RecordingFailed, media_from_file, session
from client_sdk.calls.peer import Peer
from client_sdk.calls.recording import Recorder
from client_sdk.calls.session import CallSettings, Session

pytestmark = pytest.mark.usefixtures("nothing_left_running")
BOTH = frozenset({"audio", "video"})


async def opened(media: Media, recording: Path) -> Session:
    """Everything of a call, and a connection to nobody."""
    session = Session(CallSettings(loopback=True), BOTH, lambda attempt, state: None)
    await session.open(media, recording)
    await session.offer(1)
    return session


def is_over(media: Media) -> bool:
    return all(track.readyState == "ended" for track in media.tracks.values())


@pytest.fixture
async def film_media(film: Path) -> Media:
    return await media_from_file(film)


async def test_a_connection_that_fails_to_close_keeps_no_camera_on_and_no_recording_open(
    film_media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, recording = Peer.close, tmp_path / "call.mp4"

    async def fail(self: Peer) -> None:
        await closing(self)
        raise ConnectionError("no way back")

    made = await opened(film_media, recording)
    monkeypatch.setattr(Peer, "close", fail)
    with pytest.raises(ConnectionError):
        await made.close()
    assert is_over(film_media)
    assert not recording.exists()  # nothing arrived
    assert made.recording_error is None


async def test_a_connection_that_hangs_keeps_no_camera_on_and_no_recording_open(
    film_media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, recording = Peer.close, tmp_path / "call.mp4"

    async def hang(self: Peer) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await closing(self)

    made = await opened(film_media, recording)
    monkeypatch.setattr(Peer, "close", hang)
    monkeypatch.setattr(session, "CLOSE_SECONDS", 1.0)
    with pytest.raises(TimeoutError):
        await made.close()
    assert is_over(film_media)
    assert not recording.exists()


async def test_a_recording_that_hangs_is_told(
    film_media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, recorders = Recorder.close, list[Recorder]()

    async def hang(self: Recorder) -> None:
        recorders.append(self)
        await asyncio.Event().wait()

    made = await opened(film_media, tmp_path / "call.mp4")
    monkeypatch.setattr(Recorder, "close", hang)
    monkeypatch.setattr(session, "CLOSE_SECONDS", 0.5)
    with pytest.raises(TimeoutError):
        await made.close()
    assert isinstance(made.recording_error, RecordingFailed)
    assert is_over(film_media)
    await closing(recorders[0])


async def test_a_source_that_cannot_be_stopped_leaves_the_other_one_stopped() -> None:
    def fail() -> None:
        raise OSError("the microphone does not answer")

    for broken in sorted(BOTH):
        tracks: dict[str, Any] = {kind: Stopped(fail if kind == broken else None) for kind in BOTH}
        with pytest.raises(OSError, match="microphone"):
            await Media(**tracks, owned=True).close()
        assert all(track.stopped for track in tracks.values())


class Stopped:
    """A track that counts how it is stopped."""

    def __init__(self, fail: Any) -> None:
        self.stopped, self._fail = False, fail

    def stop(self) -> None:
        self.stopped = True
        if self._fail is not None:
            self._fail()
