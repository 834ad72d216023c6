"""A connection whose network has gone is given up at once, not when half a minute has passed."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from client_sdk.transport import WebSocketDial, network
from client_sdk.transport import socket as websocket
from client_sdk.transport.network import has_moved

NOT_OURS = ("192.0.2.77", 5000)  # RFC 5737: no machine has it
HERE = ("127.0.0.1", 5000)


def test_an_address_that_is_still_ours_and_one_that_is_not() -> None:
    assert not has_moved(HERE, HERE)
    assert has_moved(NOT_OURS, HERE)


def test_a_network_that_forbids_udp_is_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "forbidden")

    monkeypatch.setattr(socket.socket, "connect", forbid)
    assert not has_moved(HERE, HERE)


async def test_a_machine_that_has_no_socket_left_keeps_its_connection_and_can_close_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "NETWORK_SECONDS", 0.01)
    asked = asyncio.Event()

    def refuse(*_arguments: object) -> socket.socket:
        asked.set()
        raise OSError(errno.EMFILE, "too many open files")

    server, told = await quiet_server(), list[int]()
    async with server, aiohttp.ClientSession() as http, asyncio.timeout(30):
        connection = await WebSocketDial(http, str(server.make_url("/")), moved=lambda: told.append(1))()
        with monkeypatch.context() as machine:
            machine.setattr(network, "socket", FewSockets(refuse))
            await asked.wait()
            await connection.send(b"still here")
            await connection.close()
    assert told == []


class FewSockets:
    """The module `socket` of a machine that gives none away."""

    AF_INET, AF_INET6, SOCK_DGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_DGRAM

    def __init__(self, refuse: Callable[..., socket.socket]) -> None:
        self.socket = refuse


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_of_ipv6_too() -> None:
    assert has_moved(("2001:db8::77", 5000, 0, 0), ("2001:db8::1", 5000, 0, 0))


async def quiet_server() -> TestServer:
    async def accept(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.receive()
        return answer

    app = web.Application()
    app.router.add_get("/", accept)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_it_is_told_once_and_the_connection_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "NETWORK_SECONDS", 0.01)
    server, moved = await quiet_server(), asyncio.Event()
    told: list[int] = []

    def heard() -> None:
        told.append(1)
        moved.set()

    async with server, aiohttp.ClientSession() as http:
        connection = await WebSocketDial(http, str(server.make_url("/")), moved=heard)()
        monkeypatch.setattr(websocket, "has_moved", lambda local, peer: True)
        async with asyncio.timeout(30):
            await moved.wait()
            await connection.close()
    assert told == [1]


async def test_a_connection_that_broke_because_of_it_tells_when_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, told = await quiet_server(), list[int]()
    async with server, aiohttp.ClientSession() as http:
        connection = await WebSocketDial(http, str(server.make_url("/")), moved=lambda: told.append(1))()
        monkeypatch.setattr(websocket, "has_moved", lambda local, peer: True)
        await connection.close()
        assert told == [1]


async def test_one_that_stays_where_it_is_tells_nothing() -> None:
    server, told = await quiet_server(), list[int]()
    async with server, aiohttp.ClientSession() as http:
        connection = await WebSocketDial(http, str(server.make_url("/")), moved=lambda: told.append(1))()
        await connection.close()
    assert told == []
