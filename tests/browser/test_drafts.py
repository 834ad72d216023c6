"""What was begun and not sent outlives the page, sealed in the browser's vault."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.browser import marks
from tests.browser.stage import PATIENCE, Stage

pytestmark = marks.in_chromium()

# All that this origin has stored, as text: records of IndexedDB byte by byte, and the two plain stores.
STORED: Final = """
const found = [JSON.stringify({ ...localStorage, ...sessionStorage })];
for (const { name } of await indexedDB.databases()) {
  const opening = indexedDB.open(name);
  const db = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
  const all = db.transaction("records").objectStore("records").getAll();
  await new Promise((done) => { all.onsuccess = done; });
  found.push(...all.result.map((one) => new TextDecoder("latin1").decode(one)));
  db.close();
}
return found.join("");
"""


async def test_a_draft_outlives_a_reload_and_is_nowhere_in_the_clear(stage: Stage) -> None:
    engagement = await stage.relay.create_engagement(rosa="coach", sam="client")
    run = stage.chromium.run
    draft = {"text": "A long thought about the quarter", "replyTo": None}
    async with asyncio.timeout(PATIENCE):
        rosa = await stage.enters("rosa", engagement)
        assert await run(rosa, "return window.room.draft()") is None
        await run(rosa, "return window.room.keepDraft(draft)", draft=draft)
        await stage.chromium.ask("reload", name=rosa)
        await stage.start(rosa, "rosa")
        assert await run(rosa, "return window.room.draft()") == draft
        stored = await run(rosa, STORED)
        assert len(stored) > 200
        assert "thought" not in stored
        await run(rosa, "return window.room.keepDraft(null)")
        assert await run(rosa, "return window.room.draft()") is None
        await stage.calm(rosa)
