"""The relay crashes in the middle of a conversation, and nothing is lost."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any, Final

from client_sdk.demo.actors import Actor
from client_sdk.demo.stage import Stage

CRASH_PATIENCE: Final = 60.0
PACE: Final = 0.03
"""Seconds between two messages of one person, so that the crash comes while both are writing."""


async def crash(stage: Stage) -> None:
    """Both write at once, the relay is killed and started again, and everything is counted on both sides."""
    count = stage.options.crash_messages
    texts = {
        actor.name: [f"{actor.name}'s thought number {number} of {count}" for number in range(1, count + 1)]
        for actor in (stage.anna, stage.ben)
    }
    stage.said.text("messages", *chain(*texts.values()))
    seen = [len(actor.events) for actor in (stage.anna, stage.ben)]
    stage.screen.did("", f"Anna and Ben write {count} numbered messages each, both at the same time")
    writing = [asyncio.create_task(_write(actor, texts[actor.name])) for actor in (stage.anna, stage.ben)]
    await stage.anna.wait_item("a third of the messages", since=seen[0], text=texts["Ben"][count // 3])
    killed = stage.relay.pid
    await stage.relay.kill()
    stage.screen.did(
        "Relay", f"{stage.screen.marks.cut} killed (SIGKILL, process {killed}) in the middle of it"
    )
    await stage.copy_relay_files("after-the-crash")
    await asyncio.gather(*writing)
    waiting = await stage.both("outbox")
    stage.screen.did(
        "",
        f"both go on writing: {waiting[0]} messages now wait on Anna's computer, {waiting[1]} on Ben's",
    )
    await stage.relay.start()
    stage.screen.did("Relay", f"started again as process {stage.relay.pid}, with the files it had")
    await stage.both("wait_sent", patience=CRASH_PATIENCE)
    for actor, other in ((stage.anna, "Ben"), (stage.ben, "Anna")):
        last = texts[other][-1]
        await actor.wait_item(f"{other}'s last message", text=last, patience=CRASH_PATIENCE)
    await _compare(stage, texts)


async def _write(actor: Actor, texts: list[str]) -> None:
    for words in texts:
        await actor.ask("send", text=words)
        await asyncio.sleep(PACE)


async def _compare(stage: Stage, texts: dict[str, list[str]]) -> None:
    histories: list[list[dict[str, Any]]] = await stage.both("history")
    everything = set(chain(*texts.values()))
    anna, ben = (
        [item["text"] for item in history if item.get("text") in everything] for history in histories
    )
    for actor, found in ((stage.anna, anna), (stage.ben, ben)):
        stage.check_equal(
            f"{actor.name} has all {len(everything)} messages, each exactly once",
            expected=sorted(everything),
            found=sorted(found),
        )
    stage.check_equal("both see them in the same order", expected=anna, found=ben)
    for name, words in texts.items():
        stage.check_equal(
            f"{name}'s messages are in the order they were written",
            expected=words,
            found=[text for text in anna if text in set(words)],
        )
    whole = [[item["id"] for item in history] for history in histories]
    stage.check_equal(
        f"the whole history, {len(whole[0])} items since the beginning, is the same on both sides",
        expected=whole[0],
        found=whole[1],
    )
