"""Extensions and the standard extension bodies (RFC 9420 section 11.1, 12.1.8.1, 12.4.3, 13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .codec import Reader, opaque, parse_all, u16, vector
from .credentials import Credential, parse_credential, serialize_credential
from .errors import ValidationError

APPLICATION_ID = 0x0001
RATCHET_TREE = 0x0002
REQUIRED_CAPABILITIES = 0x0003
EXTERNAL_PUB = 0x0004
EXTERNAL_SENDERS = 0x0005
LAST_RESORT = 0x000A

DEFAULT_EXTENSIONS = frozenset(
    {APPLICATION_ID, RATCHET_TREE, REQUIRED_CAPABILITIES, EXTERNAL_PUB, EXTERNAL_SENDERS}
)
"""Types every client supports without listing them (section 7.2)."""

DEFAULT_PROPOSALS = frozenset({1, 2, 3, 4, 5, 6, 7})
"""Proposal types every client supports without listing them (section 7.2)."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A typed, otherwise opaque extension."""

    type: int
    data: bytes

    def serialize(self) -> bytes:
        """Encode the extension."""
        return u16(self.type) + opaque(self.data)


Extensions = tuple[Extension, ...]


def _parse_extension(reader: Reader) -> Extension:
    return Extension(reader.u16(), reader.opaque())


def parse_extensions(reader: Reader) -> Extensions:
    """Decode ``Extension extensions<V>``; a type may occur once."""
    extensions = reader.vector(_parse_extension)
    check_unique(extensions)
    return extensions


def check_unique(extensions: Extensions) -> None:
    """Refuse a type that occurs twice (section 13.4)."""
    if len({extension.type for extension in extensions}) != len(extensions):
        raise ValidationError("EXT-UNIQUE", "an extension type occurs twice in one list")


def serialize_extensions(extensions: Iterable[Extension]) -> bytes:
    """Encode ``Extension extensions<V>``."""
    return vector(extension.serialize() for extension in extensions)


def find_extension(extensions: Extensions, extension_type: int) -> bytes | None:
    """The body of the extension of that type, if present."""
    for extension in extensions:
        if extension.type == extension_type:
            return extension.data
    return None


@dataclass(frozen=True, slots=True)
class RequiredCapabilities:
    """What every member of a group must support (section 11.1)."""

    extension_types: tuple[int, ...] = ()
    proposal_types: tuple[int, ...] = ()
    credential_types: tuple[int, ...] = ()

    def to_extension(self) -> Extension:
        """The required_capabilities extension."""
        lists = (self.extension_types, self.proposal_types, self.credential_types)
        return Extension(REQUIRED_CAPABILITIES, b"".join(vector(map(u16, types)) for types in lists))

    @staticmethod
    def find(extensions: Extensions) -> RequiredCapabilities | None:
        """The required capabilities among a group's extensions."""
        data = find_extension(extensions, REQUIRED_CAPABILITIES)
        return None if data is None else parse_all(data, _parse_required)


def _parse_required(reader: Reader) -> RequiredCapabilities:
    return RequiredCapabilities(*(reader.u16s() for _ in range(3)))


@dataclass(frozen=True, slots=True)
class ExternalSender:
    """A party outside the group that may propose (section 12.1.8.1)."""

    signature_key: bytes
    credential: Credential

    def serialize(self) -> bytes:
        """Encode one external sender."""
        return opaque(self.signature_key) + serialize_credential(self.credential)

    @staticmethod
    def find_all(extensions: Extensions) -> tuple[ExternalSender, ...]:
        """All external senders a group's extensions name."""
        data = find_extension(extensions, EXTERNAL_SENDERS)
        return () if data is None else parse_all(data, lambda reader: reader.vector(_parse_sender))


def _parse_sender(reader: Reader) -> ExternalSender:
    return ExternalSender(reader.opaque(), parse_credential(reader))
