"""One function that reduces a peer's file name to a harmless one."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

FALLBACK: Final = "file"
MAX_BYTES: Final = 255
"""Of UTF-8: what common file systems take."""
MAX_SUFFIX_BYTES: Final = 32
"""A longer "suffix" is no file type; it is cut like the rest."""

# Control, format (bidi overrides, zero width), surrogates, private use, unassigned, line and paragraph
# separators: none of them can be seen, and each can make a name look like another.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SEPARATORS: Final = re.compile(r"[/\\]")
# Not allowed on Windows; the colon also names alternate data streams. The rest look like separators or like
# nothing.
_REPLACED: Final = re.compile(
    r'[<>:"|?*\u2044\u2215\u29f8\u29f9\ufe68\uff0f\uff3c\u115f\u1160\u2800\u3164\uffa0]'
)
# What every client takes for space, which is not what `\s` is everywhere.
_SPACES: Final = re.compile(r"[^\S\x1c-\x1f\x85]+")
_RESERVED: Final = re.compile(r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|$)")


def safe_name(name: str) -> str:
    """The last component of ``name``, fit to be a file name on any common system; never empty, never a path.

    The result has no separator, no invisible character, no leading dot, hyphen or space, no trailing dot or
    space, is no name that Windows reserves, and has at most 255 bytes of UTF-8 with its suffix kept. Applying
    it again changes nothing.
    """
    components = [_strip(_visible(part)) for part in _SEPARATORS.split(name)]
    base = next((part for part in reversed(components) if part), FALLBACK)
    return _cut(f"_{base}" if _RESERVED.match(base) else base)


def numbered_name(name: str, number: int) -> str:
    """``plan.pdf`` as ``plan (2).pdf``: still a safe name, if ``name`` was one."""
    stem, suffix = _split(name)
    mark = f" ({number})"
    room = MAX_BYTES - len((mark + suffix).encode())
    return f"{_head(stem, room)}{mark}{suffix}"


def _visible(part: str) -> str:
    spaced = _SPACES.sub(" ", part)  # before tabs and line breaks, which separate words, go as control
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE)
    return _REPLACED.sub("_", unicodedata.normalize("NFC", shown))


def _strip(part: str) -> str:
    return _SPACES.sub(" ", part).lstrip(" .-").rstrip(" .")


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    suffix = dot + extension
    if not stem or not extension or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        return name, ""
    return stem, suffix


def _cut(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, suffix = _split(name)
    return _head(stem, MAX_BYTES - len(suffix.encode())) + suffix


def _head(text: str, size: int) -> str:
    """At most ``size`` bytes of the beginning, whole characters only."""
    return text.encode()[:size].decode(errors="ignore").rstrip(" .")
