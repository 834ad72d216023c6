"""What we read in a session description (SDP, RFC 8866): its DTLS fingerprint and its media, strictly.

The call words bind the SHA-256 fingerprint, so there must be exactly one value of it, found alike by every
parser: a description with anything unusual about its lines is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from client_sdk.calls.errors import DescriptionRefused
from client_sdk.calls.messages import MAX_SDP_CHARS

KINDS: Final = frozenset({"audio", "video"})
MAX_CANDIDATES: Final = 100
"""Addresses that one description may send us to (RFC 8445 section 6.1.2.5 bounds the checks alike)."""
_TEXT: Final = re.compile(r"(?:[\x20-\x7e]*\r?\n)+")
_FINGERPRINT: Final = re.compile(r"a=fingerprint:([A-Za-z0-9-]+) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+)")
_MEDIA: Final = re.compile(r"m=([a-z]+) ([0-9]{1,5}) [A-Z/]+ .+")


@dataclass(frozen=True, slots=True)
class Description:
    """``fingerprint``: the 32 bytes of ``a=fingerprint:sha-256``; ``kinds``: the media sections, in order."""

    fingerprint: bytes
    kinds: tuple[str, ...]


def read_description(sdp: str, *, allowed: frozenset[str] = KINDS) -> Description:
    """Read a description whose media sections are of ``allowed`` kinds, each at most once.

    Raises DescriptionRefused: too many addresses, none or several different SHA-256 fingerprints, a section
    without one, other media, or lines that parsers could take differently.
    """
    if len(sdp) > MAX_SDP_CHARS or not _TEXT.fullmatch(sdp):
        raise DescriptionRefused("The session description is not plain lines of text, or too long.")
    if sdp.count("a=candidate:") > MAX_CANDIDATES:
        raise DescriptionRefused("The session description names too many addresses.")
    session, *sections = _sections(sdp)
    found = [_fingerprints(section) for section in (session, *sections)]
    values = {value for section in found for value in section}
    if len(values) != 1:
        raise DescriptionRefused(f"The session description has {len(values)} fingerprints instead of one.")
    for section, own in zip(sections, found[1:], strict=True):
        if not own and not found[0] and not _is_rejected(section):
            raise DescriptionRefused("A media section has no fingerprint.")
    return Description(values.pop(), _kinds(sections, allowed))


def repeat_candidates(sdp: str) -> str:
    """The description with the addresses of its first section in each section that names none.

    Bundled sections share them, and browsers name them in the first alone (RFC 9143 section 7.1.3); aiortc as
    the one who offered looks for them in the last alone.
    """
    session, *sections = _sections(sdp)
    known = [line for line in (sections[0] if sections else []) if line.startswith("a=candidate:")]
    for section in sections:
        if not any(line.startswith("a=candidate:") for line in section):
            section += known
    return "".join(f"{line}\r\n" for part in (session, *sections) for line in part)


def _sections(sdp: str) -> list[list[str]]:
    """The session's lines, then those of each media section."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _fingerprints(lines: list[str]) -> set[bytes]:
    values = set()
    for line in lines:
        if "fingerprint" not in line.lower():
            continue
        match = _FINGERPRINT.fullmatch(line)
        if match is None:
            raise DescriptionRefused("A fingerprint is not written as usual.")
        if match[1].lower() == "sha-256":
            values.add(bytes.fromhex(match[2].replace(":", "")))
    if any(len(value) != 32 for value in values):
        raise DescriptionRefused("A SHA-256 fingerprint has another length than 32 bytes.")
    return values


def _kinds(sections: list[list[str]], allowed: frozenset[str]) -> tuple[str, ...]:
    kinds = []
    for section in sections:
        match = _MEDIA.fullmatch(section[0])
        if match is None or match[1] not in allowed or match[1] in kinds:
            raise DescriptionRefused("A media section is not of a kind that was agreed, or comes twice.")
        kinds.append(match[1])
    if not kinds:
        raise DescriptionRefused("The session description has no media.")
    return tuple(kinds)


def _is_rejected(section: list[str]) -> bool:
    """Port 0 without ``bundle-only``: the other side does not want this section (RFC 9429 section 5.3.1)."""
    match = _MEDIA.fullmatch(section[0])
    return match is not None and match[2] == "0" and "a=bundle-only" not in section
