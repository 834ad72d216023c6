"""Linking a device: what two devices of one person tell each other, sealed by a secret (PROTOCOL 6.1).

The new device shows 128 random bits, as twelve words and as a QR code; the person gives them to a device that
they have. Both devices derive all keys from them and from a fresh Diffie-Hellman exchange: the relay between
them, which does not know the secret, can read, alter and answer nothing, and whoever finds the words later
can open nothing that was recorded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Final, Self, cast

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from relay.wire.errors import WireError
from relay.wire.ids import PortalId, UserId, label, parse_portal_id, parse_user_id
from relay.wire.limits import CHANNEL_BYTES, MAX_RENDEZVOUS_BODY_BYTES

from ..content.packing import PackingError, Value, pack, unpack
from ..content.padding import padded_length
from ..errors import LinkCodeInvalid, LinkTampered, UsageError
from .keys import KEY_BYTES
from .words import words_in

SECRET_BYTES: Final = 16
WORDS: Final = 12
CODE_START: Final = "COACH-LINK:"
"""What a QR code begins with; the rest is the secret in upper-case hex, so that the code stays small."""
NAME_BYTES: Final = 64
MOST_TYPED: Final = 1024
"""Twelve words stay far below; bounds what is looked at."""
MESSAGE_BYTES: Final = 48 * 1024
"""Padded and sealed it still fits into the relay's frame."""

_FORMAT: Final = 1
_HEX: Final = re.compile(rf"[0-9a-fA-F]{{{2 * SECRET_BYTES}}}")
_NONCE_BYTES: Final = 24
_EPHEMERAL_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_COUNTER_BYTES: Final = 8

Rng = Callable[[int], bytes]


class Side(IntEnum):
    """Which of the two devices speaks."""

    KNOWN = 0
    """It stands in the person's list and lets the other one in."""
    NEW = 1

    @property
    def other(self) -> Side:
        return Side.NEW if self is Side.KNOWN else Side.KNOWN


class _Type(IntEnum):
    HELLO = 0
    SEALED = 1


@cache
def _mnemonic() -> Mnemonic:
    return Mnemonic("english")


@dataclass(frozen=True, slots=True)
class LinkSecret:
    """The 128 bits that the new device shows."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.value, bytes) or len(self.value) != SECRET_BYTES:
            raise UsageError(f"A linking secret is {SECRET_BYTES} bytes.")

    @property
    def words(self) -> tuple[str, ...]:
        """Twelve BIP-39 English words, the last of which holds a checksum against typing errors."""
        return tuple(_mnemonic().to_mnemonic(self.value).split())

    @property
    def code(self) -> str:
        """What the QR code says."""
        return CODE_START + self.value.hex().upper()

    @property
    def channel(self) -> bytes:
        """Where the two devices meet; it tells nothing about the keys."""
        return self._derive("channel", CHANNEL_BYTES)

    def hello_key(self, side: Side) -> bytes:
        """The key of this side's greetings."""
        return self._derive(f"hello {side.value}", KEY_BYTES)

    def _derive(self, info: str, length: int) -> bytes:
        return _hkdf(self.value, label("link"), info.encode(), length)

    @classmethod
    def read(cls, text: str) -> Self:
        """The secret of twelve typed words or of a scanned code; raises `LinkCodeInvalid`."""
        plain = text.strip()[:MOST_TYPED]
        if plain.upper().startswith(CODE_START):
            return cls(_from_hex(plain[len(CODE_START) :]))
        words = words_in(plain)
        unknown = [word for word in words if word not in _mnemonic().wordlist]
        if len(words) != WORDS or unknown:
            what = f"“{unknown[0][:20]}” is none of those it uses" if unknown else f"these are {len(words)}"
            raise LinkCodeInvalid(
                f"The other device shows {WORDS} words; {what}. Look at its screen and type them again."
            )
        try:
            return cls(bytes(_mnemonic().to_entropy(words)))
        except (ValueError, LookupError) as error:
            raise LinkCodeInvalid(
                "One of the words is not the right one, or they are not in the order shown. "
                "Look at the other device's screen and type them again."
            ) from error


def _from_hex(text: str) -> bytes:
    if _HEX.fullmatch(text) is None:
        raise LinkCodeInvalid(
            "This code is not one for linking a device. Scan the one that the new device shows."
        )
    return bytes.fromhex(text)


@dataclass(frozen=True, slots=True)
class Hello:
    """How a device introduces itself; `ephemeral` is its X25519 key for this one meeting."""

    portal: PortalId
    user: UserId
    device_key: bytes
    name: str = field(repr=False)
    ephemeral: bytes

    def _serialize(self) -> bytes:
        return pack([_FORMAT, self.portal, self.user, self.device_key, self.name, self.ephemeral])

    @classmethod
    def _parse(cls, data: bytes) -> Self:
        try:
            form, portal, user, device_key, name, ephemeral = cast(list[object], unpack(data))
            if type(form) is not int or form != _FORMAT:
                raise ValueError("another form")
            if not isinstance(name, str) or not 1 <= len(name.encode()) <= NAME_BYTES:
                raise ValueError("a field of another form")
            keys = (_fixed(device_key, KEY_BYTES), _fixed(ephemeral, _EPHEMERAL_BYTES))
            return cls(parse_portal_id(portal), parse_user_id(user), keys[0], name, keys[1])
        except (PackingError, WireError, ValueError, TypeError) as error:
            raise _tampered() from error


class Greeting:
    """One device's part of one meeting: make it, send `body`, and `meet` the other's."""

    def __init__(
        self,
        secret: LinkSecret,
        side: Side,
        *,
        portal: PortalId,
        user: UserId,
        device_key: bytes,
        name: str,
        rng: Rng,
    ) -> None:
        self._secret = secret
        self._side = side
        self._private = rng(_EPHEMERAL_BYTES)
        self._hello = Hello(portal, user, device_key, name, crypto_scalarmult_base(self._private))
        nonce = rng(_NONCE_BYTES)
        sealed = _seal(self._hello._serialize(), secret.hello_key(side), nonce, _bound(secret, side))
        self.body: Final = bytes([_Type.HELLO]) + nonce + sealed

    def meet(self, body: bytes) -> tuple[Hello, LinkSession]:
        """Who the other device is, and the session with it; raises `LinkTampered`."""
        other = self._side.other
        if not is_hello(body):
            raise _tampered()
        nonce, sealed = body[1 : 1 + _NONCE_BYTES], body[1 + _NONCE_BYTES :]
        hello = Hello._parse(_open(sealed, self._secret.hello_key(other), nonce, _bound(self._secret, other)))
        if (hello.portal, hello.user) != (self._hello.portal, self._hello.user):
            raise _tampered()
        if hello.device_key == self._hello.device_key:
            raise _tampered()
        return hello, self._session(hello, body)

    def _session(self, other: Hello, body: bytes) -> LinkSession:
        try:
            shared = crypto_scalarmult(self._private, other.ephemeral)
        except (CryptoError, RuntimeError) as error:  # a point of small order
            raise _tampered() from error
        known, new = (self.body, body) if self._side is Side.KNOWN else (body, self.body)
        transcript = hashlib.sha256(
            label("link transcript") + len(known).to_bytes(_LENGTH_BYTES, "big") + known + new
        ).digest()
        keys = {
            side: _hkdf(self._secret.value + shared, transcript, f"from {side.value}".encode(), KEY_BYTES)
            for side in Side
        }
        return LinkSession(self._side, keys, transcript)


def is_hello(body: bytes) -> bool:
    """Whether what came at the channel begins a meeting."""
    return len(body) > 1 + _NONCE_BYTES and body[0] == _Type.HELLO


class LinkSession:
    """Seals and opens what the two devices say after their greetings: each message once, in its order."""

    def __init__(self, side: Side, keys: dict[Side, bytes], transcript: bytes) -> None:
        self._side = side
        self._keys = keys
        self._transcript = transcript
        self._sent = 0
        self._received = 0

    def seal(self, kind: str, *fields: object) -> bytes:
        """The next message as a body; raises `UsageError` if it is too long."""
        plain = pack([kind, *fields])
        if len(plain) > MESSAGE_BYTES:
            raise UsageError(f"A message between two devices has at most {MESSAGE_BYTES} bytes.")
        whole = len(plain).to_bytes(_LENGTH_BYTES, "big") + plain
        padded = whole.ljust(padded_length(len(whole)), b"\0")
        sealed = _seal(padded, self._keys[self._side], _counted(self._sent), self._transcript)
        self._sent += 1
        return bytes([_Type.SEALED]) + sealed

    def open(self, body: bytes) -> list[Value]:
        """The kind and fields of the other device's next message.

        Raises `LinkTampered` for anything else: altered, repeated, left out, sent back, of another meeting.
        """
        if not 1 < len(body) <= MAX_RENDEZVOUS_BODY_BYTES or body[0] != _Type.SEALED:
            raise _tampered()
        nonce = _counted(self._received)
        padded = _open(body[1:], self._keys[self._side.other], nonce, self._transcript)
        length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
        plain, padding = padded[_LENGTH_BYTES : _LENGTH_BYTES + length], padded[_LENGTH_BYTES + length :]
        if len(plain) != length or padding.strip(b"\0"):
            raise _tampered()
        self._received += 1
        try:
            values = unpack(plain)
        except PackingError as error:
            raise _tampered() from error
        if not isinstance(values, list) or not values or not isinstance(values[0], str):
            raise _tampered()
        return values


def _bound(secret: LinkSecret, side: Side) -> bytes:
    return label("link hello") + bytes([side]) + secret.channel


def _counted(number: int) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big").rjust(_NONCE_BYTES, b"\0")


def _hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(ikm)


def _seal(plain: bytes, key: bytes, nonce: bytes, bound: bytes) -> bytes:
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)


def _open(sealed: bytes, key: bytes, nonce: bytes, bound: bytes) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, bound, nonce, key)
    except (CryptoError, ValueError) as error:
        raise _tampered() from error


def _fixed(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise ValueError("bytes of another length")
    return value


def _tampered() -> LinkTampered:
    return LinkTampered(
        "Something came that your other device did not send. Nothing of it was used. "
        "If linking does not go on, begin again on both devices, with new words."
    )
