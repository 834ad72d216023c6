"""Another camera in mid-call, through the element: seen on the other side, explained when unplugged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.callers import Person, call, meet
from tests.browser.calling import ARGUMENTS
from tests.browser.embedded import Place, browser_with, missing, place

PATIENCE = 200
ALL = [f"fake_device_{number}" for number in range(4)]
FIRST, OTHER = ALL[0], ALL[2]  # the one between is of depths: nothing of it is ever sent
CAMERAS = "--use-fake-device-for-media-stream=device-count=4,fps=30"

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(300),
]

IN_CALL = """
const within = (node) => [...node.querySelectorAll("*")].flatMap((each) =>
  [each, ...(each.shadowRoot ? within(each.shadowRoot) : [])]);
const video = (name) => within(document).find((each) => each.matches("video." + name));
"""
# What is unplugged is not there any more, and its track has ended: as browsers do.
UNPLUG = """
const track = video("local").srcObject.getVideoTracks()[0];
const gone = track.getSettings().deviceId;
const enumerate = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
navigator.mediaDevices.enumerateDevices = async () =>
  (await enumerate()).filter(({ deviceId }) => deviceId !== gone);
track.stop();
track.dispatchEvent(new Event("ended"));
navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
"""


@pytest_asyncio.fixture(loop_scope="session")
async def two_cameras(tmp_path: Path) -> AsyncIterator[Place]:
    async with browser_with(*ARGUMENTS, CAMERAS) as chromium, place(tmp_path, chromium) as made:
        yield made


async def sent(person: Person) -> str | None:
    """Which camera goes out."""
    code = "return video('local').srcObject.getVideoTracks()[0]?.getSettings().deviceId ?? null"
    found: str | None = await person.there.in_frame(person.page, IN_CALL + code)
    return found


async def sees_more(person: Person) -> None:
    """Further pictures are shown there from now on."""
    count = "return video('remote').getVideoPlaybackQuality().totalVideoFrames"
    before = await person.there.in_frame(person.page, IN_CALL + count)
    while await person.there.in_frame(person.page, IN_CALL + count) < before + 15:  # noqa: ASYNC110  a count elsewhere
        await asyncio.sleep(0.05)


async def cameras(person: Person) -> list[Any]:
    """As the choice shows them: their names, and whether they are the chosen one."""
    options = 'one.getByRole("combobox", { name: "Camera" }).locator("option")'
    found: list[Any] = await person.does(
        f"return {options}.evaluateAll((all) => all.map((each) => [each.label, each.selected]))"
    )
    return found


async def chooses(person: Person, label: str) -> None:
    choose = 'await one.getByRole("combobox", { name: "Camera" }).selectOption({ label }); return null;'
    await person.does(choose, label=label)


async def test_another_camera_is_chosen_and_seen_and_one_that_is_unplugged_explained(
    two_cameras: Place,
) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await meet(two_cameras, kim="coach", leo="client")
        await call(kim, leo, "Kim", video=True)
        await sees_more(leo)
        first = await sent(kim)
        await kim.clicks("Devices")
        await kim.reads("Camera, microphone, loudspeaker")
        assert await cameras(kim) == [[name, name == FIRST] for name in ALL]
        await chooses(kim, OTHER)
        while await sent(kim) == first:  # noqa: ASYNC110  another program's state
            await asyncio.sleep(0.05)
        await sees_more(leo)
        assert [name for name, chosen in await cameras(kim) if chosen] == [OTHER]
        second = await sent(kim)
        await two_cameras.in_frame(kim.page, IN_CALL + UNPLUG)
        await kim.reads("The camera was disconnected, or is not allowed any more.")
        await kim.reads("The others do not see you.")
        while len(await cameras(kim)) != len(ALL) - 1:  # noqa: ASYNC110  the choice follows by itself
            await asyncio.sleep(0.05)
        await chooses(kim, FIRST)
        await kim.no_longer_reads("The camera was disconnected")
        assert await sent(kim) not in (None, second)
        await sees_more(leo)
        assert await two_cameras.chromium.ask("errors") == []


async def test_a_camera_that_is_switched_off_leaves_no_old_picture_on_the_other_side(
    two_cameras: Place,
) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await meet(two_cameras, mia="coach", nils="client")
        await call(mia, nils, "Mia", video=True)
        await sees_more(nils)
        await nils.no_longer_reads("No picture from Mia")
        await mia.clicks("Camera off")
        await nils.reads("No picture from Mia")
        await sees_more(mia)  # the other direction goes on
        await mia.clicks("Camera on")
        await nils.no_longer_reads("No picture from Mia")
        await sees_more(nils)
        assert await two_cameras.chromium.ask("errors") == []
