from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import nacl.signing
import pytest

from client_sdk.errors import AccessRefused, RelayUnreachable
from client_sdk.transport import DeviceProof, Environment, Incoming, Link, LinkStatus
from client_sdk.transport.session import GoodbyeReceived
from relay.wire import decode_from_device, encode
from relay.wire import frames as fr
from relay.wire.ids import PortalId
from tests.support.fake_relay import ORIGIN, PORTAL, TOKEN_SECONDS, FakeRelay, FakeSocket
from tests.support.fake_time import FakeTime, SeededRandom, settle

KEY = nacl.signing.SigningKey(bytes(range(32)))


@dataclass
class Recorder:
    """A handler that writes down what it is told."""

    events: list[str] = field(default_factory=list)
    frames: list[Incoming] = field(default_factory=list)

    def connected(self, ready: fr.Ready) -> None:
        self.events.append("connected")

    def received(self, frames: Sequence[Incoming]) -> None:
        self.frames.extend(frames)

    def disconnected(self) -> None:
        self.events.append("disconnected")


class Setting:
    def __init__(self) -> None:
        self.time = FakeTime()
        self.relay = FakeRelay(now=self.time.now, random=SeededRandom("relay"))
        self.handler = Recorder()
        self.environment = Environment(
            now=self.time.now,
            monotonic=self.time.monotonic,
            rng=SeededRandom("device"),
            sleep=self.time.sleep,
        )
        self.link = self.make_link()

    def make_link(self, **changes: object) -> Link:
        proof = DeviceProof(
            origin=str(changes.get("origin", ORIGIN)),
            portal=PortalId(str(changes.get("portal", PORTAL))),
            device_key=bytes(KEY.verify_key),
            sign=lambda message: KEY.sign(message).signature,
        )
        return Link(self.relay.dial, proof, self.relay.token_for("anna"), self.handler, self.environment)


@pytest.fixture
async def at() -> AsyncIterator[Setting]:
    setting = Setting()
    task = asyncio.create_task(setting.link.run())
    await settle()
    yield setting
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_connects_and_brings_frames(at: Setting) -> None:
    assert at.link.online
    assert at.handler.events == ["connected"]
    request = at.link.next_request()
    at.link.send(fr.ListEngagements(request))
    await settle()
    assert at.handler.frames == [fr.Engagements(request, ())]


async def test_offline_it_refuses_to_send_and_comes_back(at: Setting) -> None:
    at.relay.lies.offline = True
    at.relay.drop_connections()
    await settle()
    assert at.handler.events == ["connected", "disconnected"]
    with pytest.raises(RelayUnreachable):
        at.link.send(fr.ListEngagements(1))
    await at.time.advance(100)
    assert not at.link.status.online
    assert isinstance(at.link.status.error, RelayUnreachable)
    at.relay.lies.offline = False
    await at.time.advance(31)
    assert at.link.status == LinkStatus(online=True)
    assert at.handler.events == ["connected", "disconnected", "connected"]


async def test_frames_of_one_moment_go_in_one_message(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[bytes] = []
    send = FakeSocket.send

    async def record(self: FakeSocket, message: bytes) -> None:
        messages.append(message)
        await send(self, message)

    monkeypatch.setattr(FakeSocket, "send", record)
    stream = at.relay.create_engagement(anna="coach", ben="client")
    for seq in (3, 7, 5):
        at.link.send(fr.Ack(stream, seq))
    at.link.send(fr.ListEngagements(1), fr.ListEngagements(2))
    await settle()
    assert [decode_from_device(message) for message in messages] == [
        [fr.ListEngagements(1), fr.ListEngagements(2), fr.Ack(stream, 7)]
    ]


async def test_what_waits_is_bounded(at: Setting) -> None:
    with pytest.raises(RelayUnreachable):
        at.link.send(*[fr.ListEngagements(1)] * 100_000)


async def test_the_token_is_renewed_before_it_expires(at: Setting) -> None:
    for _ in range(5):
        await at.time.advance(TOKEN_SECONDS * 0.9)
    assert at.handler.events == ["connected"]
    renewals = [frame for _, frame in at.relay.received if isinstance(frame, fr.Renew)]
    assert len(renewals) == 5
    assert at.handler.frames == []


@pytest.mark.parametrize("jump", [-7200.0, 7200.0], ids=["back", "ahead"])
async def test_a_clock_that_jumps_renews_no_more_and_no_less(jump: float) -> None:
    """The device was set right in the midst of a connection: the relay's clock alone counts for its token."""
    setting, wrong = Setting(), [0.0]
    setting.environment = replace(setting.environment, now=lambda: setting.time.now() + wrong[0])
    task = asyncio.create_task(setting.make_link().run())
    await settle()
    wrong[0] = jump
    for _ in range(5):
        await setting.time.advance(TOKEN_SECONDS * 0.9)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    renewals = [frame for _, frame in setting.relay.received if isinstance(frame, fr.Renew)]
    assert len(renewals) == 5


async def test_a_failing_portal_is_asked_again(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def no_token() -> str:
        nonlocal asked
        asked += 1
        raise OSError("the portal is down")

    monkeypatch.setattr(at.link, "_token", no_token)
    await at.time.advance(TOKEN_SECONDS * 0.8 + 16)
    assert asked == 4
    assert at.link.online


async def test_goodbye_names_when_to_return(at: Setting) -> None:
    (peer,) = at.relay.peers.values()
    peer.goodbye("draining", reconnect_after_ms=9_000)
    await settle()
    assert not at.link.online
    await at.time.advance(8.9)
    assert at.handler.events == ["connected", "disconnected"]
    await at.time.advance(0.2)
    assert at.handler.events == ["connected", "disconnected", "connected"]


async def test_a_relay_cannot_send_a_device_away_for_ever(at: Setting) -> None:
    (peer,) = at.relay.peers.values()
    peer.goodbye("draining", reconnect_after_ms=10**12)
    await at.time.advance(121)
    assert at.link.online


async def test_a_broken_message_ends_the_connection_only(at: Setting) -> None:
    (peer,) = at.relay.peers.values()
    peer.outbox.put_nowait(b"\xc1")
    await settle()
    assert at.handler.events == ["connected", "disconnected"]
    await at.time.advance(1)
    assert at.link.online


async def test_a_frame_of_the_handshake_is_refused_later(at: Setting) -> None:
    (peer,) = at.relay.peers.values()
    peer.outbox.put_nowait(encode([fr.Challenge(1, bytes(32))]))
    await settle()
    assert at.handler.events == ["connected", "disconnected"]


@pytest.mark.parametrize("changes", [{"origin": "https://elsewhere.test"}, {"portal": "portal-2"}])
async def test_a_proof_for_elsewhere_lets_nobody_in(changes: dict[str, object]) -> None:
    setting = Setting()
    link = setting.make_link(**changes)
    task = asyncio.create_task(link.run())
    await settle()
    assert not link.online
    assert isinstance(link.status.error, AccessRefused)
    assert link.status.error.code == "signature_invalid"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_can_be_told_to_connect_anew(at: Setting) -> None:
    at.link.reconnect()
    await settle()
    assert at.handler.events == ["connected", "disconnected"]
    at.link.reconnect()  # there is no connection to end
    await at.time.advance(1)
    assert at.handler.events == ["connected", "disconnected", "connected"]
    await at.time.advance(60)
    assert at.link.online


async def test_what_a_handler_raises_ends_the_link() -> None:
    setting = Setting()

    class Failing(Recorder):
        def connected(self, ready: fr.Ready) -> None:
            raise ZeroDivisionError

    setting.handler = Failing()
    with pytest.raises(ZeroDivisionError):
        await setting.make_link().run()
    assert setting.handler.events == ["disconnected"]


def test_nothing_secret_is_in_a_repr() -> None:
    proof = DeviceProof(origin=ORIGIN, portal=PORTAL, device_key=bytes(32), sign=lambda m: b"secret")
    assert "sign" not in repr(proof)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("device_revoked", "has removed this device"),
        ("token_revoked", "log in to your portal again"),
        ("quota_exceeded", "as many devices connected as it may"),
        ("token_invalid", "does not accept the access token"),
        ("device_limit", "On one of them, remove another"),
        ("device_foreign", "belongs to another person's account"),
        ("signature_invalid", "Check the address"),
        ("unsupported_version", "Update this program first"),
    ],
)
def test_a_person_is_told_why_they_are_out_and_what_to_do(code: str, said: str) -> None:
    error = GoodbyeReceived(fr.Goodbye(code, "", 0)).meaning()
    assert isinstance(error, AccessRefused)
    assert error.code == code
    assert said in str(error)
