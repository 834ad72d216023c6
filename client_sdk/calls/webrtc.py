"""Whether this installation can make calls: aiortc and PyAV come with the extra "calls"."""

from __future__ import annotations

from client_sdk.calls.errors import CallsUnavailable

try:
    import av as _av
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

    AVAILABLE = _av is not None
except ModuleNotFoundError:
    AVAILABLE = False
    # Stand-ins, so that the modules import; `require_webrtc` stands before every use.
    MediaStreamTrack = object  # type: ignore[assignment,misc]  # never used without aiortc
    MediaStreamError = RuntimeError  # type: ignore[assignment,misc]  # never used without aiortc

__all__ = ["AVAILABLE", "MediaStreamError", "MediaStreamTrack", "require_webrtc"]


def require_webrtc() -> None:
    """Raise CallsUnavailable if the extra "calls" is not installed."""
    if not AVAILABLE:
        raise CallsUnavailable('Calls need the extra "calls": pip install "coach-relay[calls]".')
