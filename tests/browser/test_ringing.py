"""Calls that ring, through the element: not answered, declined, during another one, on two devices."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser import marks
from tests.browser.callers import CLOCK, come, link, meet
from tests.browser.embedded import Place

PATIENCE = 200

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(300)]


async def test_a_call_that_nobody_answers_is_missed_after_45_seconds_and_called_back(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await meet(there, init=CLOCK, kim="coach", leo="client")
        await kim.clicks("Call with sound")
        assert "Decline" in await leo.is_rung_by("Kim")
        await kim.sets_the_clock_forward(43)
        assert await kim.sees("Ringing…")
        assert await leo.is_called()
        await kim.sets_the_clock_forward(3)
        await kim.reads("Leo did not answer.")
        await leo.reads("Kim does not call any more. You missed the call.")
        await leo.is_no_longer_called()
        await asyncio.gather(kim.reads("Call not answered"), leo.reads("Missed call from Kim"))
        await kim.clicks("Close")
        await leo.clicks("Call back")
        await kim.is_rung_by("Leo")
        await kim.clicks("Answer")
        await asyncio.gather(kim.talks(), leo.talks())
        assert await there.chromium.ask("errors") == []


async def test_a_call_is_declined_with_words_for_both(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await meet(there, mia="coach", nils="client")
        await mia.clicks("Call with picture")
        assert "with picture" in await nils.is_rung_by("Mia")
        await nils.clicks("Decline")
        await mia.reads("Nils declined.")
        await mia.clicks("Close")
        await nils.is_no_longer_called()
        await asyncio.gather(mia.reads("Call declined"), nils.reads("Call declined"))
        assert not await nils.sees("Missed call from Mia")
        assert await there.chromium.ask("errors") == []


async def test_who_calls_during_a_call_is_told_of_and_rings_when_it_is_over(there: Place) -> None:
    """Of three people."""
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(olga="coach", paul="client", rosa="client")
        olga, paul, rosa = [await come(there, engagement, user) for user in ("olga", "paul", "rosa")]
        await olga.lets_in(2)
        await olga.says("hello")
        await asyncio.gather(paul.reads("hello"), rosa.reads("hello"))
        await olga.clicks("Call with sound")
        await asyncio.gather(paul.is_rung_by("Olga"), rosa.is_rung_by("Olga"))
        await paul.clicks("Answer")
        await asyncio.gather(olga.talks(), paul.talks())
        await rosa.reads("Paul answered.")
        await rosa.clicks("Call with sound")
        too = "Rosa is calling too. It rings here when this call is over."
        await asyncio.gather(olga.reads(too), paul.reads(too))
        assert not await olga.is_called()
        assert not await paul.is_called()
        await rosa.reads("Ringing…")
        await rosa.reads("No picture from Olga, Paul")
        await olga.clicks("End call")
        await asyncio.gather(olga.is_rung_by("Rosa"), paul.is_rung_by("Rosa"))
        await paul.clicks("Answer")
        await asyncio.gather(rosa.talks(), paul.talks())
        assert not await olga.is_called()


async def test_a_call_rings_on_both_devices_of_a_person_until_one_of_them_takes_or_declines_it(
    there: Place,
) -> None:
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(tess="coach", uri="client")
        tess, uri = [await come(there, engagement, user) for user in ("tess", "uri")]
        await tess.says("hello")
        await uri.reads("hello")
        tablet = await link(uri, engagement, "tablet")
        await tess.clicks("Call with sound")
        await asyncio.gather(uri.is_rung_by("Tess"), tablet.is_rung_by("Tess"))
        await tablet.clicks("Answer")
        await asyncio.gather(tess.talks(), tablet.talks())
        await uri.is_no_longer_called()
        await uri.reads("Tess called")
        await tess.clicks("End call")
        await asyncio.gather(tess.clicks("Close"), tablet.clicks("Close"))

        await tess.clicks("Call with sound")
        await asyncio.gather(uri.is_rung_by("Tess"), tablet.is_rung_by("Tess"))
        await uri.clicks("Decline")
        await tess.reads("Uri declined.")
        await tablet.is_no_longer_called()
        for device in (uri, tablet):
            assert len(await device.history("Call declined")) == 2
            assert not await device.sees("Missed call from Tess")
        assert await there.chromium.ask("errors") == []
