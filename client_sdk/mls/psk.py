"""Pre-shared keys and how they enter the key schedule (RFC 9420 section 8.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from .codec import Reader, opaque, u8, u16, u64
from .errors import DecodeError, MissingPsk, ValidationError
from .hpke import Rng, draw
from .suites import CipherSuite

MAX_PSKS = 256
"""PSKs in one commit or Welcome: more than anyone mixes in, and well within the uint16 that counts them."""

_EXTERNAL = 1
_RESUMPTION = 2


class ResumptionUsage(IntEnum):
    """What a resumption PSK is used for."""

    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@dataclass(frozen=True, slots=True)
class ExternalPsk:
    """Names a key agreed outside of MLS."""

    psk_id: bytes

    def serialize(self) -> bytes:
        """Encode type and id."""
        return u8(_EXTERNAL) + opaque(self.psk_id)


@dataclass(frozen=True, slots=True)
class ResumptionPsk:
    """Names the resumption secret of a group's epoch."""

    usage: ResumptionUsage
    group_id: bytes
    epoch: int

    def serialize(self) -> bytes:
        """Encode type and id."""
        return u8(_RESUMPTION) + u8(self.usage) + opaque(self.group_id) + u64(self.epoch)


Psk = ExternalPsk | ResumptionPsk
PskStore = Mapping[Psk, bytes]
"""The pre-shared keys a caller has at hand."""


@dataclass(frozen=True, slots=True)
class PreSharedKeyID:
    """A PSK with the nonce that makes this use of it unique: `fresh` draws one (section 8.4)."""

    psk: Psk
    nonce: bytes

    @staticmethod
    def fresh(psk: Psk, *, suite: CipherSuite, rng: Rng) -> PreSharedKeyID:
        """The PSK with a random nonce of the length the suite demands."""
        return PreSharedKeyID(psk, draw(rng, suite.hash_length))

    def serialize(self) -> bytes:
        """Encode the PreSharedKeyID."""
        return self.psk.serialize() + opaque(self.nonce)


def parse_psk_id(reader: Reader) -> PreSharedKeyID:
    """Decode a PreSharedKeyID."""
    kind = reader.u8()
    psk: Psk
    if kind == _EXTERNAL:
        psk = ExternalPsk(reader.opaque())
    elif kind == _RESUMPTION:
        psk = ResumptionPsk(_parse_usage(reader), reader.opaque(), reader.u64())
    else:
        raise DecodeError("PSK-TYPE", "a PSK is of an unknown type")
    return PreSharedKeyID(psk, reader.opaque())


def _parse_usage(reader: Reader) -> ResumptionUsage:
    try:
        return ResumptionUsage(reader.u8())
    except ValueError:
        raise DecodeError("PSK-USAGE", "a resumption PSK has an unknown usage") from None


def check_psk_ids(suite: CipherSuite, ids: Sequence[PreSharedKeyID]) -> None:
    """Refuse too many or repeated PSKs and nonces of the wrong length (section 8.4, 12.1.4, 12.2)."""
    if len(ids) > MAX_PSKS:
        raise ValidationError("PSK-LIMIT", "more PSKs than anyone mixes in at once")
    if len(set(ids)) != len(ids):
        raise ValidationError("PSK-DUPLICATE", "the same PSK is used twice")
    if any(len(entry.nonce) != suite.hash_length for entry in ids):
        raise ValidationError("PSK-NONCE", "a PSK nonce has the wrong length")


def look_up(store: PskStore | None, psk: Psk) -> bytes:
    """The key from the caller's store, or `MissingPsk`."""
    key = None if store is None else store.get(psk)
    if key is None:
        raise MissingPsk("PSK-MISSING", "a pre-shared key is not at hand")
    return key


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyID, bytes]]) -> bytes:
    """Fold all PSKs, in order, into one secret; none give zeros."""
    zero = bytes(suite.hash_length)
    secret = zero
    for index, (entry, key) in enumerate(psks):
        label = entry.serialize() + u16(index) + u16(len(psks))
        extracted = suite.extract(zero, key)
        psk_input = suite.expand_with_label(extracted, b"derived psk", label, suite.hash_length)
        secret = suite.extract(psk_input, secret)
    return secret
