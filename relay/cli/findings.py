"""What `doctor` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from relay.config import Settings


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `do` says what to do about it."""

    level: Level
    what: str
    do: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def ok(what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what)


def note(what: str, do: str) -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding(Level.NOTE, what, do)


def failed(what: str, do: str) -> Finding:
    """Broken."""
    return Finding(Level.FAILED, what, do)
