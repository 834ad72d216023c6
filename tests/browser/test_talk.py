"""A page in a real Chromium and the Python SDK talk through the real relay."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser import marks
from tests.browser.chromium import Portal
from tests.browser.stage import PATIENCE, Stage, reads

pytestmark = marks.in_chromium()


async def test_a_page_and_the_python_sdk_talk(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), stage.python("anna") as anna:
        room = await anna.engagement(engagement)
        items = aiter(room.items())
        ben = await stage.enters("ben", engagement)
        await room.wait_joined()
        await room.send("How was the week?")
        assert await stage.hears(ben, "How was the week?") == "anna"
        await stage.say(ben, "Long, but good.")
        assert await reads(items) == "Long, but good."
        people = await stage.chromium.run(ben, "return window.room.people()")
        assert {person["user"]: person["name"] for person in people} == {"anna": "Anna", "ben": "Ben"}
        assert room.alarm is None
        await stage.calm(ben)


async def test_a_page_founds_the_conversation_and_lets_the_python_sdk_in(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE):
        carl = await stage.enters("carl", engagement)
        waiting = await stage.say(carl, "said before anybody was there")
        async with stage.python("dora") as dora:
            room = await dora.engagement(engagement)
            items = aiter(room.items())
            await room.wait_joined()
            assert await reads(items) == "said before anybody was there"
            await room.send("I am here.")
            assert await stage.hears(carl, "I am here.") == "dora"
            await stage.chromium.run(carl, "return window.isIn(id, 'delivered')", id=waiting)
            sent = await stage.say(carl, "welcome")
            assert await reads(items) == "welcome"
            await room.send("thank you")
            await stage.hears(carl, "thank you")
            await stage.chromium.run(carl, "return window.isIn(id, 'delivered')", id=sent)
            assert room.alarm is None
        await stage.calm(carl)


async def test_two_pages_talk_and_a_reload_loses_nothing(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(eva="coach", finn="client")
    async with asyncio.timeout(PATIENCE):
        eva, finn = await asyncio.gather(stage.enters("eva", engagement), stage.enters("finn", engagement))
        await stage.say(eva, "one")
        assert await stage.hears(finn, "one") == "eva"
        await stage.chromium.ask("reload", name=finn)
        await stage.say(eva, "two, while you were away")
        await stage.start(finn, "finn")
        await stage.hears(finn, "two, while you were away")
        await stage.say(finn, "three")
        await stage.hears(eva, "three")
        said = ["one", "two, while you were away", "three"]
        assert await stage.texts(eva) == await stage.texts(finn) == said
        numbers = [
            await stage.chromium.run(page, "return window.room.safetyNumber('eva')") for page in (eva, finn)
        ]
        assert numbers[0] == numbers[1]
        assert len(numbers[0]) == 30
        await stage.chromium.run(finn, "return window.room.verify('eva', number)", number=numbers[0])
        people = await stage.chromium.run(finn, "return window.room.people()")
        assert {person["user"]: person["trust"] for person in people} == {"eva": "verified", "finn": "me"}
        await stage.calm(eva, finn)


SPEAKS = "void window.room.send(text).then(() => window.happened.push(['safe', text])); return null"
SAFE = "window.happened.filter(([event]) => event === 'safe').map(([, text]) => text)"


@pytest.mark.parametrize("ms", [0, 150, 600])
async def test_a_page_that_is_reloaded_while_it_begins_and_while_it_speaks(stage: Stage, ms: int) -> None:
    """What was safe in the page is said once, whenever it goes; what was not may be lost, never doubled."""
    zoe, yan = f"zoe{ms}", f"yan{ms}"
    engagement = await stage.relay.create_engagement(**{zoe: "coach", yan: "client"})
    goes = "void window.start(called).catch(() => null); setTimeout(() => location.reload(), ms); return null"
    again = "await page.waitForFunction(() => !window.before && window.start)"
    async with asyncio.timeout(PATIENCE):
        await stage.page(zoe, engagement)
        await stage.chromium.run(zoe, f"window.before = 1; {goes}", called=zoe.capitalize(), ms=ms)
        await stage.chromium.script(zoe, again)
        await stage.page(yan, engagement)
        await asyncio.gather(stage.start(zoe, zoe), stage.start(yan, yan))
        await stage.say(zoe, "begin")
        await stage.hears(yan, "begin")
        safe = ["begin"]
        for text in ("one", "two", "three"):
            await stage.chromium.run(zoe, SPEAKS, text=text)
            safe += await stage.chromium.run(
                zoe, f"window.before = 1; await new Promise((f) => setTimeout(f, ms)); return {SAFE}", ms=ms
            )
            await stage.chromium.ask("reload", name=zoe)
            await stage.start(zoe, zoe)
        await stage.say(zoe, "end")
        await stage.hears(yan, "end")
        texts = await stage.texts(yan)
        assert texts == await stage.texts(zoe)
        assert len(texts) == len(set(texts))
        assert [*safe, "end"] == [text for text in texts if text in safe or text == "end"]
        await stage.calm(zoe, yan)


async def test_tabs_share_one_device(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(gus="coach", hana="client")
    run = stage.chromium.run
    async with asyncio.timeout(PATIENCE):
        gus, hana = await asyncio.gather(stage.enters("gus", engagement), stage.enters("hana", engagement))
        second = await stage.page("gus", engagement, name="gus again", beside=gus)
        await stage.start(second, "gus")
        assert await run(second, "return window.happened[0]") == ["waiting", None]
        await stage.say(hana, "to both tabs")
        await asyncio.gather(stage.hears(gus, "to both tabs"), stage.hears(second, "to both tabs"))
        await run(second, "window.room.on('message', (item) => window.happened.push(item.text))")
        await stage.say(second, "from the second")
        await stage.hears(hana, "from the second")
        await stage.say(gus, "from the first")
        await stage.until(second, "window.happened.includes('from the first')")
        assert await stage.texts(gus) == await stage.texts(second)
        await stage.calm(gus, second, hana)


async def test_a_tab_takes_over_where_another_one_is_closed(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(ina="coach", jon="client")
    run = stage.chromium.run
    async with asyncio.timeout(PATIENCE):
        first, jon = await asyncio.gather(stage.enters("ina", engagement), stage.enters("jon", engagement))
        others = [await stage.page("ina", engagement, name=f"ina {n}", beside=first) for n in range(2)]
        await asyncio.gather(*(stage.start(page, "ina") for page in others))
        await stage.say(jon, "one")
        await stage.hears(others[1], "one")
        said = [run(page, "return window.room.send(text)", text=f"from {page}") for page in others]
        asked = asyncio.gather(*said)
        await stage.chromium.ask("close", name=first)
        await asked
        for page in others:
            await stage.hears(jon, f"from {page}")
        await stage.say(jon, "two")
        await asyncio.gather(*(stage.hears(page, "two") for page in others))
        assert await stage.texts(others[0]) == await stage.texts(others[1]) == await stage.texts(jon)
        await stage.chromium.ask("close", name=others[0])
        await stage.say(jon, "three")
        await stage.hears(others[1], "three")
        await stage.calm(jon)
        await stage.until(others[1], "(await window.room.state()).waiting === null")
        await stage.calm(others[1])


async def test_the_relay_is_killed_and_started_again(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(ida="coach", jan="client")
    async with asyncio.timeout(PATIENCE):
        ida, jan = await asyncio.gather(stage.enters("ida", engagement), stage.enters("jan", engagement))
        await stage.say(ida, "before")
        await stage.hears(jan, "before")
        await stage.relay.kill()
        await stage.say(ida, "while nobody carried it")
        await stage.relay.start()
        await stage.hears(jan, "while nobody carried it")
        await stage.say(jan, "after")
        await stage.hears(ida, "after")
        assert await stage.texts(ida) == await stage.texts(jan)
        for page in (ida, jan):
            assert await stage.chromium.run(page, "return (await window.room.state()).alarm") is None


async def test_a_browser_that_forgot_its_user_says_so(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(kim="coach", leo="client")
    async with asyncio.timeout(PATIENCE):
        kim = await stage.enters("kim", engagement)
        await stage.chromium.run(kim, "return window.until(() => window.happened[0]?.[0] === 'online')")
        elsewhere = await stage.page("kim", engagement, name="kim elsewhere")
        await stage.chromium.run(elsewhere, "void window.start('Kim').catch(() => null); return null")
        failed = await stage.chromium.run(
            elsewhere, "return window.until(() => window.happened.find(([event]) => event === 'failed'))"
        )
        assert failed == ["failed", "vault_missing"]


async def test_a_page_of_another_origin_is_not_let_in(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(mia="coach", nils="client")
    other = Portal()
    other.relay = stage.relay
    await other.start()
    try:
        async with asyncio.timeout(PATIENCE):
            url = f"{other.origin}/?user=mia&engagement={engagement}&relay={stage.relay.url}"
            await stage.chromium.ask("open", name="mia", url=url)
            await stage.chromium.run("mia", "void window.start('Mia').catch(() => null); return null")
            refused = await stage.chromium.run(
                "mia", "return window.until(() => window.happened.find(([event]) => event === 'offline'))"
            )
            assert refused == ["offline", "access_refused"]
    finally:
        await other.stop()
