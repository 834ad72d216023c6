"""Microphone, camera and screen: seen and heard on the other side, and explained where they cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser import marks
from tests.browser.calling import (
    ARGUMENTS,
    CallStage,
    connected,
    pair,
)
from tests.browser.embedded import browser_with
from tests.browser.stage import PATIENCE

pytestmark = [*marks.in_chromium(), pytest.mark.timeout(240)]


# What Chromium itself says where nobody allows anything, and where there is no camera.
REFUSED = "--use-fake-ui-for-media-stream=deny"
NO_CAMERA = "--use-fake-device-for-media-stream=device-count=0"


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere(calls: CallStage, request: pytest.FixtureRequest) -> AsyncIterator[CallStage]:
    """Pages in such a browser."""
    async with browser_with(*ARGUMENTS, request.param) as chromium:
        yield CallStage(calls.relay, calls.portal, chromium, calls.vaults)


async def pair_here(calls: CallStage, elsewhere: CallStage, here: str, there: str) -> None:
    """Two people in two browsers, who have met."""
    engagement = await calls.relay.create_engagement(**{here: "coach", there: "client"})
    await asyncio.gather(calls.ready(here, engagement), elsewhere.ready(there, engagement))
    await calls.say(here, "hello")
    await elsewhere.hears(there, "hello")


@pytest.mark.parametrize("elsewhere", [REFUSED], indirect=True, ids=["refused"])
async def test_who_allows_neither_microphone_nor_camera_reads_where_to_allow_them(
    calls: CallStage, elsewhere: CallStage
) -> None:
    async with asyncio.timeout(PATIENCE):
        await pair_here(calls, elsewhere, "anna", "ben")
        await calls.call("anna")
        await elsewhere.accept("ben")
        await asyncio.gather(calls.is_in("anna", "connected"), elsewhere.is_in("ben", "connected"))
        stands = await elsewhere.stands("ben")
        assert (stands["camera"], stands["microphone"]) == (False, False)
        trouble = stands["trouble"]
        assert trouble["code"] == "call_microphone_refused"
        assert trouble["message"].startswith("The microphone and the camera are not allowed for this page.")
        assert trouble["message"].endswith("The others neither hear nor see you.")
        await elsewhere.perceives("ben")  # the call goes on: the other one is seen and heard
        await elsewhere.chromium.run("ben", "await window.call.shareScreen(true)")
        stands = await elsewhere.stands("ben")
        assert (stands["screen"], stands["trouble"]["code"]) == (False, "call_screen_refused")
        assert "No screen was chosen" in stands["trouble"]["message"]
        await calls.chromium.run("anna", "await window.call.hangUp()")
        await elsewhere.is_in("ben", "ended")


@pytest.mark.parametrize("elsewhere", [NO_CAMERA], indirect=True, ids=["no camera"])
async def test_who_has_no_camera_is_told_and_heard(calls: CallStage, elsewhere: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        await pair_here(calls, elsewhere, "carl", "dora")
        await elsewhere.call("dora")
        await calls.accept("carl")
        await asyncio.gather(calls.is_in("carl", "connected"), elsewhere.is_in("dora", "connected"))
        stands = await elsewhere.stands("dora")
        assert (stands["camera"], stands["microphone"]) == (False, True)
        assert stands["trouble"] == {
            "code": "call_camera_missing",
            "message": "No camera was found. Connect one, and switch it on here. The others do not see you.",
        }
        await elsewhere.perceives("dora")
        await calls.perceives("carl", pictures=0)
        await calls.chromium.run("carl", "await window.call.hangUp()")
        await elsewhere.is_in("dora", "ended")


IN_USE = """
const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  if (wanted.video && !window.free) throw new DOMException("", "NotReadableError");
  return real(wanted);
};
"""


async def test_a_camera_that_another_program_has_is_switched_on_later(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        olga, paul = await pair(calls, "olga", "paul")
        await calls.chromium.run(olga, IN_USE)
        await connected(calls, olga, paul)
        stands = await calls.stands(olga)
        assert (stands["camera"], stands["microphone"]) == (False, True)
        assert stands["trouble"]["code"] == "call_camera_busy"
        assert "another program may be using it" in stands["trouble"]["message"]
        await calls.perceives(paul, pictures=0)
        await calls.chromium.run(olga, "window.free = true; await window.call.setCamera(true)")
        stands = await calls.stands(olga)
        assert (stands["camera"], stands["trouble"]) == (True, None)
        await calls.perceives_anew(paul)


FORBIDS = {"Permissions-Policy": "camera=(), microphone=(), display-capture=()"}


async def test_a_page_that_forbids_camera_and_microphone_says_so(calls: CallStage) -> None:
    calls.portal.headers["uma"] = FORBIDS
    async with asyncio.timeout(PATIENCE):
        uma, vera = await pair(calls, "uma", "vera")
        await connected(calls, vera, uma)
        trouble = (await calls.stands(uma))["trouble"]
        assert trouble["code"] == "call_microphone_blocked"
        needed = "the header Permissions-Policy of this page must forbid neither “microphone” nor “camera”"
        assert needed in trouble["message"]
        await calls.perceives(uma)  # the call goes on: the other one is seen and heard
        await calls.chromium.run(uma, "await window.call.shareScreen(true)")
        trouble = (await calls.stands(uma))["trouble"]
        assert trouble["code"] == "call_screen_blocked"
        assert "must not forbid “display-capture”" in trouble["message"]
        await calls.chromium.run(vera, "await window.call.hangUp()")
        await calls.is_in(uma, "ended")


# A screen that is violet all over; what is chosen in the browser's own dialogue is a stand-in for it.
VIOLET = """
const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
const drawn = canvas.getContext("2d");
let at = 0;
setInterval(() => {
  at = (at + 7) % 320;
  drawn.fillStyle = "rgb(220, 0, 220)";
  drawn.fillRect(0, 0, 320, 180);
  drawn.fillStyle = "rgb(150, 0, 150)"; // a bar that wanders, so that each picture is another one
  drawn.fillRect(at, 0, 40, 180);
}, 50);
navigator.mediaDevices.getDisplayMedia = async () => (window.shared = canvas.captureStream(20));
"""
# Which colour the picture that arrives has, as the middle of it shows.
COLOUR = """
window.colour = () => {
  const video = [...document.querySelectorAll("video")].findLast((one) => one.readyState > 1);
  const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 12 });
  const drawn = canvas.getContext("2d");
  drawn.drawImage(video, 0, 0, 16, 12);
  const [red, green, blue] = drawn.getImageData(2, 8, 1, 1).data;
  if (red > 120 && blue > 120 && green < 90) return "violet";
  return green > 90 && red < 90 ? "green" : [red, green, blue].join();
};
"""


async def test_the_other_one_sees_the_screen_and_then_the_camera_again(calls: CallStage) -> None:
    run = calls.chromium.run
    async with asyncio.timeout(PATIENCE):
        rosa, sven = await pair(calls, "rosa", "sven")
        await connected(calls, rosa, sven)
        await calls.perceives(sven)
        await run(sven, COLOUR)
        await calls.until(sven, "window.colour() === 'green'")  # what the fake camera shows
        await run(rosa, VIOLET + "await window.call.shareScreen(true)")
        stands = await calls.stands(rosa)
        assert (stands["screen"], stands["camera"], stands["trouble"]) == (True, True, None)
        await calls.until(sven, "window.colour() === 'violet'")
        await calls.perceives_anew(sven)  # it moves, and she is heard meanwhile
        await run(sven, COLOUR)
        await run(rosa, "await window.call.shareScreen(false)")
        assert (await calls.stands(rosa))["screen"] is False
        await calls.until(sven, "window.colour() === 'green'")
        # Stopped by the browser's own button: the track ends by itself.
        await run(rosa, "await window.call.shareScreen(true)")
        await calls.until(sven, "window.colour() === 'violet'")
        await run(rosa, "window.shared.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
        stands = await calls.stands(rosa)
        assert (stands["screen"], stands["camera"], stands["trouble"]) == (False, True, None)
        await calls.until(sven, "window.colour() === 'green'")
        await calls.calm(rosa, sven)


async def test_the_screen_that_chromium_itself_gives_is_what_goes_out(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        tina, udo = await pair(calls, "tina", "udo")
        await connected(calls, tina, udo)
        sent = "window.call.local.getVideoTracks().map((one) => one.getSettings().displaySurface)"
        assert await calls.chromium.run(tina, f"return {sent}") == [None]
        await calls.chromium.run(tina, "await window.call.setCamera(false)")
        await calls.chromium.run(tina, "await window.call.shareScreen(true)")
        assert await calls.chromium.run(tina, f"return {sent}") == ["monitor"]
        await calls.perceives(udo)
        assert (await calls.stands(tina))["camera"] is False
        await calls.chromium.run(tina, "await window.call.shareScreen(false)")
        assert await calls.chromium.run(tina, f"return {sent}") == []
