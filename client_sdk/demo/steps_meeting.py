"""The story's beginning: an engagement, two people who join it, and who they really are."""

from __future__ import annotations

import asyncio

from client_sdk.cli.progress import megabytes
from client_sdk.demo.search import search
from client_sdk.demo.stage import Stage

READABLE = b"SQLite format 3"
"""How a database that is not encrypted begins."""


async def open_engagement(stage: Stage) -> None:
    """The portal opens the engagement at the relay."""
    engagement = await stage.portal.open_engagement()
    stage.engagement = engagement["id"]
    stage.screen.did("Portal", f"opened {stage.engagement} for the users anna (coach) and ben (client)")
    roster = {entry["user"]: entry["role"] for entry in engagement["participants"]}
    stage.check_equal(
        "the relay lists exactly these two, with these roles",
        expected={"anna": "coach", "ben": "client"},
        found=roster,
    )


async def join(stage: Stage) -> None:
    """Both join with a new vault each, and find each other."""
    for actor in (stage.anna, stage.ben):
        await actor.start()
        await actor.ask("open", name=actor.full_name, engagement=stage.engagement)
        stage.screen.did(actor.name, f"made a vault and joined as “{actor.full_name}”")
        stage.said.text("names", actor.full_name)
    expected = {actor.user: actor.full_name for actor in (stage.anna, stage.ben)}
    for actor, people in zip((stage.anna, stage.ben), await stage.both("people"), strict=True):
        stage.check_equal(
            f"{actor.name} sees exactly two people: {' and '.join(expected.values())}",
            expected=expected,
            found=people,
        )
    for actor in (stage.anna, stage.ben):
        found = await asyncio.to_thread(search, [actor.vault.parent], stage.said.needles)
        is_encrypted = not actor.vault.read_bytes().startswith(READABLE) and not found.hits
        stage.check(
            f"{actor.name}'s vault ({megabytes(found.size)}) is unreadable on the disk, the names in it too",
            is_encrypted,
            expected="no readable database, and no name in it",
            found=found.hits or "a readable database",
        )


async def compare_safety_numbers(stage: Stage) -> None:
    """Both show both numbers; they must be the same, and then each marks the other as verified."""
    anna, ben = await asyncio.gather(
        stage.anna.ask("safety", person="ben"), stage.ben.ask("safety", person="anna")
    )
    stage.screen.did("Anna", f"sees for herself {anna['own']}")
    stage.screen.did("", f"and for Ben     {anna['theirs']}")
    stage.screen.did("Ben", f"sees for Anna   {ben['theirs']}")
    stage.screen.did("", f"and for himself {ben['own']}")
    stage.check_equal("Anna's number is the same on both screens", expected=anna["own"], found=ben["theirs"])
    stage.check_equal("Ben's number is the same on both screens", expected=ben["own"], found=anna["theirs"])
    verified = await asyncio.gather(
        stage.anna.ask("verify", person="ben"), stage.ben.ask("verify", person="anna")
    )
    stage.check_equal("each now shows the other as verified", expected=[True, True], found=list(verified))
    stage.said.text("safety numbers", anna["own"], anna["theirs"])
