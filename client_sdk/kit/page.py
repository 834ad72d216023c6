"""What stands on the page of a recovery kit, in the order in which it is read."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from relay.wire.ids import PortalId, UserId

from ..identity import RecoverySeed

TITLE: Final = "Recovery kit for your coaching conversations"
COLUMNS: Final = 78
"""A printed page of plain text, and an old terminal."""
COLUMNS_OF_WORDS: Final = 3
"""Read across, as one reads: whoever copies them line by line has their order."""

WHAT: Final = (
    "With the twelve words on this page you get back into your conversations when your phone or computer is "
    "lost, stolen or broken. Nobody else has them: not your portal, not the relay, not the people you talk "
    "with. Without them, a lost device means starting anew, and the others have to let you in again."
)
KEEP: Final = (
    "Keep this page as you keep a passport: on paper, at home. Do not photograph it, mail it or store it "
    "online. Whoever has it and can log in to your portal can take your place."
)
STEPS: Final = (
    "On the new device, log in to your portal as before.",
    'Choose "Recover" (in a terminal: coach recover), and type the twelve words in their order. '
    "Four letters of each are enough.",
    "Your old devices are shut out of all conversations, whoever has them now.",
    "Your safety number changes. The others are told so; call them, and compare the new one.",
    "This page stays valid. Put it back where it was.",
)
NUMBER: Final = (
    "Your safety number when this page was made. The others can compare it to make sure that they talk with "
    "you; it changes when you recover."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryKit:
    """A recovery kit as it is printed: for whom it is, the words, when it was made (Unix seconds)."""

    portal: PortalId
    user: UserId
    name: str = field(repr=False)
    seed: RecoverySeed = field(repr=False)
    safety_number: str
    made_at: int

    @property
    def words(self) -> tuple[str, ...]:
        """The twelve words, in order."""
        return self.seed.words

    @property
    def date(self) -> str:
        """When it was made, as in `22 November 2026` (UTC)."""
        made = datetime.fromtimestamp(self.made_at, UTC)
        return f"{made.day} {made:%B %Y}"

    @property
    def whose(self) -> str:
        """For whom it is, as the portal knows them."""
        return f"{self.name} ({self.user}, {self.portal})" if self.name else f"{self.user} ({self.portal})"


def kit_text(kit: RecoveryKit) -> str:
    """The page as plain text, at most 78 columns wide."""
    parts = [
        TITLE.upper(),
        f"For {kit.whose}. Made on {kit.date}.",
        _filled(WHAT),
        _words(kit.words),
        _filled(KEEP),
        "If you lose your device:\n"
        + "\n".join(_filled(step, f"  {number}. ") for number, step in enumerate(STEPS, 1)),
        f"{_filled(NUMBER)}\n\n  {in_fives(kit.safety_number)}",
    ]
    return "\n\n".join(parts) + "\n"


def in_fives(digits: str) -> str:
    """Digits in groups of five, to be read out."""
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


def _words(words: tuple[str, ...]) -> str:
    numbered = [f"{number:>4}. {word:<14}" for number, word in enumerate(words, 1)]
    rows = (numbered[start : start + COLUMNS_OF_WORDS] for start in range(0, len(words), COLUMNS_OF_WORDS))
    return "\n".join("".join(row).rstrip() for row in rows)


def _filled(text: str, start: str = "") -> str:
    return textwrap.fill(text, COLUMNS, initial_indent=start, subsequent_indent=" " * len(start))
