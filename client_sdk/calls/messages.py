"""The ephemeral messages that negotiate a call (docs/PROTOCOL.md section 12), parsed strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Final, TypeAlias

from client_sdk.calls.errors import CallMessageInvalid

CALL_ID_BYTES: Final = 16
DEVICE_BYTES: Final = 16
NONCE_BYTES: Final = 32
MAX_SDP_CHARS: Final = 24 * 1024
"""Fits an ephemeral message (32 KiB); offers of browsers have about 8 KiB."""
MAX_CANDIDATE_CHARS: Final = 512
MAX_MID_CHARS: Final = 16
MAX_ATTEMPT: Final = 1000
"""Far more than `MAX_ATTEMPTS` of ours: another client may be more patient."""
_REASON: Final = re.compile(r"[a-z][a-z_]{0,31}")


@dataclass(frozen=True, slots=True)
class Probe:
    """A callee's device asks whether it is still ringing."""

    kind: ClassVar[str] = "call.probe"


@dataclass(frozen=True, slots=True)
class Ringing:
    """The caller says that it is."""

    kind: ClassVar[str] = "call.ringing"


@dataclass(frozen=True, slots=True)
class Accept:
    """A callee's device takes the call (``after`` 0), or has lost attempt ``after`` and asks anew."""

    kind: ClassVar[str] = "call.accept"
    device: bytes
    after: int = 0


@dataclass(frozen=True, slots=True)
class Decline:
    """The callee does not want to take the call."""

    kind: ClassVar[str] = "call.decline"


@dataclass(frozen=True, slots=True)
class Offer:
    """The caller's session description for the device it picked, and the commitment to its nonce."""

    kind: ClassVar[str] = "call.offer"
    to: bytes
    attempt: int
    sdp: str
    commit: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The callee's session description and nonce."""

    kind: ClassVar[str] = "call.answer"
    attempt: int
    sdp: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Reveal:
    """The caller's nonce."""

    kind: ClassVar[str] = "call.reveal"
    attempt: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trickled ICE candidate (RFC 8838)."""

    kind: ClassVar[str] = "call.candidate"
    attempt: int
    candidate: str
    mid: str
    index: int


@dataclass(frozen=True, slots=True)
class Hangup:
    """It is over."""

    kind: ClassVar[str] = "call.hangup"
    reason: str


Message: TypeAlias = Probe | Ringing | Accept | Decline | Offer | Answer | Reveal | Candidate | Hangup
Check: TypeAlias = Callable[[object], bool]


def _bytes(length: int) -> Check:
    return lambda value: isinstance(value, bytes) and len(value) == length


def _int(smallest: int, largest: int) -> Check:
    return lambda value: type(value) is int and smallest <= value <= largest


def _str(longest: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= longest


def _reason(value: object) -> bool:
    return isinstance(value, str) and _REASON.fullmatch(value) is not None


_OPTIONAL: Final[Mapping[tuple[str, str], object]] = {(Accept.kind, "after"): 0}
_CHECKS: Final[Mapping[str, Check]] = {
    "device": _bytes(DEVICE_BYTES),
    "to": _bytes(DEVICE_BYTES),
    "after": _int(0, MAX_ATTEMPT),
    "attempt": _int(1, MAX_ATTEMPT),
    "sdp": _str(MAX_SDP_CHARS),
    "commit": _bytes(NONCE_BYTES),
    "nonce": _bytes(NONCE_BYTES),
    "candidate": _str(MAX_CANDIDATE_CHARS),
    "mid": _str(MAX_MID_CHARS),
    "index": _int(0, 15),
    "reason": _reason,
}
_TYPES: Final[Mapping[str, type[Message]]] = {
    message.kind: message
    for message in (Probe, Ringing, Accept, Decline, Offer, Answer, Reveal, Candidate, Hangup)
}
KINDS: Final = frozenset(_TYPES)
"""The kinds of ephemeral messages that belong to calls."""


def call_id(body: Mapping[str, object]) -> bytes:
    """The call that a message's body is about; raises CallMessageInvalid."""
    call = body.get("call")
    if not isinstance(call, bytes) or len(call) != CALL_ID_BYTES:
        raise CallMessageInvalid("A message about a call does not say which.")
    return call


def parse_message(kind: str, body: Mapping[str, object]) -> Message:
    """The message behind a decrypted ephemeral body; unknown keys are ignored. Raises CallMessageInvalid."""
    if kind not in _TYPES:
        raise CallMessageInvalid("There is no such message about a call.")
    found: dict[str, object] = {}
    for field in fields(_TYPES[kind]):
        value = body.get(field.name, _OPTIONAL.get((kind, field.name)))
        if not _CHECKS[field.name](value):
            raise CallMessageInvalid(f"A {kind} has a wrong {field.name}.")
        found[field.name] = value
    return _TYPES[kind](**found)  # type: ignore[arg-type]  # each field has just been checked


def message_body(message: Message, call: bytes) -> dict[str, object]:
    """The body of ``message`` for `Signals.send`."""
    return {"call": call, **{field.name: getattr(message, field.name) for field in fields(message)}}
