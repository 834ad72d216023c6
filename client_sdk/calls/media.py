"""What a person sends into a call: tracks from a file, from devices, or any other; and muting them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from client_sdk.calls.errors import MediaUnavailable
from client_sdk.calls.webrtc import require_webrtc

if TYPE_CHECKING:
    from aiortc.mediastreams import MediaStreamTrack

_BLACK: Final = (16, 128, 128)
"""Luma and chroma of black in YUV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The tracks to send, if any; ``owned`` ones are stopped when the call is over."""

    audio: MediaStreamTrack | None = None
    video: MediaStreamTrack | None = None
    owned: bool = False

    @property
    def tracks(self) -> Mapping[str, MediaStreamTrack]:
        """The tracks by kind."""
        found = {"audio": self.audio, "video": self.video}
        return {kind: track for kind, track in found.items() if track is not None}

    async def close(self) -> None:
        """Stop the tracks, if they are owned."""
        if not self.owned:
            return
        async with AsyncExitStack() as stops:  # the one that fails keeps the other one open no longer
            for track in self.tracks.values():
                # It joins the thread that reads the file or device.
                stops.push_async_callback(asyncio.to_thread, track.stop)


async def media_from_file(path: str | Path, *, loop: bool = False) -> Media:
    """The sound and picture of a file, in real time, perhaps in a loop. Raises MediaUnavailable."""
    return await _played(str(path), loop=loop)


async def media_from_devices(
    *, camera: str | None = "/dev/video0", microphone: str | None = "default", size: str = "640x480"
) -> Media:
    """A camera (Video4Linux) and a microphone (ALSA), None to go without. Raises MediaUnavailable."""
    video = audio = None
    if camera is not None:
        opened = await _played(camera, format="v4l2", options={"video_size": size, "framerate": "30"})
        video = opened.video
    try:
        if microphone is not None:
            audio = (await _played(microphone, format="alsa")).audio
    except MediaUnavailable:
        await Media(video=video, owned=True).close()
        raise
    return Media(audio=audio, video=video, owned=True)


async def _played(file: str, **options: Any) -> Media:
    require_webrtc()
    from aiortc.contrib.media import MediaPlayer
    from av import FFmpegError

    try:
        player = await asyncio.to_thread(MediaPlayer, file, **options)
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaUnavailable(f"What should be sent cannot be opened: {type(error).__name__}.") from error
    return Media(audio=player.audio, video=player.video, owned=True)


@dataclass(slots=True)
class Muted:
    """Which kinds of media are replaced by silence and black pictures, for all attempts."""

    audio: bool = False
    video: bool = False

    def hides(self, kind: str) -> bool:
        """Whether what is sent of ``kind`` is blank."""
        return self.audio if kind == "audio" else self.video


def blank_frame(frame: Any) -> Any:
    """Silence or black of the same length, size and time; None for packets that are encoded already."""
    import av

    blank: Any
    if isinstance(frame, av.AudioFrame):
        blank = av.AudioFrame(frame.format.name, frame.layout.name, frame.samples)
        blank.sample_rate = frame.sample_rate
        for plane in blank.planes:
            plane.update(bytes(plane.buffer_size))
    elif isinstance(frame, av.VideoFrame):
        blank = av.VideoFrame(frame.width, frame.height, "yuv420p")
        for plane, value in zip(blank.planes, _BLACK, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
    else:
        return None
    blank.pts = frame.pts
    if frame.time_base is not None:
        blank.time_base = frame.time_base
    return blank
