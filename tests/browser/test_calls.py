"""Calls with a page in a real Chromium: pictures that move and sound that is heard, on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import pytest_asyncio

from client_sdk import CallEnded, Client, Engagement, Ring
from client_sdk.calls import Call, CallSettings, Outcome
from client_sdk.demo.media import make_media
from tests.browser.chromium import Chromium, Portal, RelayForPages, missing
from tests.browser.stage import PATIENCE, Stage, next_of
from tests.support.coturn import LOOPBACK, Coturn, coturn_process, requires_coturn
from tests.support.real_relay import RealRelay

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(240),
]
ARGUMENTS = ("--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required")
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
HEARD = (
    0.003  # root mean square, 1 being full scale: the quietest of the beeps that the fake microphone makes
)
PAGE = """
window.room.on("ring", (ring) => { window.rung = ring; ring.over.then((why) => { window.over = why; }); });
window.stands = (call) => ({ id: call.id, user: call.user, state: call.state, words: call.words,
  quality: call.quality, microphone: call.microphone, camera: call.camera, screen: call.screen,
  started: call.startedMs, ended: call.ended, trouble: call.trouble });
// What really arrives: pictures that differ, and how loud the loudest moment is.
window.perceive = (stream) => {
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, muted: true, srcObject: stream });
  document.body.append(video);
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const drawn = canvas.getContext("2d", { willReadFrequently: true });
  const samples = new Float32Array(analyser.fftSize);
  const found = { pictures: new Set(), loudest: 0 };
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    found.loudest = Math.max(found.loudest, Math.hypot(...samples) / Math.sqrt(samples.length));
    if (video.readyState < 2) return;
    drawn.drawImage(video, 0, 0, 64, 48);
    const { data } = drawn.getImageData(0, 0, 64, 48);
    if (data.some((value, at) => at % 4 < 3 && value > 40)) found.pictures.add(data.join());
  }, 50);
  return found;
};
"""


class CallStage(Stage):
    """Pages that find one another on this machine."""

    def caller(self, user: str, settings: CallSettings) -> AbstractAsyncContextManager[Client]:
        return Client.open(
            self.vaults / f"{user}.vault",
            key=user.encode().ljust(32, b"."),
            relay=self.relay.url,
            token=self.relay.token_for(user),
            name=user.capitalize(),
            call_settings=settings,
        )

    async def ready(self, user: str, engagement: str, **options: object) -> str:
        """A page of this person that listens for calls."""
        page = await self.page(user, engagement)
        await self.start(page, user)
        await self.chromium.run(page, PAGE)
        return page

    async def call(self, page: str, *, video: bool = True) -> None:
        await self.chromium.run(page, "window.call = await window.room.call({ video })", video=video)

    async def accept(self, page: str, *, video: bool = True) -> None:
        """Take the call that rings."""
        await self.until(page, "window.rung")
        await self.chromium.run(page, "window.call = await window.rung.accept({ video })", video=video)

    async def stands(self, page: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.chromium.run(page, "return window.stands(window.call)")
        return found

    async def is_in(self, page: str, state: str) -> dict[str, Any]:
        """How the call stands once it is so."""
        found: dict[str, Any] = await self.until(
            page, "window.call?.state === state && window.stands(window.call)", state=state
        )
        return found

    async def other_words(self, page: str, words: list[str]) -> None:
        """It is connected anew."""
        holds = "window.call.state === 'connected' && window.call.words.join() !== words"
        await self.until(page, holds, words=",".join(words))

    async def perceives(self, page: str, *, pictures: int = 10, heard: bool = True) -> None:
        """So many different pictures have been seen there, and something was heard."""
        await self.until(page, "window.call.remote && (window.found ??= window.perceive(window.call.remote))")
        await self.until(
            page,
            "window.found.pictures.size >= pictures && (!heard || window.found.loudest > limit)",
            pictures=pictures,
            heard=heard,
            limit=HEARD,
        )

    async def perceives_anew(self, page: str) -> None:
        """From now on, that is."""
        await self.chromium.run(page, "window.found = undefined")
        await self.perceives(page)


class RelayWithTurn(RelayForPages):
    """The relay that knows a TURN server."""

    def __init__(self, folder: Path, origin: str, settings: Mapping[str, str]) -> None:
        RealRelay.__init__(self, folder, settings=settings)
        self._origin = origin


@asynccontextmanager
async def staged(folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[CallStage]:
    portal, chromium = Portal(), Chromium(*ARGUMENTS)
    await portal.start()
    relay = portal.relay = RelayWithTurn(folder, portal.origin, settings)
    await relay.start()
    await chromium.start()
    try:
        yield CallStage(relay, portal, chromium, folder)
    finally:
        await chromium.stop()
        await relay.kill()
        await portal.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CallStage]:
    async with staged(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_media(path, 30)
    return path


@dataclass(frozen=True, slots=True)
class Seen:
    """What a recording shows."""

    pictures: int
    loudest: float


def look(recording: Path) -> Seen:
    """Decode it all: how many pictures differ, and how loud the loudest moment is."""
    import av

    pictures: set[bytes] = set()
    loudest = 0.0
    with av.open(str(recording)) as container:
        for frame in container.decode():
            decoded: Any = frame
            if hasattr(decoded, "sample_rate"):
                samples = decoded.to_ndarray().astype("float64")
                scale = 1.0 if decoded.format.name.startswith("flt") else 32768.0
                loudest = max(loudest, float((samples**2).mean()) ** 0.5 / scale)
            else:
                small = decoded.reformat(width=64, height=48, format="gray")
                pictures.add(bytes(small.planes[0]))
    return Seen(pictures=len(pictures), loudest=loudest)


async def check(recording: Path) -> None:
    seen = await asyncio.to_thread(look, recording)
    assert seen.pictures > 10
    assert seen.loudest > HEARD


async def ring(room: Engagement) -> Ring:
    found: Ring = await next_of(aiter(room.items()), Ring)
    return found


async def met(room: Engagement, stage: CallStage, page: str) -> None:
    await room.wait_joined()
    await room.send("hello")
    await stage.hears(page, "hello")


async def enough(call: Call) -> None:
    """So much has come that the recording shows something."""
    while (await call.statistics()).video.frames_decoded < 60:  # noqa: ASYNC110  between two looks at a count
        await asyncio.sleep(0.05)


async def test_a_page_calls_the_python_sdk(stage: CallStage, tmp_path: Path, film: Path) -> None:
    engagement = await stage.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), stage.caller("anna", CallSettings(loopback=True)) as anna:
        room = await anna.engagement(engagement)
        ben = await stage.ready("ben", engagement)
        await met(room, stage, ben)
        await stage.call(ben)
        rung = await ring(room)
        assert (rung.sender.user, rung.media) == ("ben", ("audio", "video"))
        taken = await rung.accept(media=film, record=tmp_path / "came.mp4")
        await taken.wait_connected()
        stands = await stage.is_in(ben, "connected")
        assert (stands["user"], stands["trouble"]) == ("anna", None)
        assert tuple(stands["words"]) == taken.words
        assert len(stands["words"]) == 5
        await stage.perceives(ben)
        await enough(taken)
        await stage.chromium.run(ben, "await window.call.wordsMatch()")
        people = await stage.chromium.run(ben, "return window.room.people()")
        assert {one["user"]: one["trust"] for one in people} == {"anna": "verified", "ben": "me"}
        await stage.chromium.run(ben, "await window.call.hangUp()")
        assert (await taken.ended()).outcome is Outcome.ANSWERED
        stands = await stage.is_in(ben, "ended")
        assert stands["ended"] == {"code": "call_over", "message": "You ended the call."}
        shown = await next_of(aiter(room.items()), CallEnded)
        assert (shown.outcome, shown.answered_by) == ("answered", "anna")
        await check(tmp_path / "came.mp4")
        await stage.calm(ben)


async def test_the_python_sdk_calls_a_page(stage: CallStage, tmp_path: Path, film: Path) -> None:
    engagement = await stage.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE), stage.caller("carl", CallSettings(loopback=True)) as carl:
        room = await carl.engagement(engagement)
        dora = await stage.ready("dora", engagement)
        await met(room, stage, dora)
        call = await room.call(media=film, record=tmp_path / "came.mp4")
        await stage.until(dora, "window.rung")
        await stage.accept(dora)
        await call.wait_connected()
        stands = await stage.is_in(dora, "connected")
        assert tuple(stands["words"]) == call.words
        assert await stage.until(dora, "window.over") == "You answered."
        await asyncio.gather(stage.perceives(dora), enough(call))
        await call.hang_up()
        stands = await stage.is_in(dora, "ended")
        assert stands["ended"] == {"code": "call_over", "message": "Carl ended the call."}
        await check(tmp_path / "came.mp4")
        ended = await stage.until(
            dora, "(await window.room.history()).find((item) => item.kind === 'call.ended')"
        )
        assert (ended["outcome"], ended["missed"]) == ("answered", False)
        await stage.calm(dora)


async def pair(stage: CallStage, coach: str, client: str) -> tuple[str, str]:
    """Two pages that have met."""
    engagement = await stage.relay.create_engagement(**{coach: "coach", client: "client"})
    one, other = await asyncio.gather(stage.ready(coach, engagement), stage.ready(client, engagement))
    await stage.say(one, "hello")
    await stage.hears(other, "hello")
    return one, other


async def connected(stage: CallStage, one: str, other: str) -> None:
    await stage.call(one)
    await stage.accept(other)
    await asyncio.gather(stage.is_in(one, "connected"), stage.is_in(other, "connected"))


async def test_two_pages_see_and_hear_each_other_and_do_all_that_one_does_in_a_call(stage: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        eva, finn = await pair(stage, "eva", "finn")
        await connected(stage, eva, finn)
        await asyncio.gather(stage.perceives(eva), stage.perceives(finn))
        words = [(await stage.stands(page))["words"] for page in (eva, finn)]
        assert words[0] == words[1]
        assert len(words[0]) == 5
        assert await stage.until(eva, "window.call.quality !== 'unknown' && window.call.quality") == "good"
        run = stage.chromium.run
        # Microphone: from the moment on nothing is heard; and again.
        await run(eva, "await window.call.setMicrophone(false)")
        await stage.until(
            finn,
            "(await new Promise((done) => { window.found.loudest = 0; setTimeout(done, 2500); }),"
            "window.found.loudest < 0.0005)",
        )
        await run(eva, "await window.call.setMicrophone(true)")
        await stage.until(finn, "window.found.loudest > limit", limit=HEARD)
        # Camera: its light goes out, and no picture comes any more.
        await run(eva, "await window.call.setCamera(false)")
        stands = await stage.stands(eva)
        assert (stands["camera"], stands["microphone"]) == (False, True)
        assert await run(eva, "return window.call.local.getVideoTracks().length") == 0
        await run(eva, "await window.call.setCamera(true)")
        await run(finn, "window.found.pictures.clear()")
        await stage.perceives(finn)
        # Screen, in the place of the camera, and back.
        await run(eva, "await window.call.shareScreen(true)")
        assert (await stage.stands(eva))["screen"] is True
        await run(eva, "await window.call.shareScreen(false)")
        stands = await stage.stands(eva)
        assert (stands["screen"], stands["camera"], stands["trouble"]) == (False, True, None)
        await run(finn, "window.found.pictures.clear()")
        await stage.perceives(finn)
        # Devices: the fake ones have names, and another can be chosen.
        devices = await run(eva, "return window.call.devices()")
        kinds = {one["kind"] for one in devices}
        assert {"audioinput", "videoinput"} <= kinds
        other = next(one for one in devices if one["kind"] == "audioinput" and not one["chosen"])
        await run(eva, "await window.call.choose('audioinput', id)", id=other["id"])
        devices = await run(eva, "return window.call.devices()")
        assert [one["id"] for one in devices if one["kind"] == "audioinput" and one["chosen"]] == [
            other["id"]
        ]
        await run(finn, "await window.call.hangUp()")
        stands = await stage.is_in(eva, "ended")
        assert stands["ended"]["message"] == "Finn ended the call."
        assert await run(eva, "return window.call.local") is None
        await stage.calm(eva, finn)


async def test_another_network_another_attempt(stage: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        gus, hana = await pair(stage, "gus", "hana")
        await connected(stage, gus, hana)
        before = (await stage.stands(gus))["words"]
        for page in (gus, hana):  # as the caller, and as the one who was called
            await stage.chromium.run(page, "window.dispatchEvent(new Event('online'))")
            for each in (gus, hana):
                await stage.other_words(each, before)
            stands = [await stage.stands(one) for one in (gus, hana)]
            assert stands[0]["words"] == stands[1]["words"]
            before = stands[0]["words"]
        await asyncio.gather(stage.perceives_anew(gus), stage.perceives_anew(hana))
        await stage.chromium.run(gus, "await window.call.hangUp()")
        await stage.is_in(hana, "ended")


async def test_a_call_outlives_the_relay(stage: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        ida, jan = await pair(stage, "ida", "jan")
        await connected(stage, ida, jan)
        await stage.perceives(jan)
        await stage.relay.kill()
        await stage.chromium.run(jan, "window.found.pictures.clear(); window.found.loudest = 0")
        await stage.perceives(jan)
        assert (await stage.stands(jan))["state"] == "connected"
        await stage.relay.start()
        words = (await stage.stands(ida))["words"]
        await stage.until(jan, "window.relay.online")
        await stage.until(ida, "window.relay.online")
        await stage.chromium.run(ida, "window.dispatchEvent(new Event('online'))")
        await stage.other_words(jan, words)
        await stage.perceives_anew(jan)
        await stage.chromium.run(ida, "await window.call.hangUp()")
        stands = await stage.is_in(jan, "ended")
        assert stands["ended"]["code"] == "call_over"


async def test_declined_cancelled_and_both_at_once(stage: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await pair(stage, "kim", "leo")
        run = stage.chromium.run
        await stage.call(kim, video=False)
        rung = await stage.until(leo, "window.rung && ({ user: window.rung.user, media: window.rung.media })")
        assert rung == {"user": "kim", "media": ["audio"]}
        await run(leo, "await window.rung.decline()")
        assert await stage.until(leo, "window.over") == "You declined."
        stands = await stage.is_in(kim, "ended")
        assert stands["ended"] == {"code": "call_declined", "message": "Leo declined."}
        await run(leo, "window.rung = window.over = undefined")
        await stage.call(kim, video=False)
        await stage.until(leo, "window.rung")
        await run(kim, "await window.call.hangUp()")
        assert await stage.until(leo, "window.over") == "Kim does not call any more. You missed the call."
        stands = await stage.is_in(kim, "ended")
        assert stands["ended"]["message"] == "You ended the call."
        missed = await stage.until(
            leo, "(await window.room.history()).findLast((item) => item.kind === 'call.ended' && item.missed)"
        )
        assert missed["outcome"] == "cancelled"
        await run(leo, "window.rung = undefined")
        await asyncio.gather(stage.call(kim, video=False), stage.call(leo, video=False))
        gave_way = {
            asyncio.ensure_future(
                stage.until(page, "window.call.ended?.code === 'call_glare' && who", who=page)
            )
            for page in (kim, leo)
        }
        done, waiting = await asyncio.wait(gave_way, return_when=asyncio.FIRST_COMPLETED)
        loser = done.pop().result()
        winner = leo if loser == kim else kim
        for other in waiting:
            other.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await stage.accept(loser, video=False)
        await asyncio.gather(stage.is_in(winner, "connected"), stage.is_in(loser, "connected"))
        await run(winner, "await window.call.hangUp()")
        await stage.is_in(loser, "ended")
        await stage.calm(kim, leo)


async def test_the_page_is_reloaded_in_the_middle(stage: CallStage) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await pair(stage, "mia", "nils")
        await stage.call(mia, video=False)
        await stage.until(nils, "window.rung")
        await stage.chromium.ask("reload", name=nils)  # it rings again in the new page
        await stage.start(nils, "nils")
        await stage.chromium.run(nils, PAGE)
        await stage.accept(nils, video=False)
        await asyncio.gather(stage.is_in(mia, "connected"), stage.is_in(nils, "connected"))
        await stage.chromium.ask("reload", name=mia)  # who called is gone: the call is over
        await stage.start(mia, "mia")
        stands = await stage.is_in(nils, "ended")
        assert stands["ended"]["code"] in ("call_over", "call_elsewhere")
        ended = await stage.until(
            nils, "(await window.room.history()).find((item) => item.kind === 'call.ended')"
        )
        assert ended["outcome"] == "answered"


TROUBLES = [
    ("NotAllowedError", "refused", "not allowed for this page"),
    ("NotFoundError", "missing", "was found"),
    ("NotReadableError", "busy", "another program"),
]


@pytest.mark.parametrize(("error", "code", "says"), TROUBLES, ids=[row[1] for row in TROUBLES])
async def test_a_camera_that_is_refused_is_explained_and_the_call_goes_on(
    stage: CallStage, error: str, code: str, says: str
) -> None:
    async with asyncio.timeout(PATIENCE):
        olga, paul = await pair(stage, f"olga-{code}", f"paul-{code}")
        await stage.chromium.run(
            olga,
            "const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
            "navigator.mediaDevices.getUserMedia = async (wanted) => {"
            " if (wanted.video) throw new DOMException('', error); return real(wanted); }",
            error=error,
        )
        await connected(stage, olga, paul)
        stands = await stage.stands(olga)
        assert (stands["camera"], stands["microphone"]) == (False, True)
        assert stands["trouble"]["code"] == f"call_camera_{code}"
        assert says in stands["trouble"]["message"]
        assert "camera" in stands["trouble"]["message"].lower()
        await stage.perceives(olga)  # the other one is seen and heard
        await stage.perceives(paul, pictures=0)
        await stage.chromium.run(olga, "await window.call.hangUp()")
        await stage.is_in(paul, "ended")


FORBIDS = {"Permissions-Policy": "camera=(), microphone=()"}


async def test_a_page_that_forbids_camera_and_microphone_says_so(stage: CallStage) -> None:
    stage.portal.headers["uma"] = FORBIDS
    async with asyncio.timeout(PATIENCE):
        uma, vera = await pair(stage, "uma", "vera")
        await connected(stage, vera, uma)
        trouble = (await stage.stands(uma))["trouble"]
        assert trouble["code"] == "call_microphone_blocked"
        for feature in ("microphone", "camera"):
            assert (
                f"the header Permissions-Policy of this page must not forbid “{feature}”"
                in trouble["message"]
            )
        await stage.perceives(uma)  # the call goes on: the other one is seen and heard
        await stage.chromium.run(vera, "await window.call.hangUp()")
        await stage.is_in(uma, "ended")


# By a TURN server alone

ONLY = """
const { createCoachRelay } = await import("/coach-relay.js");
const parameters = new URLSearchParams(location.search);
const tokenProvider = async () => (await fetch("/token?user=" + parameters.get("user"))).text();
const options = { url: parameters.get("relay"), tokenProvider, name: "Sven", relayOnlyCalls: true };
window.relay = await createCoachRelay(options);
window.room = await window.relay.engagement(parameters.get("engagement"));
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def turned(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[CallStage, Coturn]]:
    folder = tmp_path_factory.mktemp("turned")
    async with coturn_process(folder, *LOOPBACK) as coturn:
        url = coturn.urls[0]
        settings = {"COACH_RELAY_TURN_URLS": url, "COACH_RELAY_TURN_SECRET": coturn.secret}
        async with staged(folder, settings) as made:
            yield made, coturn


@requires_coturn
async def test_a_call_through_coturn_alone(
    turned: tuple[CallStage, Coturn], tmp_path: Path, film: Path
) -> None:
    stage, coturn = turned
    engagement = await stage.relay.create_engagement(rita="coach", sven="client")
    settings = CallSettings(loopback=True, relay_only=True)
    async with asyncio.timeout(PATIENCE), stage.caller("rita", settings) as rita:
        room = await rita.engagement(engagement)
        sven = await stage.page("sven", engagement)
        await stage.chromium.run(sven, ONLY)
        await stage.chromium.run(sven, PAGE)
        await met(room, stage, sven)
        call = await room.call(media=film, record=tmp_path / "came.mp4")
        await stage.accept(sven)
        await call.wait_connected()
        assert call.path == "relay"
        await asyncio.gather(stage.perceives(sven), enough(call))
        await call.hang_up()
        await stage.is_in(sven, "ended")
        await check(tmp_path / "came.mp4")
        assert "realm" in coturn.output.read_text() or coturn.output.stat().st_size > 0
