"""The version before and this one, side by side on one Redis, and one after the other on one data folder.

The version before is the newest tag `v*` that is not this commit; PREVIOUS_VERSION names another commit.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from client_sdk import Client, Engagement, Text
from client_sdk.calls import CallSettings, Outcome, Phase
from tests.nodes.people import all_said, compare, conversations, in_the_middle
from tests.nodes.relays import relays
from tests.nodes.test_calls import PATIENCE as CALL_SECONDS
from tests.nodes.test_calls import Held, heard, ring, two_at_two_nodes
from tests.support import real_redis as redis
from tests.support.real_relay import RealRelay

pytestmark = pytest.mark.timeout(400)
needs_redis = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
ROOT: Final = Path(__file__).resolve().parents[2]
LINES: Final = 60
PACE: Final = 0.1
PAIRS: Final = 3
PATIENCE: Final = 200.0


def _git(*words: str) -> str:
    """What git says; nothing where this is no checkout, or it has no such thing."""
    try:
        said = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return said.stdout.decode().strip() if said.returncode == 0 else ""


def _previous() -> str:
    """The version before, as git names it; empty if there is none."""
    named = os.environ.get("PREVIOUS_VERSION", "")
    if named:
        return named
    here = _git("rev-parse", "HEAD")
    tags = _git("tag", "--list", "v*", "--sort=-version:refname").split()
    return next((tag for tag in tags if _git("rev-list", "-n", "1", tag) != here), "")


def _where_from(code: Path) -> Path:
    """Where Python finds the relay that is run in that folder, with all that it needs of other packages."""
    asking = (
        "import relay, relay.cli.main, relay.cli.serve, relay.http, relay.store.redis; print(relay.__file__)"
    )
    said = subprocess.run([sys.executable, "-c", asking], cwd=code, capture_output=True, check=False)
    if said.returncode != 0:
        pytest.skip(f"the version before needs packages that are not here: {said.stderr.decode()[-200:]}")
    return Path(said.stdout.decode().strip())


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the relay of the version before."""
    version = _previous()
    if not version:
        pytest.skip(
            "there is no earlier version here: no tag v* but this commit's (PREVIOUS_VERSION names one)"
        )
    code = tmp_path_factory.mktemp("previous")
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", version, "relay"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(code, filter="data")
    assert _where_from(code).is_relative_to(code), "the relay of that folder runs, not this one"
    return code


@needs_redis
async def test_nodes_of_both_versions_serve_one_conversation_and_roll_forth_and_back(
    previous: Path, tmp_path: Path
) -> None:
    with redis.real_redis(redis.Standalone) as servers:
        async with relays(tmp_path, [servers.url] * 2, codes=[previous]) as relay:
            talkers = await conversations(relay, PAIRS, lines=LINES, pace=PACE)
            talking = asyncio.create_task(all_said(talkers, within=PATIENCE))
            try:
                await in_the_middle(talkers, talking)
                first, second = relay.nodes
                for node, code in ((first, None), (second, previous), (first, previous), (second, None)):
                    node.code = code
                    await relay.restart(node)
                await talking
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
            compare(talkers)
            assert min(talker.connections for talker in talkers) > 1, "everybody met both versions"


@needs_redis
async def test_people_at_nodes_of_different_versions_hear_each_other(previous: Path, tmp_path: Path) -> None:
    settings = CallSettings(loopback=True)
    async with (
        asyncio.timeout(CALL_SECONDS),
        two_at_two_nodes(tmp_path, bens=settings, codes=[previous]) as (_relay, room, theirs),
    ):
        await room.send("From the version before.")
        await heard(theirs, "From the version before.")
        await theirs.send("From this one.")
        await heard(room, "From this one.")


@needs_redis
@pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])
async def test_a_call_is_negotiated_while_its_nodes_change_their_version(
    previous: Path, tmp_path: Path, forth: bool
) -> None:
    before, after = (previous, None) if forth else (None, previous)
    held = Held()
    bens = CallSettings(loopback=True, ice_servers=held.servers)
    async with (
        asyncio.timeout(CALL_SECONDS),
        two_at_two_nodes(tmp_path, bens=bens, codes=[before] * 2) as (relay, room, theirs),
    ):
        call = await room.call(video=False)
        taken = await (await ring(theirs)).accept()
        await held.asked.wait()  # the offer has come, and the answer has not gone
        first, second = relay.nodes
        first.code = second.code = after
        await relay.restart(first)
        assert {call.state, taken.state} == {Phase.CONNECTING}
        restarting = asyncio.create_task(relay.restart(second))
        held.released.set()
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        await restarting
        assert call.words == taken.words
        await call.hang_up()
        assert (await taken.ended()).outcome is Outcome.ANSWERED


def _person(relay: RealRelay, folder: Path, user: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(
        folder / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.token_for(user),
        name=user.capitalize(),
    )


async def test_a_data_folder_of_the_version_before_is_taken_over(previous: Path, tmp_path: Path) -> None:
    relay = RealRelay(tmp_path, code=previous)
    try:
        await relay.start()
        engagement = await relay.create_engagement(anna="coach", ben="client")
        async with asyncio.timeout(PATIENCE), _person(relay, tmp_path, "anna") as anna:
            async with _person(relay, tmp_path, "ben") as ben:
                room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
                await asyncio.gather(room.wait_joined(), theirs.wait_joined())
            await room.send("While Ben was away.")
            await room.wait_sent()
            await relay.stop()
            relay.code = None
            await relay.start()
            async with _person(relay, tmp_path, "ben") as ben:
                theirs = await ben.engagement(engagement)
                await heard(theirs, "While Ben was away.")
                await theirs.send("And now.")
                await heard(room, "And now.")
                assert await _texts(theirs) == await _texts(room) == ["And now.", "While Ben was away."], (
                    "the newest first"
                )
                await asyncio.gather(room.wait_sent(), theirs.wait_sent())  # they would raise an alarm
    finally:
        await relay.kill()


async def _texts(room: Engagement) -> list[str]:
    return [item.text for item in await room.history() if isinstance(item, Text)]
