"""Two implementations of docs/PROTOCOL.md in one conversation: the SDK, and a client of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from client_sdk import Changed, CheckIn, Client, Text
from client_sdk.content import Unknown
from client_sdk.engagement import Engagement
from client_sdk.engine import AnyItem, CheckInAnswerItem, Ring
from tests.interop.independent_client import Device, Outgoing, Said, pack
from tests.support.real_relay import RealRelay

# All meet at one relay: starting it takes longer than any of the tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = b"anna".ljust(32, b".")


class Meeting:
    """Anna uses the SDK; Ben the independent client."""

    def __init__(self, relay: RealRelay, http: aiohttp.ClientSession, room: Engagement, ben: Device) -> None:
        self.relay, self.http, self.room, self.ben = relay, http, room, ben
        self._items = aiter(room.items())

    async def connect_ben(self) -> None:
        await self.ben.connect(self.http, await self.relay.token_for(self.ben.user)())

    async def anna_hears(self) -> AnyItem | Changed | Ring:
        return await asyncio.wait_for(anext(self._items), 20)

    async def anna_reads(self) -> str:
        item = await self.anna_hears()
        assert isinstance(item, Text)
        return item.text

    async def ben_hears(self, kind: str) -> Said:
        """The newest message of this kind, once another one than the last time is there."""
        await self.ben.wait(lambda: any(said.kind == kind for said in self.ben.said))
        found = [said for said in self.ben.said if said.kind == kind]
        self.ben.said = [said for said in self.ben.said if said.kind != kind]
        return found[-1]

    async def agree(self) -> None:
        """Messages go both ways, and neither side has an alarm: each has checked the other's stream hash."""
        await self.ben.say("text", {"text": "from Ben"}, "A text.")
        assert await self.anna_reads() == "from Ben"
        await self.room.send("from Anna")
        said = await self.ben_hears("text")
        assert (said.user, said.body) == (self.room.me.user, {"text": "from Anna"})
        assert self.room.alarm is None


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealRelay]:
    relay = RealRelay(tmp_path_factory.mktemp("relay"))
    await relay.start()
    yield relay
    await relay.kill()


async def add_who_waits(device: Device) -> None:
    """Once the relay has told that somebody waits."""
    await device.wait(lambda: any(ready and not member for *_, member, ready in device.roster[5]))
    await device.add_waiting()


async def ben_of(relay: RealRelay, *, creates: bool) -> tuple[Device, str]:
    """Ben's device in a new engagement, and who Anna is; both are new people each time."""
    anna, ben = (f"{name}-{secrets.token_hex(4)}" for name in ("anna", "ben"))
    engagement = await relay.create_engagement(**{anna: "coach", ben: "client"})
    return Device(relay.url, relay.portal["PORTAL_ID"], ben, engagement, creates=creates), anna


@pytest_asyncio.fixture(
    loop_scope="module", params=["the SDK creates the group", "the independent client creates it"]
)
async def meeting(
    request: pytest.FixtureRequest, tmp_path: Path, relay: RealRelay, http: aiohttp.ClientSession
) -> AsyncIterator[Meeting]:
    """Two people who have met, whoever created the group."""
    ben, anna_user = await ben_of(relay, creates=request.param == "the independent client creates it")
    if ben.creates:
        await ben.connect(http, await relay.token_for(ben.user)())
        await ben.wait(lambda: ben.position == 1)
    async with Client.open(
        tmp_path / "anna.vault", key=KEY, relay=relay.url, token=relay.token_for(anna_user), name="Anna"
    ) as anna:
        found = Meeting(relay, http, await anna.engagement(ben.engagement), ben)
        if ben.creates:
            await add_who_waits(ben)
        else:
            await found.connect_ben()
        await asyncio.wait_for(found.room.wait_joined(), 20)
        try:
            yield found
        finally:
            await ben.close()


async def test_both_sides_understand_each_other(meeting: Meeting) -> None:
    await meeting.agree()
    assert (await meeting.ben_hears("profile")).body == {"name": "Anna"}
    await meeting.ben.say("profile", {"name": "Ben"}, "I am Ben.")
    await meeting.room.send(CheckIn("Energy?"))
    asked = await meeting.ben_hears("checkin")
    [question] = asked.body["questions"]
    await meeting.ben.say("checkin.answer", {"checkin": asked.id, "answers": {question["id"]: 7}}, "Seven.")
    answer = await meeting.anna_hears()
    assert isinstance(answer, CheckInAnswerItem)
    assert (answer.sender.name, dict(answer.answers)) == ("Ben", {question["id"]: 7})
    await meeting.ben.say("mood", {"weather": ["sunny", {"until": 5}]}, "I feel sunny.")
    item = await meeting.anna_hears()
    assert isinstance(item, Unknown)
    assert item.fallback == "I feel sunny."


async def test_commits_are_followed_and_void_ones_change_nothing(meeting: Meeting) -> None:
    await meeting.agree()
    for _ in range(3):
        await meeting.ben.commit([])
        await meeting.ben.wait(lambda: not meeting.ben.outbox)
    await meeting.agree()
    await meeting.agree()
    epoch = meeting.ben.group.epoch
    meeting.ben.outbox.append(Outgoing([], pack([1, [], [], b"not a commit", None, b""])))
    await meeting.ben.flush()
    await meeting.ben.wait(lambda: not meeting.ben.outbox)
    await meeting.agree()
    assert meeting.ben.group.epoch == epoch


async def test_what_commits_make_stale_arrives_in_order(meeting: Meeting) -> None:
    for number in range(10):
        await meeting.room.send(f"number {number}")
        await meeting.ben.commit([])
        await meeting.ben.wait(lambda: not meeting.ben.outbox)
    await meeting.ben.wait(lambda: sum(said.kind == "text" for said in meeting.ben.said) == 10)
    texts = [said.body["text"] for said in meeting.ben.said if said.kind == "text"]
    assert texts == [f"number {number}" for number in range(10)]
    meeting.ben.said.clear()
    await meeting.ben.wait(lambda: not meeting.ben.outbox)
    await meeting.agree()


async def test_a_retry_with_the_identical_bytes_is_stored_once(meeting: Meeting) -> None:
    meeting.ben.lose_answers = True
    await meeting.ben.say("text", {"text": "once"}, "A text.")
    assert await meeting.anna_reads() == "once"
    await meeting.ben.close()
    meeting.ben.lose_answers = False
    await meeting.connect_ben()
    await meeting.ben.wait(lambda: not meeting.ben.outbox)
    await meeting.agree()


async def test_a_race_to_create_has_one_winner(relay: RealRelay, http: aiohttp.ClientSession) -> None:
    ben, anna_user = await ben_of(relay, creates=False)
    anna = Device(relay.url, ben.portal, anna_user, ben.engagement)
    tokens = [await relay.token_for(device.user)() for device in (anna, ben)]
    await asyncio.gather(anna.connect(http, tokens[0]), ben.connect(http, tokens[1]))
    await asyncio.gather(anna.create(), ben.create())
    await anna.wait(lambda: anna.position or anna.refusals)
    await ben.wait(lambda: ben.position or ben.refusals)
    winner, loser = (anna, ben) if anna.position else (ben, anna)
    assert loser.refusals == ["stale"]
    await add_who_waits(winner)
    await loser.wait(lambda: loser.position == 2)
    assert loser.group.epoch_authenticator == winner.group.epoch_authenticator
    await winner.wait(lambda: winner.position == 2)
    assert loser.hashes[2] == winner.hashes[2]
    await asyncio.gather(anna.close(), ben.close())
