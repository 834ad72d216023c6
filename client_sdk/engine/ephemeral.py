"""Ephemeral messages (PROTOCOL 10): sealed beside the message ratchet, for they overtake the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import nacl.exceptions
import nacl.signing
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)

from client_sdk.content.packing import MAX_COUNT, PackingError, Value, pack, unpack
from client_sdk.content.padding import padded_length
from client_sdk.errors import CoachRelayError, Fault
from client_sdk.mls import GroupState
from relay.wire.ids import label
from relay.wire.limits import MAX_EPHEMERAL_BODY_BYTES

EXPORTER_LABEL: Final = "coach-relay/1 ephemeral"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
SIGNATURE_BYTES: Final = 64
LENGTH_BYTES: Final = 4

MAX_WAITING: Final = (
    16  # of a future epoch: its commit is on its way, so one call's negotiation is enough room
)
PAST_SECONDS: Final = 60.0  # what was sealed just before a commit still arrives

Body = dict[str, Value]


class EphemeralRefused(CoachRelayError):
    """An ephemeral message that is not what a member of this epoch sent, or was seen already."""

    code = "ephemeral_refused"
    fault = Fault.REMOTE


@dataclass(frozen=True, slots=True)
class EphemeralMessage:
    """An authenticated message: who sent it (leaf and device key), in which epoch, and what it says."""

    epoch: int
    leaf: int
    device_key: bytes
    authenticator: bytes = field(repr=False)
    """The epoch authenticator of its epoch."""
    kind: str
    body: Body = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Sealed:
    epoch: int
    leaf: int
    counter: int
    nonce: bytes
    ciphertext: bytes
    signature: bytes

    def header(self, group_id: bytes) -> bytes:
        return pack([group_id, self.epoch, self.leaf, self.counter])


class _Keys:
    """What opens the ephemeral messages of one epoch."""

    def __init__(self, group: GroupState, epoch: int) -> None:
        self.group_id = group.group_id
        self.epoch = epoch
        self.authenticator = group.epoch_authenticator
        self._exporter: GroupState | None = group
        self._device_keys = {m.leaf_index: m.leaf_node.signature_key for m in group.members}
        self._keys: dict[int, bytes] = {}

    def key(self, leaf: int) -> bytes:
        if leaf not in self._keys:
            if self._exporter is None:
                raise EphemeralRefused("The sender is not a member of the epoch it names.")
            self._keys[leaf] = self._exporter.export_secret(
                EXPORTER_LABEL, leaf.to_bytes(4, "big"), KEY_BYTES
            )
        return self._keys[leaf]

    def device_key(self, leaf: int) -> bytes:
        if leaf not in self._device_keys:
            raise EphemeralRefused("The sender is not a member of the epoch it names.")
        return self._device_keys[leaf]

    def let_go(self) -> None:
        """Keep what opens messages of this epoch's members, and nothing else of its secrets."""
        for leaf in self._device_keys:
            self.key(leaf)
        self._exporter = None


class EphemeralBox:
    """Seals and opens the ephemeral messages of one conversation. It lives in memory alone.

    `epoch` is the number of the group's epoch within the conversation, which goes on where a new group takes
    over (PROTOCOL 8).
    """

    def __init__(self, group: GroupState, epoch: int, sign: Callable[[bytes], bytes]) -> None:
        self._current = _Keys(group, epoch)
        self._own_leaf = group.own_leaf_index
        self._sign = sign
        self._past: _Keys | None = None
        self._past_until = 0.0
        self._waiting: deque[_Sealed] = deque(maxlen=MAX_WAITING)
        self._last_counter: dict[tuple[int, int], int] = {}

    def enter(self, group: GroupState, epoch: int, now: float) -> list[EphemeralMessage]:
        """Go on to another epoch; returns the messages that had waited for it. `now` is monotonic."""
        self._current.let_go()
        self._past, self._past_until = self._current, now + PAST_SECONDS
        self._current, self._own_leaf = _Keys(group, epoch), group.own_leaf_index
        kept = {self._past.epoch, self._current.epoch}
        self._last_counter = {key: value for key, value in self._last_counter.items() if key[0] in kept}
        waited, self._waiting = self._waiting, deque(maxlen=MAX_WAITING)
        opened = [self._open_waited(sealed, now) for sealed in waited]
        return [message for message in opened if message is not None]

    def seal(self, counter: int, kind: str, body: Body, rng: Callable[[int], bytes]) -> bytes:
        """One message of our own; raises `EphemeralRefused` if it is too long."""
        nonce = rng(NONCE_BYTES)
        header = _Sealed(self._current.epoch, self._own_leaf, counter, nonce, b"", b"").header(
            self._current.group_id
        )
        plain = _padded(pack([kind, body]))
        key = self._current.key(self._own_leaf)
        ciphertext = crypto_aead_xchacha20poly1305_ietf_encrypt(plain, header, nonce, key)
        signature = self._sign(label("ephemeral") + header + nonce + ciphertext)
        fields = [self._current.epoch, self._own_leaf, counter, nonce, ciphertext, signature]
        sealed = pack(fields)
        if len(sealed) > MAX_EPHEMERAL_BODY_BYTES:
            raise EphemeralRefused("The message is too long to be ephemeral.")
        return sealed

    def open(self, body: bytes, now: float) -> EphemeralMessage | None:
        """The message in these bytes; None if its epoch is still to come. Raises `EphemeralRefused`."""
        sealed = _parse(body)
        if sealed.epoch > self._current.epoch:
            self._waiting.append(sealed)
            return None
        return self._open_sealed(sealed, now)

    def _open_waited(self, sealed: _Sealed, now: float) -> EphemeralMessage | None:
        if sealed.epoch > self._current.epoch:
            self._waiting.append(sealed)
            return None
        try:
            return self._open_sealed(sealed, now)
        except EphemeralRefused:
            return None

    def _open_sealed(self, sealed: _Sealed, now: float) -> EphemeralMessage:
        keys = self._keys_of(sealed.epoch, now)
        if sealed.leaf == self._own_leaf:
            raise EphemeralRefused("The message names this device itself as its sender.")
        device_key, header = keys.device_key(sealed.leaf), sealed.header(keys.group_id)
        _verify(device_key, label("ephemeral") + header + sealed.nonce + sealed.ciphertext, sealed.signature)
        place = (sealed.epoch, sealed.leaf)
        if sealed.counter <= self._last_counter.get(place, 0):
            raise EphemeralRefused("The message was seen already.")
        kind, body = _decrypt(keys.key(sealed.leaf), header, sealed)
        self._last_counter[place] = sealed.counter
        return EphemeralMessage(sealed.epoch, sealed.leaf, device_key, keys.authenticator, kind, body)

    def _keys_of(self, epoch: int, now: float) -> _Keys:
        if self._past is not None and now > self._past_until:
            self._past = None
        if epoch == self._current.epoch:
            return self._current
        if self._past is not None and epoch == self._past.epoch:
            return self._past
        raise EphemeralRefused("The message is of an epoch that is over.")


def _padded(message: bytes) -> bytes:
    framed = len(message).to_bytes(LENGTH_BYTES, "big") + message
    return framed.ljust(padded_length(len(framed)), b"\0")


def _unpadded(plain: bytes) -> bytes:
    end = LENGTH_BYTES + int.from_bytes(plain[:LENGTH_BYTES], "big")
    if not LENGTH_BYTES <= end <= len(plain) or plain[end:].strip(b"\0"):
        raise EphemeralRefused("The message's padding is malformed.")
    return plain[LENGTH_BYTES:end]


def _verify(device_key: bytes, message: bytes, signature: bytes) -> None:
    try:
        nacl.signing.VerifyKey(device_key).verify(message, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        raise EphemeralRefused("The message's signature does not verify.") from None


def _decrypt(key: bytes, header: bytes, sealed: _Sealed) -> tuple[str, Body]:
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed.ciphertext, header, sealed.nonce, key)
        values = unpack(_unpadded(plain))
    except (nacl.exceptions.CryptoError, PackingError):
        raise EphemeralRefused("The message does not open.") from None
    if not isinstance(values, list) or len(values) != 2:
        raise EphemeralRefused("The message is not a kind and a body.")
    kind, body = values
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise EphemeralRefused("The message is not a kind and a body.")
    return kind, body


def _parse(body: bytes) -> _Sealed:
    try:
        values = unpack(body)
    except PackingError:
        raise EphemeralRefused("The message is malformed.") from None
    if not isinstance(values, list) or len(values) != 6:
        raise EphemeralRefused("The message is malformed.")
    epoch, leaf, counter, nonce, ciphertext, signature = values
    for number in (epoch, leaf, counter):
        if type(number) is not int or not 0 <= number <= MAX_COUNT:
            raise EphemeralRefused("The message is malformed.")
    for blob, length in ((nonce, NONCE_BYTES), (signature, SIGNATURE_BYTES), (ciphertext, None)):
        if not isinstance(blob, bytes) or length not in (None, len(blob)):
            raise EphemeralRefused("The message is malformed.")
    return _Sealed(*cast(tuple[int, int, int, bytes, bytes, bytes], tuple(values)))
