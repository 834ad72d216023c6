"""The connection automaton of PROTOCOL 2, sans I/O: which frame may pass in which state, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from relay.wire import frames as fr
from relay.wire.errors import ErrorCode, WireError
from relay.wire.limits import MAX_HANDSHAKE_MESSAGE_BYTES, MAX_MESSAGE_BYTES

FrameClass = type[fr.Frame] | type[fr.Unknown]
_F = TypeVar("_F", bound="fr.Frame | fr.Unknown")


class State(StrEnum):
    """Where a connection is."""

    GREETING = "greeting"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    DRAINING = "draining"
    CLOSED = "closed"


class Side(StrEnum):
    """Which end of a connection an automaton keeps."""

    RELAY = "relay"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Row:
    """What may pass in one state, and which frames lead to another."""

    from_device: frozenset[FrameClass]
    from_relay: frozenset[FrameClass]
    next: Mapping[FrameClass, State] = field(default_factory=dict)
    max_message_bytes: int = MAX_MESSAGE_BYTES
    ignores_device: bool = False


_HANDSHAKE_FROM_DEVICE: Final[frozenset[FrameClass]] = frozenset({fr.Hello, fr.Authenticate})
_HANDSHAKE_FROM_RELAY: Final[frozenset[FrameClass]] = frozenset({fr.Challenge, fr.Ready})
_FROM_DEVICE: Final[frozenset[FrameClass]] = frozenset({*fr.DEVICE_FRAME_TYPES, fr.Unknown})
_FROM_RELAY: Final[frozenset[FrameClass]] = frozenset({*fr.RELAY_FRAME_TYPES, fr.Unknown})

TABLE: Final[Mapping[State, Row]] = MappingProxyType(
    {
        State.GREETING: Row(
            from_device=frozenset({fr.Hello}),
            from_relay=frozenset({fr.Challenge, fr.Goodbye}),
            next={fr.Challenge: State.AUTHENTICATING, fr.Goodbye: State.DRAINING},
            max_message_bytes=MAX_HANDSHAKE_MESSAGE_BYTES,
        ),
        State.AUTHENTICATING: Row(
            from_device=frozenset({fr.Authenticate}),
            from_relay=frozenset({fr.Ready, fr.Goodbye}),
            next={fr.Ready: State.READY, fr.Goodbye: State.DRAINING},
            max_message_bytes=MAX_HANDSHAKE_MESSAGE_BYTES,
        ),
        State.READY: Row(
            from_device=_FROM_DEVICE - _HANDSHAKE_FROM_DEVICE,
            from_relay=_FROM_RELAY - _HANDSHAKE_FROM_RELAY,
            next={fr.Goodbye: State.DRAINING},
        ),
        State.DRAINING: Row(
            from_device=frozenset(),
            from_relay=_FROM_RELAY - _HANDSHAKE_FROM_RELAY - {fr.Goodbye},
            ignores_device=True,
        ),
        State.CLOSED: Row(from_device=frozenset(), from_relay=frozenset()),
    }
)


class Connection:
    """One end's view of a connection. Frames pass through `received` and `sent` in the order of the wire."""

    __slots__ = ("_row", "_side", "_state")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._state = State.GREETING
        self._row = TABLE[State.GREETING]

    @property
    def state(self) -> State:
        return self._state

    @property
    def max_message_bytes(self) -> int:
        """How many bytes the next message of the peer may have."""
        return self._row.max_message_bytes

    def check_size(self, message: bytes) -> None:
        """Raise `WireError` (`too_big`) if this state does not take a message so large; call it first."""
        if len(message) > self._row.max_message_bytes:
            raise WireError(ErrorCode.TOO_BIG, "a message beyond its bound")

    def received(self, frame: fr.Frame | fr.Unknown) -> bool:
        """Take a frame of the peer; False: this state ignores it. Raises `WireError` (`out_of_order`)."""
        if self._side is Side.RELAY:
            return self._from_device(type(frame))
        self._from_relay(type(frame))
        return True

    def sent(self, frame: fr.Frame) -> None:
        """Note a frame of our own before it goes out; raises `WireError` (`out_of_order`) if it may not."""
        if self._side is Side.RELAY:
            self._from_relay(type(frame))
        elif not self._from_device(type(frame)):
            raise WireError(ErrorCode.OUT_OF_ORDER, "the relay no longer listens")

    def received_all(self, frames: Sequence[_F]) -> Sequence[_F]:
        """`received` for a run of frames, none of which changes the state; returns those to work on."""
        if self._state is State.READY and self._side is Side.RELAY:
            allowed = self._row.from_device
            for frame in frames:
                if type(frame) not in allowed:
                    raise WireError(ErrorCode.OUT_OF_ORDER, "not allowed in this state")
            return frames
        return [frame for frame in frames if self.received(frame)]

    def closed(self) -> None:
        """The transport is gone: nothing may pass any more."""
        self._enter(State.CLOSED)

    def _from_device(self, kind: FrameClass) -> bool:
        if self._row.ignores_device:
            return False
        if kind not in self._row.from_device:
            raise WireError(ErrorCode.OUT_OF_ORDER, "not allowed in this state")
        return True

    def _from_relay(self, kind: FrameClass) -> None:
        if kind not in self._row.from_relay:
            raise WireError(ErrorCode.OUT_OF_ORDER, "not allowed in this state")
        following = self._row.next.get(kind)
        if following is not None:
            self._enter(following)

    def _enter(self, state: State) -> None:
        self._state = state
        self._row = TABLE[state]
