"""What a call's connection does: counts since its present attempt began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStatistics:
    """One kind of media, both ways.

    ``jitter`` (RFC 3550) and ``round_trip_time`` in seconds, None before the other side has reported;
    ``frames_decoded`` since the call began; ``frames_per_second`` over the last two seconds; ``width`` and
    ``height`` of what arrives.
    """

    packets_sent: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    jitter: float | None = None
    round_trip_time: float | None = None
    frames_decoded: int = 0
    frames_per_second: float = 0.0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStatistics:
    """Both kinds of media, and everything that went over the connection, its headers included."""

    attempt: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    audio: MediaStatistics = MediaStatistics()
    video: MediaStatistics = MediaStatistics()
