"""What is said in a page and by the Python SDK is the same on both sides, whatever becomes of it."""

from __future__ import annotations

import asyncio

from client_sdk import CheckIn, Question, Retracted
from client_sdk.engagement import Engagement
from client_sdk.engine.items import Changed, CheckInAnswerItem, CheckInItem, TextItem
from tests.browser import marks
from tests.browser.stage import PATIENCE, Stage, next_of

pytestmark = marks.in_chromium()


async def test_replies_edits_reactions_and_retractions(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), stage.python("anna") as anna:
        room = await anna.engagement(engagement)
        items = aiter(room.items())
        ben = await stage.enters("ben", engagement)
        await room.wait_joined()
        question = (await room.send("How was the week?")).id.hex()
        await stage.hears(ben, "How was the week?")
        run = stage.chromium.run
        reply = await run(ben, "return window.room.send('Lang', {replyTo: id})", id=question)
        heard = await next_of(items, TextItem)
        assert (heard.text, heard.reply_to, heard.id.hex()) == ("Lang", bytes.fromhex(question), reply)
        await run(ben, "await window.room.edit(id, 'Long, but good.')", id=reply)
        changed = await next_of(items, Changed)
        assert isinstance(changed.item, TextItem)
        assert (changed.item.text, changed.item.edited) == ("Long, but good.", True)
        await room.react(heard.id, "🎉")
        shown = await stage.until(
            ben, "(await window.room.item(id)).reactions.length && window.room.item(id)", id=reply
        )
        assert (shown["text"], shown["edited"], shown["replyTo"]) == ("Long, but good.", True, question)
        assert shown["reactions"] == [{"emoji": "🎉", "users": ["anna"]}]
        await run(ben, "await window.room.react(id, '💪', true)", id=question)
        assert (await next_of(items, Changed)).emoji == "💪"
        refused = await run(
            ben, "return window.room.edit(id, 'mine?').catch((error) => error.code)", id=question
        )
        assert refused == "usage"
        await run(ben, "await window.room.retract(id)", id=reply)
        assert isinstance((await next_of(items, Changed)).item, Retracted)
        gone = await stage.until(
            ben, "(await window.room.item(id)).kind === 'retracted' && window.room.item(id)", id=reply
        )
        assert "text" not in gone
        assert gone["reactions"] == []
        await room.retract(bytes.fromhex(question))
        await stage.until(ben, "(await window.room.item(id)).kind === 'retracted'", id=question)
        await stage.calm(ben)
        assert room.alarm is None


async def test_a_check_in_is_answered_and_receipts_say_what_was_read(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE), stage.python("carl") as carl:
        room = await carl.engagement(engagement)
        items = aiter(room.items())
        dora = await stage.enters("dora", engagement)
        await room.wait_joined()
        questions = (Question("energy", "Energy?"), Question("word", "One word?", answer="text"))
        asked = (await room.send(CheckIn("This week", questions))).id.hex()
        shown = await stage.until(dora, "window.room.item(id)", id=asked)
        assert [(one["id"], one["answer"], one["min"], one["max"]) for one in shown["questions"]] == [
            ("energy", "scale", 1, 10),
            ("word", "text", None, None),
        ]
        wrong = await stage.chromium.run(
            dora, "return window.room.answer(id, {energy: 11}).catch((error) => error.code)", id=asked
        )
        assert wrong == "answer_invalid"
        await stage.chromium.run(dora, "return window.room.answer(id, {energy: 7, word: 'calm'})", id=asked)
        answer = await next_of(items, CheckInAnswerItem)
        assert (answer.checkin.hex(), dict(answer.answers)) == (asked, {"energy": 7, "word": "calm"})
        mine = await stage.chromium.run(
            dora,
            "return window.room.checkIn('And you?', [{id: '1', text: 'Well?', answer: 'choice',"
            " min: null, max: null, choices: ['yes', 'no']}])",
        )
        came = await next_of(items, CheckInItem)
        assert came.id.hex() == mine
        await room.answer(came, {"1": "yes"})
        answered = await stage.until(
            dora,
            "(await window.room.history()).findLast((item) => !item.mine && item.kind === 'checkin.answer')",
        )
        assert (answered["checkIn"], answered["answers"]) == (mine, {"1": "yes"})
        await room.mark_read(answer)
        await stage.chromium.run(dora, "return window.isIn(id, 'read')", id=answer.id.hex())
        await stage.chromium.run(dora, "await window.room.markRead(id)", id=asked)
        await room.wait_until(lambda: any(read >= 1 for read in reads_of(room)))
        await stage.chromium.run(dora, "await window.relay.setReadReceipts(false)")
        state = await stage.until(
            dora, "(await window.room.item(id)).state !== 'read' && window.room.item(id)", id=answer.id.hex()
        )
        assert state["state"] == "delivered"
        assert await stage.chromium.run(dora, "return window.relay.readReceipts()") is False
        await stage.calm(dora)


def reads_of(room: Engagement) -> list[int]:
    """Up to where each of the others has read, as this room was told."""
    return [read for _, read in room._conversation.standing.record.reads]


async def test_names_typing_and_why_something_waits(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(eva="coach", finn="client")
    async with asyncio.timeout(PATIENCE):
        eva = await stage.enters("eva", engagement)
        state = await stage.until(
            eva, "((s) => s.waiting?.code === 'nobody_there' && s)(await window.room.state())"
        )
        assert state["waiting"]["message"] == "Nobody else has joined the conversation yet."
        never = await stage.chromium.run(eva, "return window.room.send('not meant')")
        await stage.chromium.run(eva, "await window.room.retract(id)", id=never)
        assert await stage.chromium.run(eva, "return window.room.item(id)", id=never) is None
        finn = await stage.enters("finn", engagement)
        await stage.say(eva, "hello")
        await stage.hears(finn, "hello")
        await stage.chromium.run(
            finn, "window.room.on('typing', (typing) => window.happened.push(['typing', typing]))"
        )
        await stage.chromium.run(eva, "window.room.typing(true)")
        heard = await stage.until(finn, "window.happened.find(([event]) => event === 'typing')")
        assert heard[1] == {"user": "eva", "on": True}
        await stage.chromium.run(eva, "await window.relay.setName('Eva M.')")
        await stage.until(
            finn, "(await window.room.people()).find((one) => one.user === 'eva' && one.name === 'Eva M.')"
        )
        code = await stage.chromium.run(eva, "return window.room.verificationCode('finn')")
        await stage.chromium.run(finn, "await window.room.verifyScanned('eva', shown)", shown=code)
        people = await stage.chromium.run(finn, "return window.room.people()")
        assert {one["user"]: one["trust"] for one in people} == {"eva": "verified", "finn": "me"}
        state = await stage.chromium.run(finn, "return window.room.state()")
        assert state["waiting"] is None
        assert "messages and files yes" in state["protection"]
        await stage.calm(eva, finn)


async def test_what_is_said_is_shown_before_the_network_has_it(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(gus="coach", hana="client")
    async with asyncio.timeout(PATIENCE), stage.python("gus") as gus:
        room = await gus.engagement(engagement)
        items = aiter(room.items())
        hana = await stage.enters("hana", engagement)
        await room.wait_joined()
        await stage.chromium.ask("offline", name=hana, offline=True)
        shown = await stage.chromium.run(
            hana,
            "const began = performance.now();"
            "const seen = new Promise((resolve) => window.room.on('message', resolve));"
            "void window.room.send('said in a tunnel');"
            "const item = await seen; return [item.text, item.state, performance.now() - began]",
        )
        assert shown[:2] == ["said in a tunnel", "waiting"]
        await stage.chromium.ask("offline", name=hana, offline=False)
        assert (await next_of(items, TextItem)).text == "said in a tunnel"
        await stage.until(hana, "(await window.room.history()).every((item) => item.state !== 'waiting')")


async def test_a_store_that_is_taken_away_is_noticed_at_once(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(ina="coach", jon="client")
    async with asyncio.timeout(PATIENCE):
        ina = await stage.enters("ina", engagement)
        storage = await stage.chromium.run(ina, "return window.relay.storage()")
        assert storage["quota"] > storage["usage"] > 0
        await stage.chromium.run(
            ina,
            "const asked = indexedDB.deleteDatabase('coach-relay/growth/ina');"
            "await new Promise((done) => { asked.onsuccess = done })",
        )
        failed = await stage.until(ina, "window.happened.find(([event]) => event === 'failed')")
        assert failed == ["failed", "vault_missing"]
        refused = await stage.chromium.run(ina, "return window.room.send('x').catch((error) => error.code)")
        assert refused == "vault_missing"
