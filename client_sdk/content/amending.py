"""What becomes of a message by the amendments to it: the same on every device, in whatever order they come.

The rules rest on three facts that all devices share: the author's user, the message's kind, and the position
of each amendment in the stream. So they are functions of a set, and a device may forget what does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .amendments import AMENDMENT_KINDS, REACTIONS, Amendment, Edit, Reaction, Retract

EDITABLE_KINDS: Final = frozenset({"text"})
FIXED_KINDS: Final = AMENDMENT_KINDS | {"receipt", "profile", "call.invite", "call.ended"}
"""Kinds that nobody amends: they report what happened, or are amendments themselves."""


@dataclass(frozen=True, slots=True)
class Act:
    """One amendment by one user. `place` orders it: its seq, and a number behind all for what waits here."""

    place: tuple[int, int]
    user: str
    what: Amendment = field(repr=False)


@dataclass(frozen=True, slots=True)
class Amended:
    """What became of a message. `text` is None if it was never edited."""

    retracted: bool = False
    text: str | None = field(default=None, repr=False)
    reactions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(emoji, the users who said it) in the order of `REACTIONS`."""


def may_amend(act: Act, *, author: str, kind: str) -> bool:
    """Whether this user may do this to a message of this kind: only its author edits and retracts it."""
    if kind in FIXED_KINDS:
        return False
    match act.what:
        case Edit():
            return act.user == author and kind in EDITABLE_KINDS
        case Retract():
            return act.user == author
        case Reaction():
            return True


def that_count(acts: Iterable[Act]) -> frozenset[Act]:
    """Those that still matter: of each user the newest edit, the first retraction, the last of each reaction.

    `that_count(that_count(a) | b) == that_count(a | b)`: what is dropped will never matter again.
    """
    kept: dict[tuple[str, str, str], Act] = {}
    for act in acts:
        slot = (act.what.KIND, act.user, act.what.emoji if isinstance(act.what, Reaction) else "")
        other = kept.get(slot)
        if other is None or (act.place < other.place) is isinstance(act.what, Retract):
            kept[slot] = act
    return frozenset(kept.values())


def amended(acts: Iterable[Act], *, author: str, kind: str) -> Amended:
    """What these amendments make of a message of this kind by this author."""
    counting = sorted(
        (act for act in that_count(acts) if may_amend(act, author=author, kind=kind)),
        key=lambda act: (act.place, act.user),
    )
    if any(isinstance(act.what, Retract) for act in counting):
        return Amended(retracted=True)
    edits = [act.what.text for act in counting if isinstance(act.what, Edit)]
    said = [(act.what.emoji, act.user) for act in counting if isinstance(act.what, Reaction) and act.what.on]
    by_emoji = (
        (emoji, tuple(user for said_emoji, user in said if said_emoji == emoji)) for emoji in REACTIONS
    )
    return Amended(
        text=edits[-1] if edits else None,
        reactions=tuple((emoji, users) for emoji, users in by_emoji if users),
    )
