"""How far a long piece of work has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What is being done with the attachment."""

    SEAL = "seal"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` bytes of one phase; ``done`` may step back when a transfer begins anew."""

    done: int
    total: int
    phase: Phase


OnProgress = Callable[[Progress], None]
"""Called on the event loop; it must not block."""
