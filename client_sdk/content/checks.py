"""Field checks that both the sender's constructor and the receiver's parser go through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from ..errors import ContentInvalid
from .packing import MAX_COUNT, PackingError, Value, pack

NAME_BYTES = 255
"""A person's name, a file's name, one choice of a question: what a file system and a screen can show."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

Extra = Mapping[str, Value]
"""Body keys that this version does not know: kept, so that passing a message on loses nothing."""


def check_text(field: str, value: object, *, most: int, empty: bool = False) -> None:
    """Whether ``value`` is text of at most ``most`` UTF-8 bytes; raises ContentInvalid."""
    if not isinstance(value, str):
        raise ContentInvalid(f"{field} is not text: a {type(value).__name__} was given. Give a str.")
    if not value and not empty:
        raise ContentInvalid(f"{field} is empty. Say something in it.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ContentInvalid(f"{field} holds half a character (a lone surrogate). Clean the text.") from None
    if size > most:
        raise ContentInvalid(f"{field} has {size} bytes, at most {most} are allowed. Shorten or split it.")


def check_name(field: str, value: object, *, most: int = NAME_BYTES) -> None:
    """Whether ``value`` is one line of text that can be shown as a name; raises ContentInvalid."""
    check_text(field, value, most=most)
    if _CONTROL.search(cast(str, value)):
        raise ContentInvalid(f"{field} holds a line break or another control character. Remove it.")


def check_bytes(field: str, value: object, length: int) -> None:
    """Whether ``value`` is exactly ``length`` bytes; raises ContentInvalid."""
    if not isinstance(value, bytes) or len(value) != length:
        raise ContentInvalid(f"{field} is not {length} bytes. It is made by the SDK: do not alter it.")


def check_int(field: str, value: object, low: int = 0, high: int = MAX_COUNT) -> None:
    """Whether ``value`` is an integer (no bool) from ``low`` to ``high``; raises ContentInvalid."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ContentInvalid(f"{field} is not a whole number from {low} to {high}.")


def check_extra(extra: object, known: frozenset[str]) -> None:
    """Whether ``extra`` is a map of plain values that hides none of the kind's own keys."""
    if not isinstance(extra, Mapping) or not all(isinstance(key, str) for key in extra):
        raise ContentInvalid("extra is not a map with string keys.")
    if known & set(extra):
        raise ContentInvalid("extra repeats a key that the kind has itself.")
    try:
        pack(dict(extra))
    except PackingError as error:
        raise ContentInvalid(f"extra cannot be encoded: {error}.") from error


class Fields:
    """A received map whose known keys are taken one by one; what is left are the unknown ones."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise ContentInvalid(f"{what} is not a map.")
        self._left: dict[str, Value] = dict(value)
        self._what = what

    def take(self, key: str) -> object:
        """The value of a required key; raises ContentInvalid when it is missing."""
        if key not in self._left:
            raise ContentInvalid(f"{self._what} lacks {key!r}.")
        return self._left.pop(key)

    def take_or(self, key: str, default: object) -> object:
        """The value of an optional key."""
        return self._left.pop(key, default)

    def take_tuple(self, key: str) -> tuple[object, ...]:
        """The value of a required key that holds a list."""
        value = self.take(key)
        if not isinstance(value, list):
            raise ContentInvalid(f"{self._what}'s {key!r} is not a list.")
        return tuple(value)

    def rest(self) -> Extra:
        """The keys nobody took."""
        return self._left
