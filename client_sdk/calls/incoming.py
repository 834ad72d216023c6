"""What arrives in a call: always consumed (else it would pile up), counted, and recorded if wished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from client_sdk.calls.recording import Recorder

if TYPE_CHECKING:
    from aiortc.mediastreams import MediaStreamTrack

RATE_SECONDS: Final = 2.0
"""Frames a second are counted over this time."""
MAX_REMEMBERED: Final = 512
"""Arrival times kept for it: 256 frames a second."""
MAX_DRIFT_SECONDS: Final = 1.0
"""When the sender's timestamps and the time of arrival are further apart, the sender's clock has jumped."""


class Arrivals:
    """One kind of media: how much of it came, and what it looks like."""

    def __init__(self) -> None:
        self.frames = 0
        self.width = 0
        self.height = 0
        self._times: deque[float] = deque(maxlen=MAX_REMEMBERED)

    def add(self, frame: Any, now: float) -> None:
        self.frames += 1
        self.width = getattr(frame, "width", 0)
        self.height = getattr(frame, "height", 0)
        self._times.append(now)

    def rate(self, now: float) -> float:
        """Frames a second lately."""
        recent = sum(time > now - RATE_SECONDS for time in self._times)
        return recent / RATE_SECONDS


class Incoming:
    """All that arrives in one call, over all its attempts."""

    def __init__(self, clock: Callable[[], float], recorder: Recorder | None = None) -> None:
        self._clock = clock
        self.recorder = recorder
        self.arrivals = {"audio": Arrivals(), "video": Arrivals()}
        self._begun: float | None = None

    async def consume(self, track: MediaStreamTrack) -> None:
        """Take everything of ``track`` until it ends."""
        from aiortc.mediastreams import MediaStreamError

        placed = _Placed()
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            now = self._clock()
            if self._begun is None:
                self._begun = now
            self.arrivals[track.kind].add(frame, now)
            if self.recorder is not None:
                self.recorder.put(frame, placed.at(frame, now - self._begun))

    def rate(self, kind: str) -> float:
        """Frames of ``kind`` that arrive a second."""
        return self.arrivals[kind].rate(self._clock())


class _Placed:
    """Where a track's frames belong: by the sender's timestamps, anchored where the first one arrived."""

    def __init__(self) -> None:
        self._anchor: float | None = None

    def at(self, frame: Any, arrived: float) -> float:
        time = None if frame.time is None else float(frame.time)
        if time is None:
            return arrived
        if self._anchor is None or abs(self._anchor + time - arrived) > MAX_DRIFT_SECONDS:
            self._anchor = arrived - time
        return self._anchor + time
