"""How much is measured: the whole, `--quick`, or as little as shows that the harness works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts and times of a run; times in seconds."""

    rounds: int = 3
    pairs: int = 100
    in_flight: int = 32
    payload_bytes: int = 512
    warm_up: float = 1.0
    seconds: float = 4.0
    paced_seconds: float = 4.0
    rate: int = 1000
    stored: int = 10_000
    idle: int = 5_000
    settle_seconds: float = 1.0
    mls_messages: int = 1_500
    mls_sizes: tuple[int, ...] = (2, 10, 50, 250)
    small_file: int = 10 * _MIB
    large_file: int = 200 * _MIB
    connected: int = 1_000
    lines: int = 120


WHOLE: Final = Plan()
QUICK: Final = Plan(
    rounds=1,
    warm_up=0.5,
    seconds=1.5,
    paced_seconds=1.5,
    idle=500,
    settle_seconds=0.5,
    mls_messages=500,
    mls_sizes=(2, 10),
    large_file=64 * _MIB,
    connected=200,
    lines=50,
)
TINY: Final = Plan(
    rounds=1,
    pairs=2,
    in_flight=4,
    warm_up=0.05,
    seconds=1.0,
    paced_seconds=0.1,
    rate=200,
    stored=20,
    idle=5,
    settle_seconds=0.05,
    mls_messages=5,
    mls_sizes=(2,),
    small_file=_MIB // 16,
    large_file=_MIB // 4,
    connected=10,
    lines=10,
)
