"""Before its device has proved itself a connection gets a few bytes; afterwards all that is allowed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from relay.http.handshake_guard import UNPROVEN_BYTES, HandshakeGuard
from relay.wire import frames as fr
from relay.wire.codec import encode
from relay.wire.limits import MAX_HANDSHAKE_MESSAGE_BYTES
from tests.relay.http.support import Device, World


class Recorder(asyncio.Protocol):
    """What a protocol is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def data_received(self, data: bytes) -> None:
        self.told.append(len(data))

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Wire(asyncio.Transport):
    """A transport that only knows its protocol."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def guarded() -> tuple[Wire, Recorder, HandshakeGuard, list[str]]:
    recorder, overflows = Recorder(), list[str]()
    wire = Wire(recorder)
    return wire, recorder, HandshakeGuard(wire, lambda: overflows.append("overflow")), overflows


def test_what_a_handshake_takes_passes() -> None:
    _, recorder, guard, overflows = guarded()
    for _ in range(2):
        guard.data_received(bytes(MAX_HANDSHAKE_MESSAGE_BYTES))
    assert recorder.told == [MAX_HANDSHAKE_MESSAGE_BYTES] * 2
    assert overflows == []


@pytest.mark.parametrize("piece", [1, 1000, UNPROVEN_BYTES, 10**6])
def test_more_is_thrown_away_and_said_once(piece: int) -> None:
    _, recorder, guard, overflows = guarded()
    for _ in range(2 * UNPROVEN_BYTES // piece + 2):
        guard.data_received(bytes(piece))
    assert sum(recorder.told) < UNPROVEN_BYTES
    assert overflows == ["overflow"]


def test_everything_else_passes() -> None:
    _, recorder, guard, _ = guarded()
    fault = ConnectionResetError()
    guard.pause_writing()
    guard.resume_writing()
    assert guard.eof_received() is True
    guard.connection_lost(fault)
    assert recorder.told == ["pause", "resume", "eof", fault]


def test_it_stands_aside_and_only_for_itself() -> None:
    wire, recorder, guard, _ = guarded()
    assert wire.get_protocol() is guard
    guard.release()
    assert wire.get_protocol() is recorder
    other = Recorder()
    wire.set_protocol(other)
    guard.release()
    assert wire.get_protocol() is other


async def test_nobody_is_made_to_hold_a_large_message_for_a_stranger(world: World) -> None:
    async with Device.connect(world) as device:
        await device.socket.send_bytes(bytes(2 * 1024 * 1024))
        goodbye = await device.next()
        assert (type(goodbye), goodbye.code) == (fr.Goodbye, "too_big")


async def test_nor_many_small_ones(world: World) -> None:
    async with Device.connect(world) as device:
        await device.send(fr.Hello((1,), b"c" * 32))
        for _ in range(UNPROVEN_BYTES // 125 + 2):
            await device.socket.ping(bytes(125))
        codes = [frame.code for frame in await device.rest() if isinstance(frame, fr.Goodbye)]
        assert codes == ["too_big"]


async def test_the_longest_handshake_gets_in_and_then_large_messages_do(world: World) -> None:
    engagement = await world.engagement("anna")
    token = world.token("anna", filler="x" * 2600)
    assert 3500 < len(token) <= 4096
    async with Device.connect(world) as device:
        ready = await device.prove(token)
        assert isinstance(ready, fr.Ready)
        frames = [fr.Ephemeral(engagement, bytes(32 * 1024)) for _ in range(60)]
        message = encode(frames)
        assert 1_900_000 < len(message) < 2 * 1024 * 1024
        await device.socket.send_bytes(message)
        await device.send(fr.ListEngagements(1))
        assert isinstance(await device.wait_for(fr.Engagements), fr.Engagements)


async def test_a_stranger_who_leaves_early_is_forgotten(world: World) -> None:
    for _ in range(3):
        async with world.http.ws_connect("/v1/connect") as socket:
            await socket.send_bytes(encode([fr.Hello((1,), b"c" * 32)]))
            assert (await socket.receive()).type is aiohttp.WSMsgType.BINARY
    async with asyncio.timeout(30):
        while world.running.app.connect.count:  # noqa: ASYNC110 - the sockets close
            await asyncio.sleep(0)
