"""What a person presses in one tab while the tab that had the device is gone, and no other one has it yet."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from tests.browser import marks
from tests.browser.callers import Person, call, in_workers, meet
from tests.browser.embedded import Place
from tests.browser.test_calls_tabs import engagement_of, sees_more

PATIENCE = 200

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(300)]

WAITS: Final = in_workers("""
const request = navigator.locks.request.bind(navigator.locks);
const channel = new BroadcastChannel("the test's device");
const may = new Promise((resolve) => { channel.onmessage = () => resolve(); });
navigator.locks.request = async (name, options, held) => {
  if (!options.ifAvailable) await may;
  return request(name, options, held);
};
""")
"""This tab does not take the device over before the test says so."""

TAKES_OVER: Final = 'new BroadcastChannel("the test\'s device").postMessage(null); return null;'

DEAF: Final = in_workers("""
const post = BroadcastChannel.prototype.postMessage;
let mute = false;
new BroadcastChannel("the test's silence").onmessage = () => { mute = true; };
BroadcastChannel.prototype.postMessage = function (line) {
  // What `callTake` and `callInvite` give is nothing; what one asks before them is answered.
  if (!(mute && line.kind === "said" && line.said.value === null)) post.call(this, line);
};
""")
"""This tab does what others ask of it, and from a moment on tells none of them that it did."""

FALLS_SILENT: Final = 'new BroadcastChannel("the test\'s silence").postMessage(null); return null;'


async def second_tab(there: Place, person: Person) -> Person:
    """Another one of this person's, that waits with taking over."""
    name = f"second tab of {person.page}"
    engagement = await engagement_of(person)
    await there.open(name, engagement, person.page, beside=person.page, init=WAITS)
    await there.hears(name, "ready")
    made = Person(there, name)
    await made.reads("hello")
    return made


async def closes(person: Person) -> None:
    await person.there.chromium.ask("close", name=person.page)


async def takes_over(person: Person) -> None:
    await person.there.in_frame(person.page, TAKES_OVER)


async def test_answered_while_no_tab_has_the_device_the_call_is_taken_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await meet(there, kim="coach", leo="client")
        second = await second_tab(there, leo)
        await kim.clicks("Call with picture")
        await asyncio.gather(leo.is_rung_by("Kim"), second.is_rung_by("Kim"))
        await closes(leo)
        await second.clicks("Answer with picture")
        await second.reads("Connecting…")
        await takes_over(second)
        await asyncio.gather(kim.talks(), second.talks())
        await asyncio.gather(sees_more(kim), sees_more(second))
        await kim.clicks("End call")
        await second.reads("Kim ended the call.")
        assert await there.chromium.ask("errors") == []


async def test_declined_while_no_tab_has_the_device_the_caller_is_told_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await meet(there, mia="coach", nils="client")
        second = await second_tab(there, nils)
        await mia.clicks("Call with sound")
        await asyncio.gather(nils.is_rung_by("Mia"), second.is_rung_by("Mia"))
        await closes(nils)
        await second.clicks("Decline")
        await takes_over(second)
        await mia.reads("Nils declined.")
        await asyncio.gather(mia.reads("Call declined"), second.reads("Call declined"))


async def test_called_while_no_tab_has_the_device_it_rings_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        olga, paul = await meet(there, olga="coach", paul="client")
        second = await second_tab(there, olga)
        await closes(olga)
        await second.clicks("Call with sound")
        await takes_over(second)
        await paul.is_rung_by("Olga")
        await paul.clicks("Answer")
        await asyncio.gather(second.talks(), paul.talks())


async def test_ended_while_no_tab_has_the_device_the_other_one_is_told_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        rosa, sven = await meet(there, rosa="coach", sven="client")
        second = await second_tab(there, rosa)
        await call(second, sven, "Rosa")
        await closes(rosa)

        async def ends() -> None:
            await second.clicks("End call")
            await second.no_longer_reads("End call")  # at once, also without the device
            await takes_over(second)

        # What is said of the end passes: it is looked for from before on.
        await asyncio.gather(sven.reads("Rosa ended the call."), ends())
        await asyncio.gather(second.reads("Call, 0:"), sven.reads("Call, 0:"))


async def test_said_while_no_tab_has_the_device_it_is_sent_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        tina, udo = await meet(there, tina="coach", udo="client")
        second = await second_tab(there, tina)
        await closes(tina)
        await second.says("are you there?")
        await takes_over(second)
        await udo.reads("are you there?")


async def test_a_file_sent_while_no_tab_has_the_device_goes_out_once_one_has(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        bea, carl = await meet(there, bea="coach", carl="client")
        second = await second_tab(there, bea)
        await closes(bea)
        await second.does(
            'await one.locator("input[type=file]").first().setInputFiles({ name: "plan.txt",'
            ' mimeType: "text/plain", buffer: Buffer.from("a plan") });'
            'await one.getByText("plan.txt").first().waitFor(patience); return null;'
        )
        await second.clicks("Send")
        await takes_over(second)
        await carl.reads("plan.txt")


async def test_answered_by_a_tab_that_is_closed_before_it_says_so_the_call_is_taken(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        uma, vera = await meet(there, init=DEAF, uma="coach", vera="client")
        second = await second_tab(there, vera)
        await uma.clicks("Call with sound")
        await asyncio.gather(vera.is_rung_by("Uma"), second.is_rung_by("Uma"))
        await there.in_frame(vera.page, FALLS_SILENT)
        await second.clicks("Answer")
        await vera.reads("You answered.")
        await closes(vera)
        await takes_over(second)
        await asyncio.gather(uma.talks(), second.talks())


async def test_called_by_a_tab_that_is_closed_before_anybody_answers_it_rings_on(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        will, xena = await meet(there, init=DEAF, will="coach", xena="client")
        second = await second_tab(there, will)
        await there.in_frame(will.page, FALLS_SILENT)
        await second.clicks("Call with sound")
        await xena.is_rung_by("Will")
        await closes(will)
        await takes_over(second)
        await xena.clicks("Answer")
        await asyncio.gather(second.talks(), xena.talks())


async def test_what_rings_nowhere_any_more_stops_in_the_tab_that_takes_over(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        yara, zeno = await meet(there, yara="coach", zeno="client")
        second = await second_tab(there, zeno)
        await yara.clicks("Call with sound")
        await asyncio.gather(zeno.is_rung_by("Yara"), second.is_rung_by("Yara"))
        await closes(zeno)
        await yara.clicks("End call")
        await yara.reads("You ended the call.")
        await takes_over(second)
        await second.reads("Missed call from Yara")
        await second.is_no_longer_called()
