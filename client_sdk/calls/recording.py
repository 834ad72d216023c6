"""Recording what arrives into an MP4 file (H.264 and AAC), encoded in a thread of its own.

The file is fragmented while it grows, so that a crash leaves a film that plays, and an ordinary MP4 once
closed. Picture and sound are placed by when they arrived: gaps (a lost connection, a muted microphone) stay
gaps.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from client_sdk.calls.errors import RecordingFailed
from client_sdk.calls.webrtc import require_webrtc

MAX_WAITING: Final = 256
"""Frames waiting to be encoded, about four seconds; when the machine is too slow, pictures are left out."""
SOUND_RESERVE: Final = 64
"""Places of the queue that only sound may take: a missing picture is less noticed."""
CANVAS: Final = (640, 480)
"""The picture's size when sound comes alone for `CANVAS_SECONDS`."""
CANVAS_SECONDS: Final = 1.0
VIDEO_CLOCK: Final = 90_000
AUDIO_RATE: Final = 48_000
GAP_SECONDS: Final = 0.08
"""Sound that comes later than this leaves a silence; less is jitter."""
SILENCE_BLOCK: Final = AUDIO_RATE // 10
MAX_SILENCE_SECONDS: Final = 600
"""A longer gap is a broken clock."""
_OPTIONS: Final = {"movflags": "hybrid_fragmented", "flush_packets": "1"}


class Recorder:
    """One recording; `put` from the event loop, `close` once, when nothing more comes."""

    def __init__(self, path: Path, *, kinds: frozenset[str]) -> None:
        """Begin a new file for this user alone; raises RecordingFailed, also if a file stands there."""
        require_webrtc()
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise RecordingFailed(f"The recording cannot be begun: {error.strerror}.") from error
        self._film = _Film(path, kinds)
        self._queue: queue.Queue[tuple[Any, float] | None] = queue.Queue(MAX_WAITING)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="call-recorder", daemon=True)
        self._thread.start()
        self.left_out = 0

    def put(self, frame: Any, at: float) -> None:
        """Record a picture or sound that arrived ``at`` seconds after the first one; never blocks."""
        reserve = 1 if _size(frame) is None else SOUND_RESERVE  # one place is for the end
        if self._queue.qsize() >= MAX_WAITING - reserve:
            self.left_out += 1
            return
        self._queue.put_nowait((frame, at))

    async def close(self) -> None:
        """Finish the file, or remove it if nothing arrived; raises RecordingFailed if it is not whole."""
        await asyncio.to_thread(self._finish)
        if self._failure is not None:
            raise RecordingFailed("The recording could not be written to its end.") from self._failure

    def _finish(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        is_over = False
        try:
            while (item := self._queue.get()) is not None:
                self._film.add(*item)
            is_over = True
            self._film.close()
        except Exception as error:
            self._failure = error
            self._film.abandon()
            while not is_over and self._queue.get() is not None:
                self.left_out += 1


class _Film:
    """The container and its two streams; used by the recorder's thread alone."""

    def __init__(self, path: Path, kinds: frozenset[str]) -> None:
        self._path = path
        self._kinds = kinds
        self._container: Any = None
        self._video: _Pictures | None = None
        self._audio: _Sound | None = None
        self._early: list[tuple[Any, float]] = []

    def add(self, frame: Any, at: float) -> None:
        if self._container is None:
            self._early.append((frame, at))
            size = _size(frame)
            if size is None and "video" in self._kinds and at < CANVAS_SECONDS:
                return
            self._open(size or CANVAS)
            early, self._early = self._early, []
            for kept, then in early:
                self._encode(kept, then)
        else:
            self._encode(frame, at)

    def close(self) -> None:
        if self._container is None and self._early:
            self._open(CANVAS)
            for kept, then in self._early:
                self._encode(kept, then)
        if self._container is None:
            self._path.unlink(missing_ok=True)
            return
        for stream in (self._video, self._audio):
            if stream is not None:
                stream.finish()
        self._container.close()
        self._container = None

    def abandon(self) -> None:
        """After a failure: what was written stays, as far as it plays."""
        self._container = None

    def _open(self, size: tuple[int, int]) -> None:
        import av

        self._container = av.open(str(self._path), "w", format="mp4", container_options=_OPTIONS)
        if "video" in self._kinds:
            self._video = _Pictures(self._container, size)
        if "audio" in self._kinds:
            self._audio = _Sound(self._container)

    def _encode(self, frame: Any, at: float) -> None:
        if _size(frame) is None:
            if self._audio is not None:
                self._audio.add(frame, at)
        elif self._video is not None:
            self._video.add(frame, at)


def _size(frame: Any) -> tuple[int, int] | None:
    """A picture's size, even as H.264 wants it; None for sound."""
    height = getattr(frame, "height", None)
    return None if height is None else (frame.width // 2 * 2, height // 2 * 2)


class _Pictures:
    """The picture, of one size; others are fitted into it."""

    def __init__(self, container: Any, size: tuple[int, int]) -> None:
        self._container = container
        self._size = size
        self._last = -1
        self._fitting: dict[tuple[int, int, str], Any] = {}
        self._stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "g": "30"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, VIDEO_CLOCK)

    def add(self, frame: Any, at: float) -> None:
        pts = round(at * VIDEO_CLOCK)
        if pts <= self._last:
            return
        picture = self._fitted(frame)
        picture.pts, picture.time_base = pts, Fraction(1, VIDEO_CLOCK)
        picture.pict_type = 0  # the sender's key frames are not ours
        self._container.mux(self._stream.encode(picture))
        self._last = pts

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))

    def _fitted(self, frame: Any) -> Any:
        if (frame.width, frame.height, frame.format.name) == (*self._size, "yuv420p"):
            return frame
        key = (frame.width, frame.height, frame.format.name)
        if key not in self._fitting:
            self._fitting.clear()
            self._fitting[key] = _fitting_graph(frame, self._size)
        graph = self._fitting[key]
        graph.push(frame)
        return graph.pull()


def _fitting_graph(frame: Any, size: tuple[int, int]) -> Any:
    """Scale into the size with bars at the sides, whatever the other side's telephone is turned to."""
    from av.filter import Graph

    width, height = size
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format.name,
            time_base=Fraction(1, VIDEO_CLOCK),
        ),
        graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"),
        graph.add("pad", f"{width}:{height}:-1:-1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ).configure()
    return graph


class _Sound:
    """The sound, without gaps: what did not arrive is silence."""

    def __init__(self, container: Any) -> None:
        import av

        self._container = container
        self._written = 0
        self._stream = container.add_stream("aac", rate=AUDIO_RATE, layout="stereo")
        self._resampler = av.AudioResampler(format="s16", layout="stereo", rate=AUDIO_RATE)

    def add(self, frame: Any, at: float) -> None:
        missing = round(at * AUDIO_RATE) - self._written
        if GAP_SECONDS * AUDIO_RATE < missing < MAX_SILENCE_SECONDS * AUDIO_RATE:
            self._silence(missing)
        frame.pts = None  # the sender's clock is not ours
        for sound in self._resampler.resample(frame):
            self._write(sound)

    def finish(self) -> None:
        if self._written == 0:
            self._silence(SILENCE_BLOCK)
        self._container.mux(self._stream.encode(None))

    def _silence(self, samples: int) -> None:
        import av

        while samples > 0:
            block = min(samples, SILENCE_BLOCK)
            sound: Any = av.AudioFrame("s16", "stereo", block)
            sound.planes[0].update(bytes(sound.planes[0].buffer_size))
            sound.sample_rate = AUDIO_RATE
            self._write(sound)
            samples -= block

    def _write(self, sound: Any) -> None:
        sound.pts, sound.time_base = self._written, Fraction(1, AUDIO_RATE)
        self._written += sound.samples
        self._container.mux(self._stream.encode(sound))
