"""Calls with a page in a real Chromium: pictures that move and sound that is heard, on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client_sdk import CallEnded
from client_sdk.calls import CallSettings, Outcome
from tests.browser import marks
from tests.browser.calling import (
    ARGUMENTS,
    HEARD,
    PAGE,
    CallStage,
    check,
    connected,
    enough,
    met,
    pair,
    rings,
    staged,
)
from tests.browser.conftest import Browsers
from tests.browser.stage import PATIENCE, next_of
from tests.support.coturn import LOOPBACK, Coturn, coturn_process, requires_coturn

pytestmark = [*marks.in_chromium(), pytest.mark.timeout(240)]


async def test_a_page_calls_the_python_sdk(calls: CallStage, tmp_path: Path, film: Path) -> None:
    engagement = await calls.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), calls.caller("anna", CallSettings(loopback=True)) as anna:
        room = await anna.engagement(engagement)
        ben = await calls.ready("ben", engagement)
        await met(room, calls, ben)
        await calls.call(ben)
        rung = await rings(room)
        assert (rung.sender.user, rung.media) == ("ben", ("audio", "video"))
        taken = await rung.accept(media=film, record=tmp_path / "came.mp4")
        await taken.wait_connected()
        stands = await calls.is_in(ben, "connected")
        assert (stands["user"], stands["trouble"]) == ("anna", None)
        assert tuple(stands["words"]) == taken.words
        assert len(stands["words"]) == 5
        await calls.perceives(ben)
        await enough(taken)
        await calls.chromium.run(ben, "await window.call.wordsMatch()")
        people = await calls.chromium.run(ben, "return window.room.people()")
        assert {one["user"]: one["trust"] for one in people} == {"anna": "verified", "ben": "me"}
        await calls.chromium.run(ben, "await window.call.hangUp()")
        assert (await taken.ended()).outcome is Outcome.ANSWERED
        stands = await calls.is_in(ben, "ended")
        assert stands["ended"] == {"code": "call_over", "message": "You ended the call."}
        shown = await next_of(aiter(room.items()), CallEnded)
        assert (shown.outcome, shown.answered_by) == ("answered", "anna")
        await check(tmp_path / "came.mp4")
        await calls.calm(ben)


async def test_the_python_sdk_calls_a_page(calls: CallStage, tmp_path: Path, film: Path) -> None:
    engagement = await calls.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE), calls.caller("carl", CallSettings(loopback=True)) as carl:
        room = await carl.engagement(engagement)
        dora = await calls.ready("dora", engagement)
        await met(room, calls, dora)
        call = await room.call(media=film, record=tmp_path / "came.mp4")
        await calls.until(dora, "window.rung")
        await calls.accept(dora)
        await call.wait_connected()
        stands = await calls.is_in(dora, "connected")
        assert tuple(stands["words"]) == call.words
        assert await calls.until(dora, "window.over") == "You answered."
        await asyncio.gather(calls.perceives(dora), enough(call))
        await call.hang_up()
        stands = await calls.is_in(dora, "ended")
        assert stands["ended"] == {"code": "call_over", "message": "Carl ended the call."}
        await check(tmp_path / "came.mp4")
        ended = await calls.until(
            dora, "(await window.room.history()).find((item) => item.kind === 'call.ended')"
        )
        assert (ended["outcome"], ended["missed"]) == ("answered", False)
        await calls.calm(dora)


async def test_two_pages_see_and_hear_each_other_and_do_all_that_one_does_in_a_call(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        eva, finn = await pair(calls, "eva", "finn")
        await connected(calls, eva, finn)
        await asyncio.gather(calls.perceives(eva), calls.perceives(finn))
        words = [(await calls.stands(page))["words"] for page in (eva, finn)]
        assert words[0] == words[1]
        assert len(words[0]) == 5
        assert await calls.until(eva, "window.call.quality !== 'unknown' && window.call.quality") == "good"
        run = calls.chromium.run
        # Microphone: from the moment on nothing is heard; and again.
        await run(eva, "await window.call.setMicrophone(false)")
        await calls.until(
            finn,
            "(await new Promise((done) => { window.found.loudest = 0; setTimeout(done, 2500); }),"
            "window.found.loudest < 0.0005)",
        )
        await run(eva, "await window.call.setMicrophone(true)")
        await calls.until(finn, "window.found.loudest > limit", limit=HEARD)
        # Camera: its light goes out, and no picture comes any more.
        await run(eva, "await window.call.setCamera(false)")
        stands = await calls.stands(eva)
        assert (stands["camera"], stands["microphone"]) == (False, True)
        assert await run(eva, "return window.call.local.getVideoTracks().length") == 0
        await run(eva, "await window.call.setCamera(true)")
        await run(finn, "window.found.pictures.clear()")
        await calls.perceives(finn)
        # Screen, in the place of the camera, and back.
        await run(eva, "await window.call.shareScreen(true)")
        assert (await calls.stands(eva))["screen"] is True
        await run(eva, "await window.call.shareScreen(false)")
        stands = await calls.stands(eva)
        assert (stands["screen"], stands["camera"], stands["trouble"]) == (False, True, None)
        await run(finn, "window.found.pictures.clear()")
        await calls.perceives(finn)
        # Devices: the fake ones have names, and another can be chosen.
        devices = await run(eva, "return window.call.devices()")
        kinds = {one["kind"] for one in devices}
        assert {"audioinput", "videoinput"} <= kinds
        other = next(one for one in devices if one["kind"] == "audioinput" and not one["chosen"])
        await run(eva, "await window.call.choose('audioinput', id)", id=other["id"])
        devices = await run(eva, "return window.call.devices()")
        assert [one["id"] for one in devices if one["kind"] == "audioinput" and one["chosen"]] == [
            other["id"]
        ]
        await run(finn, "await window.call.hangUp()")
        stands = await calls.is_in(eva, "ended")
        assert stands["ended"]["message"] == "Finn ended the call."
        assert await run(eva, "return window.call.local") is None
        await calls.calm(eva, finn)


async def test_declined_cancelled_and_both_at_once(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await pair(calls, "kim", "leo")
        run = calls.chromium.run
        await calls.call(kim, video=False)
        rung = await calls.until(leo, "window.rung && ({ user: window.rung.user, media: window.rung.media })")
        assert rung == {"user": "kim", "media": ["audio"]}
        await run(leo, "await window.rung.decline()")
        assert await calls.until(leo, "window.over") == "You declined."
        stands = await calls.is_in(kim, "ended")
        assert stands["ended"] == {"code": "call_declined", "message": "Leo declined."}
        await run(leo, "window.rung = window.over = undefined")
        await calls.call(kim, video=False)
        await calls.until(leo, "window.rung")
        await run(kim, "await window.call.hangUp()")
        assert await calls.until(leo, "window.over") == "Kim does not call any more. You missed the call."
        stands = await calls.is_in(kim, "ended")
        assert stands["ended"]["message"] == "You ended the call."
        missed = await calls.until(
            leo, "(await window.room.history()).findLast((item) => item.kind === 'call.ended' && item.missed)"
        )
        assert missed["outcome"] == "cancelled"
        await run(leo, "window.rung = undefined")
        with calls.relay.mute():  # neither hears of the other's call before both have called
            await asyncio.gather(calls.call(kim, video=False), calls.call(leo, video=False))
        gave_way = {
            asyncio.ensure_future(
                calls.until(page, "window.call.ended?.code === 'call_glare' && who", who=page)
            )
            for page in (kim, leo)
        }
        done, waiting = await asyncio.wait(gave_way, return_when=asyncio.FIRST_COMPLETED)
        loser = done.pop().result()
        winner = leo if loser == kim else kim
        for other in waiting:
            other.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await calls.accept(loser, video=False)
        await asyncio.gather(calls.is_in(winner, "connected"), calls.is_in(loser, "connected"))
        await run(winner, "await window.call.hangUp()")
        await calls.is_in(loser, "ended")
        await calls.calm(kim, leo)


# By a TURN server alone

ONLY = """
const { createCoachRelay } = await import("/coach-relay.js");
const parameters = new URLSearchParams(location.search);
const tokenProvider = async () => (await fetch("/token?user=" + parameters.get("user"))).text();
const options = { url: parameters.get("relay"), tokenProvider, name: "Sven", relayOnlyCalls: true };
window.relay = await createCoachRelay(options);
window.room = await window.relay.engagement(parameters.get("engagement"));
"""


@pytest_asyncio.fixture(loop_scope="session")
async def turned(tmp_path: Path, browsers: Browsers) -> AsyncIterator[tuple[CallStage, Coturn]]:
    folder = tmp_path / "turned"
    folder.mkdir()
    async with coturn_process(folder, *LOOPBACK) as coturn:
        url = coturn.urls[0]
        settings = {"COACH_RELAY_TURN_URLS": url, "COACH_RELAY_TURN_SECRET": coturn.secret}
        async with staged(folder, await browsers(*ARGUMENTS), settings) as made:
            yield made, coturn
            await made.chromium.forget()


@requires_coturn
async def test_a_call_through_coturn_alone(
    turned: tuple[CallStage, Coturn], tmp_path: Path, film: Path
) -> None:
    stage, coturn = turned
    engagement = await stage.relay.create_engagement(rita="coach", sven="client")
    settings = CallSettings(loopback=True, relay_only=True)
    async with asyncio.timeout(PATIENCE), stage.caller("rita", settings) as rita:
        room = await rita.engagement(engagement)
        sven = await stage.page("sven", engagement)
        await stage.chromium.run(sven, ONLY)
        await stage.chromium.run(sven, PAGE)
        await met(room, stage, sven)
        call = await room.call(media=film, record=tmp_path / "came.mp4")
        await stage.accept(sven)
        await call.wait_connected()
        assert call.path == "relay"
        await asyncio.gather(stage.perceives(sven), enough(call))
        await call.hang_up()
        await stage.is_in(sven, "ended")
        await check(tmp_path / "came.mp4")
        assert "realm" in coturn.output.read_text() or coturn.output.stat().st_size > 0
