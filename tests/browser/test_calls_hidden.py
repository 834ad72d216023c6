"""Calls that hide a person's network address, through the element: by TURN alone, or not at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from client_sdk import Client
from client_sdk.calls import CallSettings
from tests.browser import marks
from tests.browser.callers import Person, call, come, meet
from tests.browser.calling import ARGUMENTS, check, enough
from tests.browser.conftest import Browsers
from tests.browser.embedded import FRAME, Place, place
from tests.support.coturn import LOOPBACK, coturn_process, requires_coturn

PATIENCE = 200
RELAY_ONLY = 'ice-transport-policy="relay"'

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(300)]

# Every connection that the page makes, for the test to look at.
PEERS = """
window.peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.peers.push(this); }
};
"""
WAYS = """
const peer = window.peers.at(-1);
const all = new Map(await peer.getStats());
const transport = [...all.values()].find(({ type }) => type === "transport");
const pair = all.get(transport.selectedCandidatePairId);
const found = [...all.values()].filter(({ type }) => type === "local-candidate");
const pictures = [...all.values()].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
return {
  pair: [pair.localCandidateId, pair.remoteCandidateId].map((id) => all.get(id).candidateType),
  gathered: found.map((one) => one.candidateType),
  told: peer.localDescription.sdp,
  decoded: Math.max(0, ...pictures.map((one) => one.framesDecoded ?? 0)),
};
"""


@dataclass(frozen=True, slots=True)
class Ways:
    """Of a page's newest connection: what kinds of addresses it uses, found, and told the other side."""

    pair: tuple[str, str]
    gathered: frozenset[str]
    told: frozenset[str]
    addresses: frozenset[str]
    """That stand anywhere in what was told."""


async def ways(person: Person) -> Ways:
    found = await person.there.in_frame(person.page, WAYS)
    told = re.findall(r"^a=candidate:\S+ \d \S+ \d+ \S+ \d+ typ (\w+)", found["told"], re.MULTILINE)
    addresses = re.findall(r"\braddr (\S+)|\b([\w-]+\.local)\b", found["told"])
    return Ways(
        (found["pair"][0], found["pair"][1]),
        frozenset(found["gathered"]),
        frozenset(told),
        frozenset(one or other for one, other in addresses),
    )


async def sees(person: Person, frames: int = 30) -> None:
    """So many pictures were decoded there."""
    code = f"return await (async () => {{ {WAYS} }})().then(({{ decoded }}) => decoded)"
    while await person.there.in_frame(person.page, code) < frames:  # noqa: ASYNC110  another program's count
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="session")
async def turned(tmp_path: Path, browsers: Browsers) -> AsyncIterator[Place]:
    """A relay with a TURN server."""
    folder = tmp_path / "turned"
    folder.mkdir()
    async with coturn_process(folder, *LOOPBACK) as coturn:
        settings = {"COACH_RELAY_TURN_URLS": coturn.urls[0], "COACH_RELAY_TURN_SECRET": coturn.secret}
        async with place(folder, await browsers(*ARGUMENTS), settings) as made:
            yield made
            await made.chromium.forget()


HIDDEN = Ways(("relay", "relay"), frozenset({"relay"}), frozenset({"relay"}), frozenset({"0.0.0.0"}))


@requires_coturn
async def test_an_element_that_hides_it_and_the_python_sdk_call_by_turn_alone(
    turned: Place, tmp_path: Path, film: Path
) -> None:
    engagement = await turned.relay.create_engagement(rita="coach", sven="client")
    rita_opens = Client.open(
        tmp_path / "rita.vault",
        key=b"rita".ljust(32, b"."),
        relay=turned.relay.url,
        token=turned.relay.token_for("rita"),
        name="Rita",
        call_settings=CallSettings(loopback=True, relay_only=True),
    )
    async with asyncio.timeout(PATIENCE), rita_opens as rita:
        room = await rita.engagement(engagement)
        sven = await come(turned, engagement, "sven", init=PEERS, attributes=RELAY_ONLY)
        await room.wait_joined()
        await room.send("hello")
        await sven.reads("hello")
        talk = await room.call(media=film, record=tmp_path / "came.mp4")
        await sven.is_rung_by("Rita")
        await sven.clicks("Answer with picture")
        await talk.wait_connected()
        assert talk.path == "relay"
        await asyncio.gather(sven.talks(), sees(sven), enough(talk))
        assert await ways(sven) == HIDDEN
        await talk.hang_up()
        await sven.reads("Rita ended the call.")
        await check(tmp_path / "came.mp4")
        assert await turned.chromium.ask("errors") == []


HIDES = """
await one.getByRole("button", { name: /Who can read this/ }).click();
const box = one.getByRole("checkbox", { name: /Hide my network address in calls/ });
await box.setChecked(on);
const said = await one.getByText("Hide my network address in calls").innerText();
await page.keyboard.press("Escape");
return said;
"""


@requires_coturn
async def test_a_person_hides_it_from_the_next_call_on_and_shows_it_again(turned: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        tina, udo = await meet(turned, init=PEERS, tina="coach", udo="client")
        said = await udo.does(HIDES, on=True)
        assert "instead of yours. From your next call on, in this browser." in " ".join(said.split())
        await turned.chromium.ask("reload", name="udo")  # it is kept
        await udo.reads("hello")
        await call(tina, udo, "Tina", video=True)
        await asyncio.gather(sees(tina), sees(udo))
        found = await ways(udo)
        assert (found.pair[0], found.gathered, found.told) == ("relay", HIDDEN.gathered, HIDDEN.told)
        assert found.addresses == HIDDEN.addresses
        assert (await ways(tina)).pair[1] == "relay"
        assert "host" in (await ways(tina)).gathered  # who does not hide it does not
        await udo.clicks("End call")
        await tina.reads("Udo ended the call.")
        await udo.does(HIDES, on=False)
        await call(udo, tina, "Udo", video=True)
        assert "host" in (await ways(udo)).gathered
        assert await turned.chromium.ask("errors") == []


async def test_where_there_is_no_turn_server_it_is_said_and_no_address_is_shown(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(uma="coach", vera="client")
        uma = await come(there, engagement, "uma", init=PEERS, attributes=RELAY_ONLY)
        vera = await come(there, engagement, "vera")
        await uma.says("hello")
        await vera.reads("hello")
        fixed = 'return one.getByRole("checkbox", { name: /Hide my network address/ })'
        panel = 'await one.getByRole("button", { name: /Who can read this/ }).click();'
        assert await uma.does(f"{panel} {fixed}.isChecked()")
        assert await uma.does(f"{fixed}.isDisabled()")
        await uma.does('await page.keyboard.press("Escape"); return null;')
        await uma.clicks("Call with sound")
        await vera.is_rung_by("Uma")
        await vera.clicks("Answer")
        await uma.reads("the relay has no TURN server")
        await vera.reads("Uma does not call any more.")
        assert await there.in_frame("uma", "return window.peers.length") == 0


async def test_a_misspelt_policy_is_refused_and_not_taken_for_none(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(will="coach", xena="client")
        await there.open("will", engagement, "will", attributes='ice-transport-policy="Relay"')
        assert await there.hears("will", "error") == {
            "code": "ice_transport_policy_invalid",
            "message": "The attribute ice-transport-policy is “Relay”; it may be all or relay.",
        }
        count = f"return page.frames().filter((one) => one.url().includes({FRAME!r})).length"
        assert await there.chromium.script("will", count) == 0
