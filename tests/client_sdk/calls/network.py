"""A world for negotiations without I/O: devices, a lossy network, connections, a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from client_sdk.calls.messages import Message, message_body, parse_message
from client_sdk.calls.negotiation import begin, step
from client_sdk.calls.states import (
    AddCandidate,
    AnswerReady,
    ApplyAnswer,
    CallFacts,
    CloseMedia,
    Event,
    Invite,
    Invited,
    InviteStored,
    MakeAnswer,
    MakeOffer,
    MediaLost,
    MediaUp,
    Negotiation,
    OfferReady,
    OfferSent,
    Phase,
    Received,
    Role,
    Send,
    Tick,
)

CALL: Final = b"c" * 16
KINDS: Final = frozenset({"audio", "video"})
ANNA, BEN, CLARA = b"\xaa" * 32, b"\xbb" * 32, b"\xcc" * 32


def description(name: str, kinds: tuple[str, ...] = ("audio", "video")) -> str:
    """A small session description whose fingerprint is that of ``name``."""
    fingerprint = ":".join(f"{byte:02X}" for byte in sha256(name.encode()).digest())
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    for kind in kinds:
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF 96", f"a=fingerprint:sha-256 {fingerprint}", f"x={name}"]
    return "\r\n".join(lines) + "\r\n"


def nonce(name: str) -> bytes:
    return sha256(b"nonce " + name.encode()).digest()


@dataclass
class Device:
    """One device's automaton, and the work that it has asked for and that is not done yet."""

    name: str
    identity: bytes
    state: Negotiation
    work: list[MakeOffer | MakeAnswer] = field(default_factory=list)
    connection: int | None = None
    """The attempt whose connection is open."""
    ready: bool = False
    """Whether it has both descriptions."""
    told_up: bool = False
    words: dict[int, tuple[str, ...]] = field(default_factory=dict)
    alarmed: bool = False

    @property
    def id(self) -> bytes:
        return self.name.encode().ljust(16, b".")

    @property
    def phase(self) -> Phase:
        return self.state.phase


@dataclass(frozen=True)
class Flying:
    """A message on its way to one device."""

    sender: Device
    to: Device
    kind: str
    body: dict[str, object]
    authenticator: bytes


class World:
    def __init__(self, *callees: tuple[str, bytes], peer: bytes | None = BEN) -> None:
        self.now = 1000.0
        self.epoch = 1
        self.flying: list[Flying] = []
        self.sent = 0
        caller = CallFacts(
            call=CALL,
            role=Role.CALLER,
            group_id=b"group",
            own_device=b"anna".ljust(16, b"."),
            own_identity=ANNA,
            kinds=KINDS,
            peer_identity=peer,
        )
        self.caller = Device("anna", ANNA, begin(caller))
        self.callees = [self._callee(name, identity) for name, identity in callees or (("ben", BEN),)]
        self.devices = [self.caller, *self.callees]

    def _callee(self, name: str, identity: bytes) -> Device:
        facts = CallFacts(
            call=CALL,
            role=Role.CALLEE,
            group_id=b"group",
            own_device=name.encode().ljust(16, b"."),
            own_identity=identity,
            kinds=KINDS,
            peer_identity=ANNA,
            caller_device=self.caller.id,
        )
        return Device(name, identity, begin(facts))

    def invite(self) -> None:
        self.happen(self.caller, Invite())
        self.happen(self.caller, InviteStored(7))
        for callee in self.callees:
            self.happen(callee, Invited(7))

    def happen(self, device: Device, event: Event) -> None:
        was = device.phase
        device.state, actions = step(device.state, event, self.now)
        assert was is not Phase.ENDED or device.phase is Phase.ENDED, "what has ended stays ended"
        attempt = device.state.attempt
        if attempt is not None and attempt.words is not None:
            known = device.words.setdefault(attempt.number, attempt.words)
            assert known == attempt.words, "the words of an attempt never change"
        for action in actions:
            self._do(device, action)

    def _do(self, device: Device, action: object) -> None:
        match action:
            case Send(message=message):
                self._send(device, message)
                if action.offer is not None:
                    self.happen(device, OfferSent(action.offer.attempt, self.authenticator()))
            case MakeOffer() | MakeAnswer():
                device.connection, device.ready, device.told_up = None, False, False
                device.work = [action]
            case ApplyAnswer(attempt=attempt):
                assert device.connection == attempt
                device.ready = True
            case CloseMedia():
                device.connection, device.work = None, []
            case AddCandidate(candidate=candidate):
                assert device.state.attempt is not None
                assert candidate.attempt == device.state.attempt.number
            case _:
                raise AssertionError(action)

    def authenticator(self) -> bytes:
        return sha256(b"epoch %d" % self.epoch).digest()

    def _send(self, sender: Device, message: Message) -> None:
        self.sent += 1
        body = message_body(message, CALL)
        for device in self.devices:
            if device is not sender:
                self.flying.append(Flying(sender, device, message.kind, body, self.authenticator()))

    def deliver(self, flying: Flying) -> None:
        message = parse_message(flying.kind, flying.body)
        event = Received(flying.sender.id, flying.sender.identity, message, flying.authenticator)
        self.happen(flying.to, event)

    def do_work(self, device: Device) -> None:
        """The next thing that the device's connection was asked for is ready."""
        if not device.work:
            return
        work = device.work.pop(0)
        name = f"{device.name} {work.attempt}"
        device.connection = work.attempt
        match work:
            case MakeOffer():
                self.happen(device, OfferReady(work.attempt, description(name), nonce(name)))
            case MakeAnswer():
                device.ready = True
                self.happen(device, AnswerReady(work.attempt, description(name), nonce(name)))

    def media(self) -> None:
        """Connections that both sides have come up; those that one side has dropped are lost."""
        for device in self.devices:
            number = device.connection
            if number is None or not device.ready:
                continue
            others = self.callees if device is self.caller else [self.caller]
            if any(other.connection == number and other.ready for other in others):
                if not device.told_up:
                    device.told_up = True
                    self.happen(device, MediaUp(number))
            elif device.told_up:
                device.told_up = False
                self.happen(device, MediaLost(number))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for device in self.devices:
            wake_at = device.state.wake_at
            if wake_at is not None and wake_at <= self.now:
                self.happen(device, Tick())

    def settle(self, seconds: float = 200.0, tick: float = 0.5) -> None:
        """A perfect network from now on, and time enough for everything."""
        until = self.now + seconds
        while self.now < until:
            for _ in range(1000):
                if not self.flying and not any(d.work for d in self.devices):
                    break
                while self.flying:
                    self.deliver(self.flying.pop(0))
                for device in self.devices:
                    self.do_work(device)
                self.media()
            else:
                raise AssertionError("the devices never stop talking")
            self.media()
            self.pass_time(tick)

    def check(self) -> None:
        """What holds at every moment."""
        for callee in self.callees:
            for number in callee.words.keys() & self.caller.words.keys():
                assert callee.words[number] == self.caller.words[number]
        for device in self.devices:
            attempt = device.state.attempt
            if device.phase is Phase.CONNECTED:
                assert attempt is not None
                assert attempt.words is not None
                assert len(attempt.words) == 5
            assert (device.state.end is not None) == (device.phase is Phase.ENDED)
