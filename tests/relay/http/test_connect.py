"""The websocket: who gets in, what is too much, and how it ends."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from nacl.signing import SigningKey

from relay.http import connect, server
from relay.http.server import drain
from relay.wire import frames as fr
from relay.wire.codec import decode_from_relay, encode
from relay.wire.ids import PortalId, device_id
from relay.wire.limits import MAX_HANDSHAKE_MESSAGE_BYTES, MAX_MESSAGE_BYTES
from relay.wire.proof import connect_proof_bytes
from tests.relay.http.support import OTHER, OTHER_PAGE, PAGE, PORTAL, Device, World, world_in


async def gone(world: World) -> None:
    async with asyncio.timeout(30):
        await world.running.app.connect.wait_empty()


async def test_a_device_with_a_token_gets_in(world: World) -> None:
    async with Device.connect(world) as device:
        ready = await device.prove(world.token("anna"))
        assert isinstance(ready, fr.Ready)
        assert (ready.device, ready.portal, ready.user) == (device.id, PORTAL, "anna")
    await gone(world)
    assert world.running.app.connect.count == 0


async def test_both_default_origins_are_ours(world: World) -> None:
    async with Device.connect(world) as device:
        local = world.url.replace("127.0.0.1", "localhost")
        assert isinstance(await device.prove(world.token("anna"), origin=local), fr.Ready)


async def test_a_proof_for_another_address_is_refused(world: World) -> None:
    async with Device.connect(world) as device:
        goodbye = await device.prove(world.token("anna"), origin="https://relay.example")
        assert goodbye.code == "signature_invalid"


@pytest.mark.parametrize("changes", [{"exp": 1}, {"aud": "x"}, {"sub": ""}, {"iss": OTHER}])
async def test_a_bad_token_is_refused(world: World, changes: dict[str, Any]) -> None:
    async with Device.connect(world) as device:
        goodbye = await device.prove(world.token("anna", **changes))
        assert isinstance(goodbye, fr.Goodbye)
        assert goodbye.code == "token_invalid"
        assert await device.rest() == []


async def test_keys_that_were_rotated_or_removed_end_at_once(world: World) -> None:
    token = world.token("anna")
    await world.running.relay.hub.portals.rotate(world.keys[PORTAL].record.id)
    async with Device.connect(world) as device:
        assert (await device.prove(token)).code == "token_invalid"
    token = world.token("anna", portal=OTHER)
    await world.running.relay.hub.portals.remove(world.keys[OTHER].record.id)
    async with Device.connect(world) as device:
        assert (await device.prove(token)).code == "token_invalid"


async def test_a_portal_added_while_the_relay_runs_counts_at_once(world: World) -> None:
    world.keys["third"] = await world.running.relay.hub.portals.add("third")
    async with world.device("anna", portal="third"):
        pass


# -- browsers ----------------------------------------------------------------------------------------


async def test_a_page_of_the_portal_gets_in(world: World) -> None:
    async with world.device("anna", origin=PAGE):
        pass
    async with world.device("anna", portal=OTHER, origin=OTHER_PAGE):
        pass


@pytest.mark.parametrize(
    "origin",
    [
        OTHER_PAGE,
        "null",
        "",
        "https://portal.example.evil.example",
        "http://portal.example",
        "https://portal.example:444",
        PAGE + "/",
    ],
)
async def test_a_page_of_anyone_else_does_not(world: World, origin: str) -> None:
    async with Device.connect(world, origin=origin) as device:
        goodbye = await device.prove(world.token("anna"))
        assert isinstance(goodbye, fr.Goodbye)
        assert goodbye.code == "token_invalid"


async def test_a_page_may_not_renew_with_a_token_of_another_portal(world: World) -> None:
    async with world.device("anna", origin=PAGE) as device:
        await device.send(fr.Renew(1, world.token("anna")))
        assert isinstance(await device.next(), fr.Renewed)
        await device.send(fr.Renew(2, world.token("anna", portal=OTHER)))
        assert (await device.wait_for(fr.Goodbye)).code == "token_invalid"


# -- what is no websocket of ours ----------------------------------------------------------------------


async def test_a_plain_request_is_told_to_upgrade(world: World) -> None:
    async with world.http.get("/v1/connect") as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        assert (await answer.json(content_type="application/problem+json"))["code"] == "upgrade_required"


async def test_compression_is_never_agreed(world: World) -> None:
    async with world.http.ws_connect("/v1/connect", compress=15) as socket:
        assert not socket.compress


async def test_a_text_message_is_malformed(world: World) -> None:
    async with Device.connect(world) as device:
        await device.socket.send_str("hello")
        assert (await device.next()).code == "malformed"
        assert await device.next() is None


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x93\x01", b"\x80", b"\x00" * 100])
async def test_garbage_is_malformed(world: World, message: bytes) -> None:
    async with Device.connect(world) as device:
        await device.socket.send_bytes(message)
        goodbye = await device.next()
        assert goodbye.code == "malformed"
        assert await device.next() is None


async def test_nobody_unproven_may_send_much(world: World) -> None:
    async with Device.connect(world) as device:
        await device.socket.send_bytes(bytes(MAX_HANDSHAKE_MESSAGE_BYTES + 1))
        assert (await device.next()).code == "too_big"


async def test_a_message_of_the_greatest_size_is_read(world: World) -> None:
    async with world.device("anna") as device:
        await device.socket.send_bytes(bytes(MAX_MESSAGE_BYTES))
        assert (await device.wait_for(fr.Goodbye)).code == "malformed"


async def test_a_larger_message_ends_the_connection(world: World) -> None:
    async with world.device("anna") as device:
        await device.socket.send_bytes(bytes(MAX_MESSAGE_BYTES + 2))
        assert not [frame for frame in await device.rest() if not isinstance(frame, fr.Goodbye)]
        assert device.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await gone(world)


# -- bounds ------------------------------------------------------------------------------------------


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with world_in(tmp_path, max_connections=2) as world:
        async with Device.connect(world), Device.connect(world):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with Device.connect(world):
                    pass
            assert caught.value.status == 503
            assert caught.value.headers is not None
            assert caught.value.headers["Retry-After"]
        await gone(world)
        async with Device.connect(world):
            pass


async def test_a_handshake_may_not_take_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.hub.HANDSHAKE_SECONDS", 0)
    async with Device.connect(world) as device:
        assert (await device.next()).code == "handshake_timeout"
        assert await device.next() is None


class RawSocket:
    """A websocket by hand, which reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, world: World) -> Self:
        reader, writer = await raw_connection(world)
        writer.write(
            b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    async def send(self, *frames: fr.Frame) -> None:
        message = encode(frames)
        # A mask of zeros is a mask, and changes nothing.
        self.writer.write(struct.pack("!BBH4x", 0x82, 0xFE, len(message)) + message)
        await self.writer.drain()

    async def next(self) -> Any:
        length = (await self.reader.readexactly(2))[1]
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        return decode_from_relay(await self.reader.readexactly(length))[0]

    async def prove(self, world: World, user: str) -> Any:
        key = SigningKey.generate()
        device = device_id(bytes(key.verify_key))
        await self.send(fr.Hello((1,), b"c" * 32))
        challenge = await self.next()
        proof = connect_proof_bytes(world.url, PortalId(PORTAL), device, challenge.relay_nonce, b"c" * 32)
        signature = key.sign(proof).signature
        await self.send(fr.Authenticate(world.token(user), bytes(key.verify_key), signature))
        return await self.next()


async def raw_connection(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = world.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=4096)


async def test_a_peer_that_reads_nothing_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CLOSE_SECONDS", 0.2)
    users = [f"{'u' * 60}{index:02d}" for index in range(32)]
    for _ in range(12):
        await world.engagement(*users)
    peer = await RawSocket.open(world)
    assert isinstance(await peer.prove(world, users[0]), fr.Ready)
    try:
        for request in range(1, 1000):  # each is answered with about 30 KB
            await peer.send(fr.ListEngagements(request))
    except ConnectionError:
        pass  # cut already
    await gone(world)
    peer.writer.close()


async def test_a_head_that_drips_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    async with world_in(tmp_path) as world:
        reader, writer = await raw_connection(world)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        dripping.cancel()
        await asyncio.wait([dripping])
        writer.close()


async def test_a_head_has_bounds(world: World) -> None:
    for head in (
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10_000,
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x",
        b"GET /livez HTTP/1.1\r\n" + b"".join(b"X%d: x\r\n" % number for number in range(40_000)),
    ):
        reader, writer = await raw_connection(world)
        writer.write(head + b"\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readline()).split()[1] in (b"400", b"431")
        writer.close()


# -- the end -----------------------------------------------------------------------------------------


async def test_draining_says_goodbye_and_lets_nobody_in(world: World) -> None:
    async with world.device("anna") as device, Device.connect(world) as stranger:
        await drain(world.running)
        goodbye = await device.wait_for(fr.Goodbye)
        assert goodbye.code == "draining"
        assert 0 <= goodbye.reconnect_after_ms <= 10_000
        assert await device.next() is None
        assert device.socket.close_code == aiohttp.WSCloseCode.OK
        assert (await stranger.wait_for(fr.Goodbye)).code == "draining"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with Device.connect(world):
                pass
        assert caught.value.status == 503
    assert world.running.app.connect.count == 0


async def test_draining_does_not_wait_for_a_peer_that_is_silent(tmp_path: Path) -> None:
    async with world_in(tmp_path, drain_seconds=1) as world:
        silent = await RawSocket.open(world)
        began = asyncio.get_running_loop().time()
        await drain(world.running)
        await gone(world)
        assert asyncio.get_running_loop().time() - began < 4
        silent.writer.close()
