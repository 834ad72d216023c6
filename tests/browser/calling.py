"""Pages that call, and what they and recordings perceive: pictures that move, sound that is heard."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from client_sdk import Client, Engagement, Ring
from client_sdk.calls import Call, CallSettings
from tests.browser.chromium import Chromium, Portal, RelayForPages
from tests.browser.stage import Stage, next_of
from tests.support.real_relay import RealRelay

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

    async def reload(self, page: str, user: str) -> None:
        """The page is opened anew, and listens for calls again."""
        await self.chromium.ask("reload", name=page)
        await self.start(page, user)
        await self.chromium.run(page, PAGE)

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
async def staged(
    folder: Path, chromium: Chromium, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[CallStage]:
    portal = Portal()
    await portal.start()
    relay = portal.relay = RelayWithTurn(folder, portal.origin, settings)
    await relay.start()
    try:
        yield CallStage(relay, portal, chromium, folder)
    finally:
        await relay.kill()
        await portal.stop()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a recording shows."""

    pictures: int
    loudest: float


def loudness(frame: Any) -> float:
    """The root mean square of a frame's samples; 1.0 is as loud as can be."""
    floats = frame.format.name.startswith("flt")
    samples = array("f" if floats else "h", bytes(frame.planes[0]))[: frame.samples]
    power = sum(float(sample) ** 2 for sample in samples) / max(1, len(samples))
    return math.sqrt(power) / (1.0 if floats else 32768.0)


def look(recording: Path) -> Seen:
    """Decode it all: how many pictures differ, and how loud the loudest moment is."""
    import av

    pictures: set[bytes] = set()
    loudest = 0.0
    with av.open(str(recording)) as container:
        for frame in container.decode():
            decoded: Any = frame
            if hasattr(decoded, "sample_rate"):
                loudest = max(loudest, loudness(decoded))
            else:
                small = decoded.reformat(width=64, height=48, format="gray")
                pictures.add(bytes(small.planes[0]))
    return Seen(pictures=len(pictures), loudest=loudest)


async def check(recording: Path) -> None:
    seen = await asyncio.to_thread(look, recording)
    assert seen.pictures > 10
    assert seen.loudest > HEARD


async def rings(room: Engagement) -> Ring:
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
