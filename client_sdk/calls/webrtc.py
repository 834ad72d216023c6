"""Whether this installation can make calls: aiortc and PyAV come with the extra "calls".

They take a good part of a second to load, so nothing imports them before the first call.
"""

from __future__ import annotations

from client_sdk.calls.errors import CallsUnavailable

__all__ = ["require_webrtc"]


def require_webrtc() -> None:
    """Load what calls need; raises CallsUnavailable if the extra "calls" is not installed."""
    try:
        import aiortc
        import av
    except ModuleNotFoundError as error:
        raise CallsUnavailable('Calls need the extra "calls": pip install "coach-relay[calls]".') from error
    del aiortc, av
