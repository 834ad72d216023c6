"""The tracks that a connection sends. Imported with the first connection: loading aiortc takes a while."""

from __future__ import annotations

from typing import Any

from client_sdk.calls.media import Muted, blank_frame

try:
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
except ModuleNotFoundError:
    # Stand-ins, so that the module imports; `require_webrtc` stands before every use.
    MediaStreamTrack = object  # type: ignore[assignment,misc]  # never used without aiortc
    MediaStreamError = RuntimeError  # type: ignore[assignment,misc]  # never used without aiortc


class SentTrack(MediaStreamTrack):
    """A source as one connection sends it: blank while muted; stopping it leaves the source alone."""

    def __init__(self, source: MediaStreamTrack, muted: Muted) -> None:
        super().__init__()
        self.kind = source.kind
        self._source = source
        self._muted = muted

    async def recv(self) -> Any:
        """The next frame; the source is read while muted too, so that unmuting shows the present."""
        while self.readyState == "live":
            frame = await self._source.recv()
            if not self._muted.hides(self.kind):
                return frame
            blank = blank_frame(frame)
            if blank is not None:
                return blank
        raise MediaStreamError
