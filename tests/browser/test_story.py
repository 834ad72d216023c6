"""The demo page's whole story, in a real Chromium, and what may happen in the middle of it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.browser import marks
from tests.browser.embedded import FRAME, Place
from tests.relay.cli.processes import environment

PATIENCE: Final = 200

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(300)]

PEOPLE: Final = """
const of = async (who) => {
  const part = "frame.html?parent=http%3A%2F%2F" + who;
  for (;;) {
    const found = page.frames().find((one) => one.url().includes(part));
    if (found) return found;
    await page.waitForTimeout(50);
  }
};
const anna = await of("anna"), ben = await of("ben");
const reads = (one, text) => one.getByText(text).first().waitFor();
const click = (one, name) =>
  one.getByRole("button", { name, exact: typeof name === "string" }).first().click();
const write = async (one, text) => {
  await one.getByRole("textbox", { name: "Write a message" }).fill(text);
  await click(one, "Send");
};
"""

BEGIN: Final = """
for (const one of [anna, ben]) await click(one, /first device/);
for (const one of [anna, ben]) await click(one, "Later"); // the recovery kit
return null;
"""

WRITE: Final = """
await write(anna, "How was the week?");
await reads(ben, "How was the week?");
await write(ben, "Long, but good.");
await reads(anna, "Long, but good.");
return null;
"""

FILE: Final = """
const chooser = page.waitForEvent("filechooser");
await click(anna, "Attach a file or an image");
const buffer = Buffer.from("the plan ".repeat(5000));
const plan = { name: "plan.txt", mimeType: "text/plain", buffer };
await (await chooser).setFiles(plan);
await click(anna, "Send");
const download = page.waitForEvent("download");
await click(ben, "Save plan.txt on this device");
const stream = await (await download).createReadStream();
const pieces = [];
for await (const piece of stream) pieces.push(piece);
return Buffer.concat(pieces).equals(plan.buffer);
"""

CHECK_IN: Final = """
await click(anna, "New check-in");
await anna.getByRole("textbox", { name: /What is it about/ }).fill("How is your energy?");
await anna.getByRole("textbox", { name: "Question" }).first().fill("Energy today");
await click(anna, "Send check-in");
await ben.getByRole("radio", { name: "8", exact: true }).check({ force: true });
await click(ben, "Send answers");
await reads(anna, /Ben Okafor answered/);
return null;
"""

VERIFY: Final = """
await click(anna, /Who can read this/);
await click(anna, /^Verify/);
await click(anna, "They are the same");
await reads(anna, "Ben Okafor is verified.");
for (let times = 0; times < 3; times += 1) await page.keyboard.press("Escape");
return null;
"""

CALL: Final = """
const moves = (one) => one.waitForFunction(() => {
  const within = (node) => [...node.querySelectorAll("*")].flatMap((each) =>
    [each, ...(each.shadowRoot ? within(each.shadowRoot) : [])]);
  const pictures = within(document).filter((each) => each.tagName === "VIDEO");
  const frames = pictures.map((each) => each.getVideoPlaybackQuality().totalVideoFrames);
  return frames.length > 1 && frames.every((count) => count > 20);
});
await click(ben, "Call with picture");
await click(anna, "Answer with picture");
await Promise.all([moves(anna), moves(ben)]);
const words = async (one) => {
  await click(one, "Five words");
  return one.getByRole("list", { name: "Five words" }).getByRole("listitem").allInnerTexts();
};
const both = [await words(anna), await words(ben)];
await click(ben, "We have the same words");
await reads(ben, "Anna Lindqvist is verified.");
await click(ben, "End call");
await anna.getByRole("button", { name: "End call" }).waitFor({ state: "detached" });
return both;
"""

AFTERWARDS: Final = """
const said = ["How was the week?", "Long, but good.", "How is your energy?"];
for (const one of [anna, ben]) for (const text of said) await reads(one, text);
await write(anna, "until next week");
await reads(ben, "until next week");
return anna.getByRole("button", { name: /first device/ }).count();
"""


@asynccontextmanager
async def demo_page(folder: Path) -> AsyncIterator[str]:
    """`coach demo --page`, until Ctrl-C; its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client_sdk.cli.main", "demo", "--page"),
        cwd=folder,
        env=environment(DISPLAY="", WAYLAND_DISPLAY="", PYTHONWARNINGS="default"),
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        async for line in process.stdout:
            found = re.search(r"http://localhost:\d+/", line.decode())
            if found is not None:
                yield found[0]
                break
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(150):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_whole_story_of_the_demo_page(tmp_path: Path, there: Place) -> None:
    chromium = there.chromium
    async with asyncio.timeout(PATIENCE), demo_page(tmp_path) as address:
        await chromium.ask("open", name="demo", url=address, viewport={"width": 1400, "height": 900})
        for part in (BEGIN, WRITE):
            await chromium.script("demo", PEOPLE + part)
        assert await chromium.script("demo", PEOPLE + FILE) is True
        for part in (CHECK_IN, VERIFY):
            await chromium.script("demo", PEOPLE + part)
        hers, his = await chromium.script("demo", PEOPLE + CALL)
        assert len(hers) == 5
        assert hers == his
        await chromium.ask("reload", name="demo")
        assert await chromium.script("demo", PEOPLE + AFTERWARDS) == 0
        assert await chromium.ask("errors") == []


WRITES: Final = """
const one = await frame(part);
await one.getByRole("textbox", { name: "Write a message" }).fill(text);
await one.getByRole("button", { name: "Send", exact: true }).first().click();
await one.getByText(text).first().waitFor();
return null;
"""
READS: Final = "await (await frame(part)).getByText(text).first().waitFor({ timeout: 60000 }); return null;"
LATER: Final = """
await (await frame(part)).getByRole("button", { name: "Later", exact: true }).click();
return null;
"""
WIPE: Final = """
const one = await frame(part);
await one.evaluate(`(async () => {
  for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
})()`);
return null;
"""


async def two(there: Place, **roster: str) -> tuple[str, str]:
    """Pages of two people who have begun, of two profiles."""
    engagement = await there.relay.create_engagement(**roster)
    first, second = roster
    for user in (first, second):
        await there.open(user, engagement, user)
        await there.begin(user)
        await there.chromium.script(user, LATER, part=FRAME)
    return first, second


async def test_offline_for_a_while_a_killed_relay_and_a_reload_in_the_middle(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        run = there.chromium.script
        eva, finn = await two(there, eva="coach", finn="client")
        await run(eva, WRITES, part=FRAME, text="a first word")
        await run(finn, READS, part=FRAME, text="a first word")
        await there.chromium.ask("offline", name=finn, offline=True)
        await run(finn, WRITES, part=FRAME, text="two, while offline")
        await run(eva, WRITES, part=FRAME, text="three, meanwhile")
        await there.chromium.ask("offline", name=finn, offline=False)
        await run(eva, READS, part=FRAME, text="two, while offline")
        await run(finn, READS, part=FRAME, text="three, meanwhile")
        await there.relay.kill()
        await run(eva, WRITES, part=FRAME, text="four, while nobody carried it")
        await there.chromium.ask("reload", name=finn)  # the portal's page is there, the frame's is not
        await there.relay.start()
        await there.chromium.ask("reload", name=finn)
        await run(finn, READS, part=FRAME, text="four, while nobody carried it")
        await run(finn, WRITES, part=FRAME, text="a last word")
        await run(eva, READS, part=FRAME, text="a last word")


async def test_a_connection_that_the_network_dropped_without_a_word_is_noticed(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        run = there.chromium.script
        vera, wolf = await two(there, vera="coach", wolf="client")
        await run(vera, WRITES, part=FRAME, text="a first word")
        await run(wolf, READS, part=FRAME, text="a first word")
        with there.relay.mute():
            await there.chromium.ask("offline", name=wolf, offline=True)
            await run(wolf, READS, part=FRAME, text="What you write is kept and sent by itself.")
            await run(wolf, WRITES, part=FRAME, text="from a tunnel")
        await there.chromium.ask("offline", name=wolf, offline=False)
        await run(vera, READS, part=FRAME, text="from a tunnel")


async def test_a_store_that_was_wiped_is_not_passed_over_in_silence(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        run = there.chromium.script
        gus, hana = await two(there, gus="coach", hana="client")
        await run(gus, WRITES, part=FRAME, text="a heron")
        await run(hana, READS, part=FRAME, text="a heron")
        await run(hana, WIPE, part=FRAME)
        await there.chromium.ask("reload", name=hana)
        # That they have a device elsewhere is known: what there is to do is said, and nothing is begun anew.
        await run(hana, READS, part=FRAME, text="another device")
        shown = "return (await (await frame(part)).getByText('a heron').count())"
        assert await run(hana, shown, part=FRAME) == 0


SEES_WHY: Final = """
const one = await frame(part);
const click = (name) => one.getByRole("button", { name, exact: true }).first().click();
await click("Answer");
const why = one.getByRole("alert").filter({ hasText: "The microphone is blocked" });
await why.waitFor({ timeout: 60000 });
const said = await why.innerText();
await click("End call");
return said;
"""
CALLS: Final = """
await (await frame(part)).getByRole("button", { name: "Call with sound", exact: true }).first().click();
return null;
"""


async def test_who_is_called_in_a_page_whose_header_forbids_the_microphone_sees_why(there: Place) -> None:
    """A real header of the portal's page, around the frame that asks."""
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(ida="coach", jan="client")
        there.site.pages["/forbids"] = (
            there.site.html(engagement, "jan"),
            {"Permissions-Policy": "microphone=(self)"},
        )
        await there.open("ida", engagement, "ida")
        await there.chromium.ask("open", name="jan", url=f"{there.site.origin()}/forbids?user=jan")
        for page in ("ida", "jan"):
            await there.begin(page)
            await there.chromium.script(page, LATER, part=FRAME)
        await there.chromium.script("ida", WRITES, part=FRAME, text="I call you")
        await there.chromium.script("jan", READS, part=FRAME, text="I call you")
        await there.chromium.script("ida", CALLS, part=FRAME)
        said = await there.chromium.script("jan", SEES_WHY, part=FRAME)
        assert "blocked by the page itself, not by you" in said
        assert 'allow="microphone"' in said
        assert "of this page or of the page around it must not forbid “microphone”" in said
        assert "The others do not hear you." in said


TAKES: Final = """
await (await frame(part)).getByRole("button", { name: "Answer", exact: true }).first().click();
return null;
"""
TALKS: Final = """
const one = await frame(part);
await one.getByText(/^(Connected|Good connection)$/).first().waitFor({ timeout: 60000 });
return null;
"""
RETURNS: Final = """
const one = await frame(part);
const asked = one.getByRole("alertdialog", { name: "You were in a call with " + other });
await asked.waitFor({ timeout: 60000 });
const said = await asked.innerText();
await asked.getByRole("button", { name: "Return to the call", exact: true }).click();
return said;
"""
ENDS: Final = """
const one = await frame(part);
await one.getByRole("button", { name: "End call", exact: true }).first().click();
return null;
"""


async def test_who_reloads_the_portals_page_in_mid_call_is_asked_back_into_it(there: Place) -> None:
    """First one, then both at once; the frame of another origin keeps in its own store what it needs."""
    run = there.chromium.script
    async with asyncio.timeout(PATIENCE):
        kim, leo = await two(there, kim="coach", leo="client")
        await run(kim, WRITES, part=FRAME, text="I call you")
        await run(leo, READS, part=FRAME, text="I call you")
        await run(kim, CALLS, part=FRAME)
        await run(leo, TAKES, part=FRAME)
        await asyncio.gather(*(run(page, TALKS, part=FRAME) for page in (kim, leo)))
        await there.chromium.ask("reload", name=leo)
        await run(kim, READS, part=FRAME, text="Connecting again")
        assert "It goes on as soon as you return." in await run(leo, RETURNS, part=FRAME, other="Kim")
        await asyncio.gather(*(run(page, TALKS, part=FRAME) for page in (kim, leo)))
        await asyncio.gather(*(there.chromium.ask("reload", name=page) for page in (kim, leo)))
        await asyncio.gather(
            run(kim, RETURNS, part=FRAME, other="Leo"), run(leo, RETURNS, part=FRAME, other="Kim")
        )
        await asyncio.gather(*(run(page, TALKS, part=FRAME) for page in (kim, leo)))
        await run(leo, ENDS, part=FRAME)
        await run(kim, READS, part=FRAME, text="Leo ended the call.")
        assert await there.chromium.ask("errors") == []
