"""A call goes on: over another network, without the relay, and when one of the two reloads the page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client_sdk.calls import CallSettings
from tests.browser import marks
from tests.browser.calling import (
    CallStage,
    check,
    connected,
    enough,
    met,
    pair,
    rings,
)
from tests.browser.stage import PATIENCE

pytestmark = [*marks.in_chromium(), pytest.mark.timeout(240)]


async def test_another_network_another_attempt(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        gus, hana = await pair(calls, "gus", "hana")
        await connected(calls, gus, hana)
        before = (await calls.stands(gus))["words"]
        for page in (gus, hana):  # as the caller, and as the one who was called
            await calls.chromium.run(page, "window.dispatchEvent(new Event('online'))")
            for each in (gus, hana):
                await calls.other_words(each, before)
            stands = [await calls.stands(one) for one in (gus, hana)]
            assert stands[0]["words"] == stands[1]["words"]
            before = stands[0]["words"]
        await asyncio.gather(calls.perceives_anew(gus), calls.perceives_anew(hana))
        await calls.chromium.run(gus, "await window.call.hangUp()")
        await calls.is_in(hana, "ended")


async def test_a_call_outlives_the_relay(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        ida, jan = await pair(calls, "ida", "jan")
        await connected(calls, ida, jan)
        await calls.perceives(jan)
        await calls.relay.kill()
        await calls.chromium.run(jan, "window.found.pictures.clear(); window.found.loudest = 0")
        await calls.perceives(jan)
        assert (await calls.stands(jan))["state"] == "connected"
        await calls.relay.start()
        words = (await calls.stands(ida))["words"]
        await calls.until(jan, "window.relay.online")
        await calls.until(ida, "window.relay.online")
        await calls.chromium.run(ida, "window.dispatchEvent(new Event('online'))")
        await calls.other_words(jan, words)
        await calls.perceives_anew(jan)
        await calls.chromium.run(ida, "await window.call.hangUp()")
        stands = await calls.is_in(jan, "ended")
        assert stands["ended"]["code"] == "call_over"


async def test_a_page_that_is_reloaded_while_it_rings_rings_again(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await pair(calls, "mia", "nils")
        await calls.call(mia, video=False)
        await calls.until(nils, "window.rung")
        await calls.reload(nils, "nils")
        await calls.accept(nils, video=False)
        await asyncio.gather(calls.is_in(mia, "connected"), calls.is_in(nils, "connected"))


async def leave(calls: CallStage, page: str, other: str) -> None:
    """The page is reloaded in mid-call: the other one knows, and the new page offers to return."""
    await calls.reload(page, page)
    await asyncio.gather(calls.is_in(other, "reconnecting"), calls.until(page, "window.rung?.returns"))


async def ended_once(calls: CallStage, *pages: str) -> None:
    """The conversation says that the call is over, and how long it was."""
    for page in pages:
        ended = "(await window.room.history()).filter((item) => item.kind === 'call.ended')"
        (found,) = await calls.until(page, f"((found) => found.length && found)({ended})")
        assert found["outcome"] == "answered"
        assert found["seconds"] > 0


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_whoever_reloads_the_page_in_mid_call_returns_to_it(calls: CallStage, who: str) -> None:
    async with asyncio.timeout(PATIENCE):
        caller, callee = await pair(calls, f"olga-{who}", f"paul-{who}")
        await connected(calls, caller, callee)
        await asyncio.gather(calls.perceives(caller), calls.perceives(callee))
        page, other = (caller, callee) if who == "caller" else (callee, caller)
        before = await calls.stands(page)
        await leave(calls, page, other)
        rung = "({ user: window.rung.user, call: window.rung.call, media: window.rung.media })"
        assert await calls.chromium.run(page, f"return {rung}") == {
            "user": other,
            "call": before["id"],
            "media": ["audio", "video"],
        }
        await calls.accept(page)
        await asyncio.gather(calls.is_in(page, "connected"), calls.is_in(other, "connected"))
        assert await calls.until(page, "window.over === '' && 'it rings no more'")
        stands = [await calls.stands(each) for each in (page, other)]
        assert stands[0]["words"] == stands[1]["words"] != before["words"]
        assert stands[0]["started"] == before["started"]  # how long it lasts is counted on
        await asyncio.gather(calls.perceives(page), calls.perceives_anew(other))
        await calls.chromium.run(page, "await window.call.hangUp()")
        assert (await calls.is_in(other, "ended"))["ended"]["code"] == "call_over"
        await ended_once(calls, page, other)
        await calls.calm(page, other)


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_a_page_returns_to_a_call_with_the_python_sdk(
    calls: CallStage, tmp_path: Path, film: Path, who: str
) -> None:
    python, page = f"quinn-{who}", f"rosa-{who}"
    engagement = await calls.relay.create_engagement(**{python: "coach", page: "client"})
    record = tmp_path / "came.mp4"
    async with asyncio.timeout(PATIENCE), calls.caller(python, CallSettings(loopback=True)) as client:
        room = await client.engagement(engagement)
        await calls.ready(page, engagement)
        await met(room, calls, page)
        if who == "caller":
            await calls.call(page)
            call = await (await rings(room)).accept(media=film, record=record)
        else:
            call = await room.call(media=film, record=record)
            await calls.accept(page)
        await call.wait_connected()
        words = (await calls.is_in(page, "connected"))["words"]
        await calls.reload(page, page)
        await calls.accept(page)
        await calls.is_in(page, "connected")
        await calls.other_words(page, words)
        await asyncio.gather(calls.perceives(page), enough(call))
        assert tuple((await calls.stands(page))["words"]) == call.words
        await call.hang_up()
        assert (await calls.is_in(page, "ended"))["ended"]["code"] == "call_over"
        await check(record)
        await calls.calm(page)


async def test_whoever_does_not_want_to_return_ends_it_for_both(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        sven, tina = await pair(calls, "sven", "tina")
        await connected(calls, sven, tina)
        await leave(calls, sven, tina)
        await calls.chromium.run(sven, "await window.rung.decline()")
        assert (await calls.is_in(tina, "ended"))["ended"]["message"] == "Sven ended the call."
        assert await calls.until(sven, "window.over") == "You ended the call."
        await ended_once(calls, sven, tina)


async def test_what_the_other_one_ended_meanwhile_is_not_returned_to(calls: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        uma, vera = await pair(calls, "uma", "vera")
        await connected(calls, uma, vera)
        await leave(calls, uma, vera)
        await calls.chromium.run(vera, "await window.call.hangUp()")
        assert await calls.until(uma, "window.over") == "Vera ended the call."
        refused = "window.rung.accept({ video: false }).then(() => null, ({ message }) => message)"
        assert await calls.chromium.run(uma, f"return {refused}") == "The call is over."


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_a_closed_page_ends_the_call_when_it_is_opened_again(calls: CallStage, who: str) -> None:
    """Another tab: nobody comes back, and the other one is told as soon as that is known."""
    async with asyncio.timeout(PATIENCE):
        will, xena = f"will-{who}", f"xena-{who}"
        caller, callee = (will, xena) if who == "caller" else (xena, will)
        await pair(calls, caller, callee)
        await connected(calls, caller, callee)
        engagement = await calls.chromium.run(will, "return window.room.id")
        blank = await calls.page(will, engagement, name="another tab", beside=will)
        await calls.chromium.ask("close", name=will)
        await calls.is_in(xena, "reconnecting")
        await calls.start(blank, will)
        assert (await calls.is_in(xena, "ended"))["ended"][
            "message"
        ] == f"{will.capitalize()} ended the call."
        await ended_once_without_length(calls, xena)


async def ended_once_without_length(calls: CallStage, page: str) -> None:
    """How long it was is not known by a page that was not there at its end."""
    ended = "(await window.room.history()).find((item) => item.kind === 'call.ended')"
    assert (await calls.until(page, ended))["outcome"] == "answered"
