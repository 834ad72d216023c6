"""README's SDK example is run as it is printed, against the real relay, a call and a file included."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aioice
import pytest

from client_sdk import CheckIn, Client, File, Text
from client_sdk.calls import Call
from client_sdk.demo.media import check_recording, make_media
from tests.support.real_relay import RealRelay

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "as long as a sentence, and only mine"

Talk = Callable[[str, Callable[[], Awaitable[str]], Callable[[], str], str], Coroutine[Any, Any, None]]


def example() -> Talk:
    """The function that README prints, made from its very text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, Any] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    talk: Talk = names["talk"]
    return talk


async def test_the_example_talks_to_a_second_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Media runs between the machine's own addresses; a machine without a network has this one alone.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    relay = RealRelay(tmp_path)
    await relay.start()
    try:
        engagement = await relay.create_engagement(anna="coach", ben="client")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "plan.pdf").write_bytes(b"%PDF- the plan" * 1000)
        running = asyncio.create_task(
            example()(relay.url, relay.token_for("anna"), lambda: PASSPHRASE, engagement)
        )
        try:
            await asyncio.wait_for(answer_as_ben(tmp_path, relay, engagement, running), 60)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await relay.stop()
    printed = capsys.readouterr().out
    assert "Ben Energy is at eight." in printed
    assert (tmp_path / "inbox" / "diary.txt").read_text() == "a good week"
    assert check_recording(tmp_path / "call.mp4").frames > 5


async def film_ends(call: Call) -> None:
    """Returns once a second of the film has gone out; what is waited for is real time."""
    while (await call.statistics()).packets_sent < 50:  # noqa: ASYNC110  a connection tells nobody
        await asyncio.sleep(0.05)


async def answer_as_ben(folder: Path, relay: RealRelay, engagement: str, anna: asyncio.Task[None]) -> None:
    make_media(folder / "ben.mp4", 3)
    (folder / "diary.txt").write_text("a good week")
    async with Client.open(
        folder / "ben.vault", passphrase=PASSPHRASE, relay=relay.url, token=relay.token_for("ben"), name="Ben"
    ) as ben:
        room = await ben.engagement(engagement)
        heard = []
        async for item in room.items():
            assert not anna.done(), anna.exception()
            heard.append(item)
            if isinstance(item, File):
                break
        assert [type(item).__mro__[2] for item in heard][:2] == [Text, CheckIn]
        await room.send("Energy is at eight.")
        await room.send_file(folder / "diary.txt")
        await room.wait_sent()
        call = await room.call(media=folder / "ben.mp4")
        await asyncio.wait_for(call.wait_connected(), 30)
        await asyncio.wait_for(film_ends(call), 20)
        await call.hang_up()
        assert call.words is not None
        assert len(call.words) == 5
