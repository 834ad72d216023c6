"""Noise and spoiled frames at a real relay, in every state of a connection: typed errors, no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest
from nacl.signing import SigningKey

from relay.wire import frames as fr
from relay.wire.bundle import Bundle
from relay.wire.codec import decode_from_device, encode
from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import EntryKind
from relay.wire.ids import BlobId, DeviceId, EngagementId, device_id
from relay.wire.limits import MAX_MESSAGE_BYTES
from tests.relay.http.support import Device, world_in
from tests.support.real_relay import RealRelay
from tests.support.wire_client import NONCE, OPAQUE, Gone, WireClient, WirePortal

CODES = {code.value for code in ErrorCode}
WORKERS = 6  # devices that attack at once
CONNECTIONS_EACH = {"greeting": 25, "authenticating": 75, "ready": 50}
MESSAGES = 12  # spoiled ones on one connection, if it lasts so long
MEMORY_BYTES = 48 * 2**20  # what all this may add to the relay
LAST_REQUEST = 999_999
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 0.5, float("nan"), "", b"", [], {}),
    *("eng_" + "A" * 22, "\x00", "é" * 50, "x" * 5000, b"x" * 16, b"x" * 70_000, [[[[[[[[[]]]]]]]]]),
    *([0] * 600, {"a": 1}, {1: {2: {3: 4}}}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 1)),
)


@dataclass(slots=True)
class Attacker:
    """A device that is let in like any other and then sends nonsense."""

    relay: RealRelay
    user: str
    stream: EngagementId
    rng: random.Random
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    told: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> DeviceId:
        return device_id(bytes(self.key.verify_key))

    @property
    def portal(self) -> WirePortal:
        return WirePortal(self.relay.portal)

    async def attack(self) -> None:
        for state, connections in CONNECTIONS_EACH.items():
            for _ in range(connections):
                await self._attack_once(state)

    async def _attack_once(self, state: str) -> None:
        async with WireClient.dial(self.relay.url, self.key) as device:
            try:
                await self._reach(device, state)
                for _ in range(MESSAGES):
                    await device.send_bytes(spoiled(self._frame(state), self.rng))
                # In the handshake this is out of order, so that every connection has an end.
                await device.send(fr.ListEngagements(LAST_REQUEST))
                while True:
                    for frame in await device.receive():
                        self.told[self._code(frame)] += 1
                        if isinstance(frame, fr.Engagements) and frame.request == LAST_REQUEST:
                            return
            except Gone:
                return  # after a Goodbye, or in the middle of our next message

    def _code(self, frame: object) -> str:
        if isinstance(frame, fr.Goodbye | fr.Error | fr.Refused):
            return frame.code
        return type(frame).__name__

    async def _reach(self, device: WireClient, state: str) -> None:
        if state == "authenticating":
            await device.send(fr.Hello((1,), NONCE))
            await device.wait_for(fr.Challenge)
        elif state == "ready":
            answer = await device.prove(self.portal.id, self.portal.token(self.user))
            assert isinstance(answer, fr.Ready), answer

    def _frame(self, state: str) -> fr.Frame:
        handshake = (
            fr.Hello((1,), NONCE),
            fr.Authenticate(self.portal.token(self.user), bytes(32), bytes(64)),
        )
        if state != "ready" or self.rng.random() < 0.05:
            return self.rng.choice(handshake)
        stream, devices = self.stream, (self.id,)
        bundle = Bundle(adds=devices, commit=OPAQUE, welcome=OPAQUE, group_info=OPAQUE).serialize()
        return self.rng.choice(
            (
                fr.Append(stream, 1, EntryKind.MESSAGE, 1, b"body", (BlobId("A" * 22),)),
                fr.Append(stream, 2, EntryKind.MESSAGE, 1, b"body"),
                fr.Append(stream, 1, EntryKind.COMMIT, 1, bundle),
                fr.Open(1, stream, 0),
                fr.Ack(stream, 1),
                fr.Renew(2, self.portal.token(self.user)),
                fr.Ephemeral(stream, b"body"),
                fr.PublishKeyPackages(3, (b"package",), b"last"),
                fr.ClaimKeyPackages(4, stream, devices),
                fr.ListEngagements(5),
                fr.RequestBlobAccess(6, stream),
                fr.RequestIceServers(7, stream),
            )
        )


def spoiled(frame: fr.Frame, rng: random.Random) -> bytes:
    """A message that was one good frame."""
    good = encode([frame])
    way: Callable[[bytes, random.Random], bytes] = rng.choice(WAYS)
    return way(good, rng)


def _flipped(good: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(good))
    return good[:place] + bytes([good[place] ^ 1 << rng.randrange(8)]) + good[place + 1 :]


def _other_value(good: bytes, rng: random.Random) -> bytes:
    fields = msgpack.unpackb(good)
    fields[rng.randrange(len(fields))] = rng.choice(VALUES)
    return bytes(msgpack.packb(fields))


def _other_count(good: bytes, rng: random.Random) -> bytes:
    fields = msgpack.unpackb(good)
    return bytes(msgpack.packb([*fields, rng.choice(VALUES)] if rng.random() < 0.5 else fields[:-1]))


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda good, rng: rng.randbytes(rng.randrange(300)),
    lambda good, rng: good[: rng.randrange(len(good))],
    lambda good, rng: good + rng.randbytes(1 + rng.randrange(4)),
    lambda good, rng: good * rng.choice((2, 20, 513)),
    lambda good, rng: bytes(msgpack.packb([rng.choice((0, 9, 63, 64, 200, 2**40))])) + good,
    # Lengths that are promised and not kept: array, string, bin and map of 4 GiB.
    lambda good, rng: rng.choice((b"\xdd", b"\xdb", b"\xc6", b"\xdf")) + b"\xff\xff\xff\xff" + good,
    lambda good, rng: b"\x92\x0a" + b"\x91" * rng.choice((6, 5000)),
    _flipped,
    _flipped,
    _other_value,
    _other_value,
    _other_value,
    _other_count,
)


def faults_logged(relay: RealRelay) -> list[dict[str, Any]]:
    """What the relay says went wrong in itself."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in relay.log.read_text().splitlines()]
    return [line for line in lines if "error" in line]


def resident_bytes(pid: int) -> int:
    """The relay's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("seed", [1])
async def test_only_typed_errors_and_it_goes_on(relay: RealRelay, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    users = {f"user{number}": "client" for number in range(WORKERS)}
    stream = EngagementId(await relay.create_engagement(anna="coach", ben="client", **users))
    attackers = [Attacker(relay, user, stream, random.Random(rng.random())) for user in users]
    portal = WirePortal(relay.portal)
    for attacker in attackers:
        async with WireClient.connect(relay.url, portal, attacker.user, attacker.key):
            pass  # its device is known from now on
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        WireClient.connect(relay.url, portal, "ben") as ben,
    ):
        await anna.create_group(stream, (ben.id, *(attacker.id for attacker in attackers)))
        before = resident_bytes(relay.pid)
        async with asyncio.timeout(150):
            await asyncio.gather(*(attacker.attack() for attacker in attackers))
        grown = resident_bytes(relay.pid) - before
        # Both have been there all the time, and still are.
        opened = await ben.open(stream)
        assert isinstance(opened, fr.Opened)
        said = await anna.append(stream, 2, b"still here", after_commit=opened.last_commit)
        assert isinstance(said, fr.Appended)
        ((_, seq),) = said.results
        shown = await ben.read(stream, after=seq - 1, until=seq)
        assert shown[-1].body == b"still here"
    told = sum((attacker.told for attacker in attackers), Counter[str]())
    answers = {kind.__name__ for kind in fr.RELAY_FRAME_TYPES}
    print(dict(told))
    assert set(told) <= CODES | answers
    assert {"malformed", "out_of_order", "unknown_frame", "too_deep", "token_invalid"} <= set(told)
    assert "internal" not in told
    assert grown < MEMORY_BYTES
    async with aiohttp.ClientSession(relay.url) as http:
        for path in ("/livez", "/readyz"):
            async with http.get(path) as answer:
                assert answer.status == 200
    assert faults_logged(relay) == [], "no fault of its own"


def test_what_is_spoiled_is_mostly_refused() -> None:
    """The fuzz would prove nothing if its messages were good."""
    rng, refused = random.Random(0), 0
    for _ in range(1000):
        try:
            decode_from_device(spoiled(fr.Open(1, EngagementId("eng_" + "A" * 22), 0), rng))
        except WireError:
            refused += 1
    assert 500 < refused < 1000, "most are refused, and some get past the codec to the rules behind it"


def masked(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0) -> bytes:
    """A websocket frame as a client sends it (RFC 6455 section 5.2), with a mask of zeros."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + struct.pack(">H", size)
    else:
        length = b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + length + bytes(4) + payload


NO_WEBSOCKET = {
    "noise": b"\xff" * 200,
    "unmasked": b"\x82\x01x",
    "reserved bits": masked(2, b"x", reserved=4),
    "unknown opcode": masked(11, b"x"),
    "text that is no UTF-8": masked(1, b"\xff\xfe"),
    "a long ping": masked(9, bytes(200)),
    "a ping in parts": masked(9, b"x", final=False),
    "a continuation of nothing": masked(0, b"x"),
    "a message without end": masked(2, bytes(65_000), final=False)
    + masked(0, bytes(65_000), final=False) * 40,
    "a message beyond the bound": masked(2, bytes(MAX_MESSAGE_BYTES + 1)),
    "a promise of 2^63 bytes": b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4) + b"x" * 100,
    "a close in one byte": masked(8, b"x"),
}


async def test_what_is_no_websocket_ends_the_connection(relay: RealRelay) -> None:
    head = (
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    port = int(relay.url.rpartition(":")[2])
    ended = set()
    for what, nonsense in NO_WEBSOCKET.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        # A reset is an end too: it was cut while there was something left to read.
        with contextlib.suppress(ConnectionError):
            writer.write(nonsense)
            async with asyncio.timeout(150):
                await reader.read()
        ended.add(what)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert ended == set(NO_WEBSOCKET)
    async with WireClient.connect(relay.url, WirePortal(relay.portal), "anna") as anna:
        await anna.send(fr.ListEngagements(1))
        assert (await anna.wait_for(fr.Engagements)).engagements == ()
    assert faults_logged(relay) == []


async def test_a_hundred_half_open_handshakes_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of ten seconds is made nothing, so that nobody has to wait for it."""
    async with world_in(tmp_path) as world, asyncio.timeout(30):
        monkeypatch.setattr("relay.hub.hub.HANDSHAKE_SECONDS", 0)
        half_open = []
        for number in range(100):
            connection = Device.connect(world)
            device = await connection.__aenter__()
            half_open.append((connection, device))
            if number % 2:
                await device.send(fr.Hello((1,), NONCE))
        told = Counter([(await device.rest())[-1].code for _, device in half_open])
        assert told == {"handshake_timeout": 100}
        for connection, _ in half_open:
            await connection.__aexit__(None, None, None)
        await world.running.app.connect.wait_empty()
        assert world.running.relay.hub.statistics().connections == 0
        monkeypatch.undo()
        async with world.device("anna"):
            assert world.running.app.connect.count == 1
