"""Making what others wrote safe to print: a message must not steer the reader's terminal."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls (escape sequences begin with one), and the marks that turn the direction of text around.
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_BREAKS: Final = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def printable(text: str, /) -> str:
    """Return `text` for a terminal: line breaks and tabs kept, all that would steer it shown as “�”."""
    return _STEERING.sub("\ufffd", _BREAKS.sub("\n", text))


def one_line(text: str, /) -> str:
    """Return `text` for one line of a terminal: as `printable`, with line breaks and tabs as spaces."""
    return " ".join(printable(text).split())
