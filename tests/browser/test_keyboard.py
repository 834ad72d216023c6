"""The demo page with the keyboard alone, by the accessibility tree: a coach at a phone's width, a client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.calling import CallStage
from tests.browser.embedded import missing
from tests.browser.keyboard import LISTEN, SPOKEN, WALKER
from tests.browser.test_story import demo_page

PATIENCE: Final = 200

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(300),
]

MAKES_A_KIT: Final = """
await one.getByRole("button", { name: /^This is my first device/ }).waitFor();
await use("button", /^This is my first device/);
await arrives("heading", "Your recovery kit");
await use("button", "Show the words");
await arrives("heading", "Your recovery kit");
const words = await one.getByRole("list", { name: "The twelve words" }).getByRole("listitem").allInnerTexts();
await use("button", "I have the page");
for (const key of ["Tab", "Enter"]) {
  await arrives("textbox", /^Word \\d+$/);
  const asked = (await here()).name;
  await type(words[Number(asked.slice(5)) - 1].trim());
  await press(key);
}
await arrives("heading", "Your recovery kit is made");
await use("button", "Done");
await arrives(/^(button|textbox)$/, /^(Who can read this|Write a message)/); // the latter once she is let in
await one.getByRole("textbox", { name: "Write a message" }).waitFor();
await to("textbox", "Write a message");
return null;
"""
LEAVES_THE_KIT: Final = """
await one.getByRole("button", { name: /^This is my first device/ }).waitFor();
await use("button", /^This is my first device/);
await arrives("heading", "Your recovery kit");
await press("Escape");
await one.getByRole("textbox", { name: "Write a message" }).waitFor();
return null;
"""
REPLIES: Final = """
await reads("How was the week?");
await newest();
await act("Reply");
await arrives("textbox", "Write a message");
await type("Long, ");
await page.waitForTimeout(50);
await type("but good.");
await press("Enter");
await reads("Long, but good.");
await newest();
await press("ArrowUp");
await arrives("article", /^Anna Lindqvist, /);
await act("👍");
await arrives("article", /^Anna Lindqvist, /);
return null;
"""
AMENDS: Final = """
await reads("Long, but good.");
await newest();
await press("ArrowUp");
await arrives("article", /^You, /);
await to("button", /^👍 from Ben Okafor/);
await to("article", /^You, /, "Shift+Tab");
await act("Edit");
await arrives("textbox", "Write a message");
await press("Control+a");
await type("How was the whole week?");
await press("Enter");
await reads("edited");
await arrives("textbox", "Write a message");
await write("a slip");
await to("article", /^You, /, "Shift+Tab"); // the newest, not where one was before
await act("Take back");
await arrives("button", "Cancel");
await use("button", "Take back", "Shift+Tab");
await reads("You took this message back.");
if (await one.getByText("a slip", { exact: true }).count() > 0) throw new Error("another one was taken back");
await arrives("textbox", "Write a message");
return null;
"""
SENDS_A_FILE: Final = """
const chooser = page.waitForEvent("filechooser");
await to("textbox", "Write a message");
await use("button", "Attach a file or an image", "Shift+Tab");
const plan = { name: "plan.txt", mimeType: "text/plain", buffer: Buffer.from("the plan") };
await (await chooser).setFiles(plan);
await arrives("textbox", "Write a message");
await press("Enter");
await reads("plan.txt");
return null;
"""
SAVES_IT: Final = """
const texts = ["How was the whole week?", "Anna Lindqvist took this message back.", "plan.txt"];
for (const text of texts) await reads(text);
await to("textbox", "Write a message");
await newest();
const download = page.waitForEvent("download");
await use("button", "Save plan.txt on this device");
const stream = await (await download).createReadStream();
const pieces = [];
for await (const piece of stream) pieces.push(piece);
return Buffer.concat(pieces).toString();
"""
ASKS: Final = """
await use("button", "New check-in", "Shift+Tab");
await arrives("textbox", /^What is it about/);
await type("How is your energy?");
await to("textbox", /^Question/);
await type("Energy today");
await use("button", "Send check-in");
await arrives("button", "New check-in");
return null;
"""
ANSWERS: Final = """
await reads("Energy today");
await to("textbox", "Write a message");
await newest();
await to("radio", "1");
await press("Space", "ArrowRight", "ArrowRight");
await arrives("radio", "3");
await use("button", "Send answers");
await arrives("article", /./);
await reads(/You answered/);
return null;
"""
SEES_THE_TREND: Final = """
await reads(/Ben Okafor answered/);
await use("button", "Check-ins over time", "Shift+Tab");
await arrives("heading", "Check-ins over time");
await one.getByRole("img", { name: /^Energy today: 1 answer, from 3 at first to 3/ }).waitFor();
await to("DisclosureTriangle", "As a table");
await press("Enter");
await one.getByRole("cell", { name: "Ben Okafor" }).waitFor();
await press("Escape");
await arrives("button", "Check-ins over time");
return null;
"""
VERIFIES: Final = """
await use("button", /^Who can read this/, "Shift+Tab");
await arrives("heading", "Who can read this");
await use("button", "Verify: Anna Lindqvist");
await arrives("heading", "Verify Anna Lindqvist");
await to("tab", "Numbers");
await press("ArrowRight");
await arrives("tab", "My code");
await press("ArrowLeft");
await use("button", "They are the same");
await arrives("heading", "Anna Lindqvist is verified.");
await use("button", "Done");
await arrives("button", "Show numbers: Anna Lindqvist");
await use("button", "Add a device");
await arrives("textbox", /^The twelve words/);
return null;
"""
SHOWS_ITS_WORDS: Final = """
await one.getByRole("button", { name: /^I have another device/ }).waitFor();
await use("button", /^I have another device/);
await arrives("textbox", /^Name of this device/);
await press("Control+a");
await type("A tablet");
await press("Enter");
const list = one.getByRole("list");
await list.waitFor();
return (await list.getByRole("listitem").allInnerTexts()).join(" ");
"""
LETS_IT_IN: Final = """
await type(words);
await use("button", "Find the device");
await arrives("heading", "Is “A tablet” your device?");
await use("button", "Yes, add A tablet");
await reads("A tablet is one of your devices now.");
await arrives("heading", "Add a device");
await use("button", "Done");
await arrives("button", "Add a device");
await press("Escape");
await arrives("button", /^Who can read this/);
return null;
"""
IS_IN: Final = """
await reads("How was the whole week?");
await arrives(/^(button|textbox)$/, /^(Who can read this|Write a message)/); // not nowhere
await to("textbox", "Write a message");
return null;
"""
CALLS: Final = """
await use("button", "Call with picture", "Shift+Tab");
await arrives("button", "Mute");
return null;
"""
TAKES_THE_CALL: Final = """
await arrives("button", "Answer");
await use("button", "Answer with picture");
await arrives("button", "Mute");
await one.getByText(/^(Connected|Good connection)$/).first().waitFor();
await use("button", "Five words");
await arrives("heading", "Make sure that it is Ben Okafor");
const words = await one.getByRole("list", { name: "Five words" }).getByRole("listitem").allInnerTexts();
await use("button", "We have the same words");
await reads("Ben Okafor is verified.");
await arrives("heading", "Make sure that it is Ben Okafor");
await press("Escape");
await arrives("button", "Five words");
return words;
"""
SEES_THE_SAME: Final = """
await use("button", "Five words");
const list = one.getByRole("list", { name: "Five words" });
await list.waitFor();
const words = await list.getByRole("listitem").allInnerTexts();
await press("Escape");
await arrives("button", "Five words");
return words;
"""
ENDS_IT: Final = """
await use("button", "End call");
await arrives("textbox", "Write a message");
return null;
"""
IS_BACK: Final = "await arrives('textbox', 'Write a message'); return null;"


async def test_the_whole_story_with_the_keyboard_alone(tmp_path: Path, calls: CallStage) -> None:
    chromium = calls.chromium

    async def does(page: str, what: str, **values: object) -> Any:
        return await chromium.script(page, WALKER + what, **values)

    async with asyncio.timeout(PATIENCE), demo_page(tmp_path) as address:

        async def opens(page: str, user: str, width: int, height: int) -> None:
            url = address.replace("localhost", f"{user}.localhost")
            await chromium.ask("open", name=page, url=url, viewport={"width": width, "height": height})

        await opens("anna", "anna", 360, 740)
        await opens("ben", "ben", 1440, 900)
        await does("anna", MAKES_A_KIT)
        await does("ben", LEAVES_THE_KIT)
        for page in ("anna", "ben"):
            await does(page, LISTEN)
        await does("anna", "await write('How was the week?'); return null")
        await does("ben", REPLIES)
        await does("anna", AMENDS)
        await does("anna", SENDS_A_FILE)
        assert await does("ben", SAVES_IT) == "the plan"
        await does("anna", ASKS)
        await does("ben", ANSWERS)
        await does("anna", SEES_THE_TREND)
        await does("ben", VERIFIES)
        await opens("tablet", "ben", 820, 1180)
        words = await does("tablet", SHOWS_ITS_WORDS)
        assert len(words.split()) == 12
        await does("ben", LETS_IT_IN, words=words)
        await does("tablet", IS_IN)
        await chromium.ask("close", name="tablet")
        await does("ben", CALLS)
        hers = await does("anna", TAKES_THE_CALL)
        assert len(hers) == 5
        assert await does("ben", SEES_THE_SAME) == hers
        await does("anna", ENDS_IT)
        await does("ben", IS_BACK)

        # Each is said once, by whatever name the other had by then.
        for page, said in (
            ("anna", [": Long, but good.", " is typing…"]),
            ("ben", [": How was the week?", ": plan.txt"]),
        ):
            spoken: list[str] = await does(page, SPOKEN)
            assert [sum(one.endswith(end) for one in spoken) for end in said] == [1] * len(said), spoken
        assert await chromium.ask("errors") == []
