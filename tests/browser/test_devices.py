"""Several devices of one person, some of them pages in Chromium: linked, removed, lost and recovered."""

from __future__ import annotations

import asyncio

from client_sdk import Engagement, Text
from client_sdk.identity.linking import LinkSecret
from tests.browser import marks
from tests.browser.stage import PATIENCE, Stage, reads
from tests.e2e.own_devices import newcomer

pytestmark = marks.in_chromium()

LINK = (
    "window.starting = window.start(called, {kind: 'link', deviceName});"
    "return window.until(() => window.shown)"
)


async def heard(room: Engagement, text: str) -> None:
    """Wait until this was said to it."""
    async for item in room.items():
        if isinstance(item, Text) and item.text == text:
            return


async def test_a_page_is_linked_by_the_python_sdk_and_has_what_was_said(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), stage.python("anna") as anna, stage.python("ben") as ben:
        room, bens = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.wait_joined()
        first = await room.send("before the page")
        await bens.send("and this, with a typo")
        await room.react(first, "👍")
        await room.edit(first, "before the page was linked")
        await asyncio.gather(room.wait_sent(), bens.wait_sent())
        await room.wait_until(lambda: room.read_to >= 0)
        await room.wait_caught_up()

        page = await stage.page("anna", engagement, name="annas page")
        shown = await stage.chromium.run(page, LINK, called="Anna", deviceName="the browser")
        assert await stage.chromium.run(page, "return window.known.elsewhere") is True
        assert shown["qr"] == LinkSecret.read(" ".join(shown["words"])).code
        other = await anna.devices.find(" ".join(shown["words"]))
        assert other.name == "the browser"
        await anna.devices.link(other)
        me = await stage.chromium.run(page, "return window.starting")
        assert (me["user"], me["name"]) == ("anna", "Anna")

        await stage.until(page, "(await window.room.history()).length >= 2")
        texts = await stage.texts(page)
        assert texts[:2] == ["before the page was linked", "and this, with a typo"]
        found = (await stage.history(page))[0]
        assert found["edited"]
        assert found["mine"], "she said it, though on another device"
        assert [(one["emoji"], one["users"]) for one in found["reactions"]] == [("👍", ["anna"])]

        await stage.say(page, "from the page")
        await heard(bens, "from the page")
        await bens.send("hello, both of you")
        await stage.hears(page, "hello, both of you")
        await stage.calm(page)

        devices = await stage.chromium.run(page, "return window.relay.devices()")
        assert sorted((d["name"], d["isThis"], d["mayLink"]) for d in devices)[-1] == (
            "the browser",
            True,
            False,
        )
        refused = await stage.chromium.run(
            page,
            "return window.relay.removeDevice(other).catch((error) => error.code)",
            other=next(d["id"] for d in devices if not d["isThis"]),
        )
        assert refused == "may_not_link"

        await anna.devices.remove(anna.devices.named("the browser"))
        await stage.until(page, "window.happened.some(([event]) => event === 'failed')")
        await room.send("after the page was removed")
        await room.wait_sent()
        assert "after the page was removed" not in await stage.texts(page)


async def test_a_page_links_a_device_of_the_python_sdk(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(carl="coach", dora="client")
    shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()

    async def open_linked() -> None:
        async with newcomer(stage.relay, stage.vaults, "carl", "carls laptop", shown) as linked:
            await linked.devices.wait_history()
            room = await linked.engagement(engagement)
            said = [item.text for item in await room.history() if isinstance(item, Text)]
            assert said == ["an answer", "said in a page, changed"]
            await room.send("from the laptop")
            await room.wait_sent()

    async with asyncio.timeout(PATIENCE), stage.python("dora") as dora:
        room = await dora.engagement(engagement)
        carl = await stage.enters("carl", engagement)
        await room.wait_joined()
        sent = await stage.say(carl, "said in a page")
        await stage.chromium.run(
            carl, "return window.room.edit(id, text)", id=sent, text="said in a page, changed"
        )
        await room.send("an answer")
        await stage.hears(carl, "an answer")
        linking = asyncio.create_task(open_linked())
        words = (await shown).words
        found = await stage.chromium.run(
            carl, "return window.relay.findNewcomer(words)", words=" ".join(words)
        )
        assert found["name"] == "carls laptop"
        await stage.chromium.run(
            carl,
            "return window.relay.linkNewcomer(newcomer, {mayLink: true}).then(() => null)",
            newcomer=found,
        )
        await linking
        await stage.until(
            carl, "(await window.room.history()).some((item) => item.text === 'from the laptop')"
        )
        await stage.calm(carl)
        await stage.chromium.run(
            carl, "return window.relay.removeDevice(id).then(() => null)", id=found["id"]
        )
        devices = await stage.chromium.run(carl, "return window.relay.devices()")
        assert [device["isThis"] for device in devices] == [True]
        await stage.say(carl, "only here again")
        await stage.calm(carl)


async def test_who_lost_the_browser_comes_back_with_the_page_of_words(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(eva="coach", finn="client")
    async with asyncio.timeout(PATIENCE), stage.python("finn") as finn:
        room = await finn.engagement(engagement)
        eva = await stage.enters("eva", engagement)
        items = aiter(room.items())
        await room.wait_joined()
        edited = await stage.say(eva, "before it was lots")
        assert await reads(items) == "before it was lots"  # before the next word: the relay gives the order
        await room.send("a word of Finn's")
        await stage.hears(eva, "a word of Finn's")
        await stage.chromium.run(eva, "return window.relay.setArchive(true).then(() => null)")
        archived = "return window.relay.waitArchived().then(() => null)"
        await stage.chromium.run(eva, archived)
        await stage.chromium.run(
            eva, "return window.room.edit(id, text)", id=edited, text="before it was lost"
        )
        await stage.until(
            eva, "(await window.room.history()).some((item) => item.text === 'before it was lost')"
        )
        await room.wait_until(lambda: room.read_to >= 0)
        await stage.chromium.run(eva, archived)
        assert await stage.chromium.run(eva, "return window.relay.recoveryKitDue()") is True
        kit = await stage.chromium.run(eva, "return window.relay.recoveryKit()")
        assert all(word in kit["text"] for word in kit["words"])
        typed = {number: kit["words"][number - 1] for number in kit["asked"]}
        wrong = await stage.chromium.run(
            eva,
            "return window.relay.kitMade(typed).catch((error) => error.code)",
            typed=dict.fromkeys(typed, "zoo"),
        )
        assert wrong == "recovery_words_invalid"
        await stage.chromium.run(eva, "return window.relay.kitMade(typed).then(() => null)", typed=typed)
        assert await stage.chromium.run(eva, "return window.relay.recoveryKitDue()") is False

        again = await stage.page("eva", engagement, name="eva again")
        await stage.chromium.run(
            again,
            "window.starting = window.start(called, {kind: 'recover', words}); return null",
            called="Eva",
            words=kit["words"],
        )
        me = await stage.chromium.run(again, "return window.starting")
        assert me["user"] == "eva"
        history = await stage.history(again)
        assert [item.get("text") for item in history[:2]] == ["before it was lost", "a word of Finn's"]
        assert (history[2]["kind"], history[2]["reason"]) == ("gap", "recovered")
        assert "Your archive ends here" in history[2]["text"]
        await stage.until(eva, "window.happened.some(([event]) => event === 'failed')")
        await room.wait_until(lambda: room.alarm is not None)
        assert room.alarm is not None
        await room.accept_identity(room.people.named("eva"))
        await stage.until(again, "(await window.room.state()).member")
        await room.send("welcome back")
        await stage.hears(again, "welcome back")
        await stage.say(again, "it is me")
        await heard(room, "it is me")


async def test_words_of_somebody_else_bring_nobody_back(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(gina="coach", hugo="client")
    async with asyncio.timeout(PATIENCE):
        gina = await stage.enters("gina", engagement)
        await stage.until(gina, "window.relay.online")
        again = await stage.page("gina", engagement, name="gina again")
        words = LinkSecret(bytes(range(16))).words
        await stage.chromium.run(
            again,
            "void window.start(called, {kind: 'recover', words}); return null",
            called="Gina",
            words=words,
        )
        failure = await stage.until(again, "window.known && window.known.failure")
        assert failure["code"] == "recovery_refused"
        assert "not those of this account" in failure["message"]


async def test_an_archive_of_the_python_sdk_comes_back_in_a_page(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(ida="coach", jan="client")
    async with asyncio.timeout(PATIENCE), stage.python("jan") as jan:
        room = await jan.engagement(engagement)
        async with stage.python("ida") as ida:
            idas = await ida.engagement(engagement)
            await idas.wait_joined()
            words = ida.recovery_kit().words
            await ida.keep_archive()
            first = await idas.send("before the laptop fell into the sea")
            gone = await idas.send("nobody is to read this")
            await idas.react(first, "❤️")
            await idas.retract(gone)
            await room.send("and mine")
            await asyncio.gather(idas.wait_sent(), room.wait_sent())
            await heard(idas, "and mine")
            await ida.wait_archived()
        page = await stage.page("ida", engagement)
        await stage.chromium.run(
            page,
            "window.starting = window.start(called, {kind: 'recover', words}); return null",
            called="Ida",
            words=words,
        )
        await stage.chromium.run(page, "return window.starting")
        history = await stage.history(page)
        assert [(item["kind"], item.get("text")) for item in history[:3]] == [
            ("text", "before the laptop fell into the sea"),
            ("retracted", None),
            ("text", "and mine"),
        ]
        assert history[0]["reactions"] == [{"emoji": "❤️", "users": ["ida"]}]
        assert "Your archive ends here" in history[3]["text"]


async def test_a_link_goes_on_when_the_page_that_links_is_opened_again(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(kim="coach", leo="client")
    shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()

    async def said_before() -> list[str]:
        async with newcomer(stage.relay, stage.vaults, "kim", "kims laptop", shown) as linked:
            await linked.devices.wait_history()
            room = await linked.engagement(engagement)
            return [item.text for item in await room.history() if isinstance(item, Text)]

    async with asyncio.timeout(PATIENCE), stage.python("leo") as leo:
        room = await leo.engagement(engagement)
        kim = await stage.enters("kim", engagement)
        await room.wait_joined()
        await stage.say(kim, "before")
        linking = asyncio.create_task(said_before())
        words = " ".join((await shown).words)
        found = await stage.chromium.run(kim, "return window.relay.findNewcomer(words)", words=words)
        await stage.chromium.run(
            kim,
            "void window.relay.linkNewcomer(newcomer, {mayLink: false}).catch(() => null)",
            newcomer=found,
        )
        await stage.until(kim, "(await window.relay.devices()).length === 2")
        await stage.chromium.ask("reload", name=kim)
        await stage.start(kim, "kim")
        assert await linking == ["before"]
        await stage.calm(kim)
