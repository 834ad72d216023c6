"""Anna's line: it counts, and stops at the byte it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from client_sdk.demo.line import HOST, Line


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(1000):
            writer.write(block)
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def line(echo: int) -> AsyncIterator[Line]:
    line = Line(echo)
    await line.open()
    yield line
    await line.close()


async def talk(line: Line, words: bytes) -> bytes:
    """What comes back for `words`, until the connection ends or all are back."""
    reader, writer = await asyncio.open_connection(HOST, int(line.url.rpartition(":")[2]))
    writer.write(words)
    heard = b""
    while len(heard) < len(words) and (block := await reader.read(1000)):
        heard += block
    writer.close()
    return heard


async def test_it_passes_everything_on_and_counts_it(line: Line) -> None:
    assert await talk(line, b"a" * 5000) == b"a" * 5000
    assert line.sent == 5000


async def test_it_stops_at_the_byte(line: Line) -> None:
    await talk(line, b"a" * 100)
    line.stop_after(3000)
    assert len(await talk(line, b"b" * 5000)) <= 3000
    await line.stopped.wait()
    assert line.sent == 3100


async def test_it_stays_stopped_until_it_is_resumed(line: Line) -> None:
    line.stop_after(0)
    assert await talk(line, b"lost") == b""
    line.resume()
    assert await talk(line, b"heard") == b"heard"


async def test_a_relay_that_is_down_ends_the_connection(unused_tcp_port: int) -> None:
    line = Line(unused_tcp_port)
    await line.open()
    assert await talk(line, b"anybody there?") == b""
    await line.close()
