"""Calls of a person with several tabs, through the element: a call is its tab's, whichever has the device."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.callers import Person, call, come, meet
from tests.browser.embedded import Place, missing

PATIENCE = 200

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(300),
]

SEEN = """
window.seen = () => {
  const within = (node) => [...node.querySelectorAll("*")].flatMap((each) =>
    [each, ...(each.shadowRoot ? within(each.shadowRoot) : [])]);
  const remote = within(document).find((each) => each.matches("video.remote"));
  return remote?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
};
"""


async def another_tab(there: Place, person: Person, engagement: str, name: str) -> Person:
    """Of the same browser."""
    await there.open(name, engagement, person.page, beside=person.page)
    await there.hears(name, "ready")
    return Person(there, name)


async def engagement_of(person: Person) -> str:
    found: str = await person.there.chromium.run(
        person.page, "return document.querySelector('coach-relay').getAttribute('engagement')"
    )
    return found


async def sees_more(person: Person, frames: int = 20) -> None:
    """So many further pictures are shown there from now on."""
    await person.there.in_frame(person.page, SEEN + "window.before = window.seen(); return null;")
    more = "(frames) => window.seen() - window.before >= frames || window.seen() < window.before"
    await person.does(f"await one.waitForFunction({more}, frames, patience); return null;", frames=frames)


async def test_a_call_goes_on_when_the_tab_that_had_the_device_is_closed(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await meet(there, kim="coach", leo="client")
        second = await another_tab(there, kim, await engagement_of(kim), "kims second tab")
        await second.clicks("Call with picture")
        await leo.is_rung_by("Kim")
        await leo.clicks("Answer with picture")
        await asyncio.gather(second.talks(), leo.talks())
        await asyncio.gather(sees_more(second), sees_more(leo))
        await second.watches_for("Connecting again")  # it passes
        await there.chromium.ask("close", name=kim.page)
        await second.has_read("Connecting again")
        await asyncio.gather(second.talks(), leo.talks())
        await asyncio.gather(sees_more(second), sees_more(leo))
        assert not await second.is_called()
        await leo.says("still there?")
        await second.reads("still there?")  # the conversation is open in this tab too
        await second.clicks("End call")
        await leo.reads("Kim ended the call.")
        assert len([one for one in await leo.history("Call,") if one.startswith("Call,")]) == 1
        assert await there.chromium.ask("errors") == []


async def test_what_rings_in_a_tab_rings_on_when_the_one_that_had_the_device_is_closed(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await meet(there, mia="coach", nils="client")
        second = await another_tab(there, nils, await engagement_of(nils), "nils second tab")
        await mia.clicks("Call with sound")
        await asyncio.gather(nils.is_rung_by("Mia"), second.is_rung_by("Mia"))
        await there.chromium.ask("close", name=nils.page)
        await mia.says("are you there?")
        await second.reads("are you there?")  # the device is in this tab now
        await second.clicks("Answer")
        await asyncio.gather(mia.talks(), second.talks())
        await mia.clicks("End call")
        await second.reads("Mia ended the call.")


async def test_answered_in_one_tab_it_rings_no_more_in_the_other(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        olga, paul = await meet(there, olga="coach", paul="client")
        second = await another_tab(there, paul, await engagement_of(paul), "pauls second tab")
        await olga.clicks("Call with sound")
        await asyncio.gather(paul.is_rung_by("Olga"), second.is_rung_by("Olga"))
        await second.clicks("Answer")
        await asyncio.gather(olga.talks(), second.talks())
        await paul.reads("You answered.")
        await paul.is_no_longer_called()
        await there.chromium.ask("close", name=second.page)  # the call's own tab: that is its end
        await olga.reads("Paul ended the call.")


async def test_nobody_is_in_two_calls_at_once(there: Place) -> None:
    """Of two conversations, in two tabs: nobody hears what is said in the other one."""
    async with asyncio.timeout(PATIENCE):
        rosa, sven = await meet(there, rosa="coach", sven="client")
        other = await there.relay.create_engagement(rosa="coach", tina="client")
        second = await another_tab(there, rosa, other, "rosas second tab")
        tina = await come(there, other, "tina")
        await tina.says("hello, Rosa")
        await second.reads("hello, Rosa")
        await call(rosa, sven, "Rosa")
        await second.clicks("Call with sound")
        await second.reads("You are in a call already, here or in another conversation. End it first.")
        await tina.clicks("Call with sound")
        await second.is_rung_by("Tina")
        await second.clicks("Answer")
        await second.reads("End it first.")
        await second.is_rung_by("Tina")  # it still may be answered
        assert await tina.sees("Ringing…")
        await rosa.clicks("End call")
        await second.clicks("Answer")
        await asyncio.gather(second.talks(), tina.talks())
