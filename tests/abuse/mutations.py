"""Seeded changes to values, packed bytes and texts: small, and towards the edges of what a parser takes."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgpack

_EDGES: Final[tuple[Any, ...]] = (
    *(0, 1, 2, -1, 7, 8, 16, 127, 128, 255, 256, 0xFFFF, 0x10000, 2**31, 2**32 - 1, 2**32),
    *(2**53 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**53), -(2**63)),
    *(0.0, 1.0, -1.0, 1.5, 1e300, float("inf")),
    *(None, True, False, "", "a", "é", "\x00", "a\nb", "\x85", "\u2028", "🙂", "x" * 64, "x" * 65, "é" * 128),
    *("x" * 256, "x" * 1025, "constructor", "__proto__", "toString", "text", "anna", "1", "eng_"),
    *(b"", b"a", b"\xff", bytes(15), bytes(16), bytes(17), bytes(31), bytes(32), bytes(33), bytes(64)),
    *([], [[]], [[[[[[[[[]]]]]]]]], {}, {"": 1}, {"a": {"b": []}}, {"__proto__": 1}),
)
_WIDER: Final = {
    0xC4: 0xC5,
    0xC5: 0xC6,
    0xD9: 0xDA,
    0xDA: 0xDB,
    0xCC: 0xCD,
    0xCD: 0xCE,
    0xDC: 0xDD,
    0xDE: 0xDF,
}
_LETTERS: Final = (
    *("\r", "\n", "\r\n", "\t", " ", "\u00a0", "\u2028", "\x0b", "\x0c", "\x1c", "\x85", "\x00", "\x7f"),
    *(
        "a",
        "A",
        "0",
        "é",
        "e\u0301",
        "\u0130",
        "ß",
        "ﬁ",
        "²",
        "½",
        "٣",
        "Ⅷ",
        "🙂",
        "\u200d",
        "\u202e",
        "\ufeff",
    ),
    *(
        "/",
        "\\",
        "..",
        ".",
        ":",
        "=",
        "-",
        "_",
        "+",
        "%2e",
        "a=fingerprint:sha-256 00:11",
        "m=audio 9 X a\r\n",
    ),
    *("a=candidate:", "con", "abandon", "zoo", "COACH-LINK:", "coach-relay:safety:"),
)


def changed_value(random: Random, value: Any) -> Any:
    """The value with one to three changes somewhere in it."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = _changed(random, value)
    return value


def _changed(random: Random, value: Any) -> Any:
    inside = isinstance(value, list | dict) and len(value) > 0
    if inside and random.random() < 0.85:
        return _changed_list(random, value) if isinstance(value, list) else _changed_map(random, value)
    return _replaced(random, value)


def _replaced(random: Random, value: Any) -> Any:
    if random.random() < 0.3:
        if type(value) is int:
            return random.choice((value + 1, value - 1, -value, float(value), str(value), value + 2**53))
        if type(value) is bool:
            return int(value)
        if type(value) in (bytes, str) and value:
            cut = random.randrange(len(value))
            return random.choice((value[:cut], value + value[:1], value * 2, value[:cut] + value[cut + 1 :]))
    return random.choice(_EDGES)


def _changed_list(random: Random, values: list[Any]) -> list[Any]:
    at, made = random.randrange(len(values)), list(values)
    match random.randrange(8):
        case 0:
            del made[at]
        case 1:
            made.insert(at, random.choice(_EDGES))
        case 2:
            made.insert(at, made[random.randrange(len(made))])
        case 3:
            other = random.randrange(len(made))
            made[at], made[other] = made[other], made[at]
        case _:
            made[at] = _changed(random, made[at])
    return made


def _changed_map(random: Random, values: dict[Any, Any]) -> dict[Any, Any]:
    made = dict(values)
    key = random.choice(list(made))
    match random.randrange(6):
        case 0:
            del made[key]
        case 1:
            made[random.choice(("", "x", "__proto__", "constructor", "extra", "text", "name"))] = (
                random.choice(_EDGES)
            )
        case _:
            made[key] = _changed(random, made[key])
    return made


def packed(value: Any) -> bytes:
    """The value in MessagePack; lone halves of characters cannot be."""
    made: bytes = msgpack.packb(value)
    return made


def changed_bytes(random: Random, data: bytes) -> bytes:
    """The bytes with one change: bits, cuts, insertions, headers that are longer than they need to be."""
    if not data:
        return random.randbytes(random.randrange(1, 4))
    at = random.randrange(len(data))
    match random.randrange(6):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + random.randbytes(random.randrange(1, 4)) + data[at:]
        case 3:
            return data[:at] + data[at + random.randrange(1, 4) :]
        case 4:
            return _widened(random, data)
        case _:
            return data + random.choice((b"\0", b"\xc0", data))


def _widened(random: Random, data: bytes) -> bytes:
    """One header in a longer form than the shortest, if there is one where one may be."""
    places = [at for at, byte in enumerate(data) if byte in _WIDER or byte <= 0x7F or 0xA0 <= byte <= 0xBF]
    if not places:
        return data + b"\0"
    at = random.choice(places)
    byte = data[at]
    if byte in _WIDER:
        return (
            data[:at]
            + bytes([_WIDER[byte], *([0] if byte in (0xC4, 0xD9, 0xCC) else [0, 0])])
            + data[at + 1 :]
        )
    longer = bytes([0xCC, byte]) if byte <= 0x7F else bytes([0xD9, byte & 0x1F])
    return data[:at] + longer + data[at + 1 :]


def changed_text(random: Random, text: str) -> str:
    """The text with one or two changes."""
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(text) + 1)
        match random.randrange(6):
            case 0:
                text = text[:at] + text[at + random.randrange(1, 5) :]
            case 1:
                other = random.randrange(len(text) + 1)
                text = text[:at] + text[min(at, other) : max(at, other)] + text[at:]
            case 2:
                text = text[:at] + text[at:].swapcase()
            case 3:
                text = text.replace(random.choice((" ", "\r\n", ":", "=", "a")), random.choice(_LETTERS), 1)
            case _:
                text = text[:at] + random.choice(_LETTERS) + text[at:]
    return text
