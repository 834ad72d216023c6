"""Sealed files between a page in a real Chromium and the Python SDK, whatever happens on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from client_sdk.engine.items import FileItem
from tests.browser import marks
from tests.browser.stage import PATIENCE, Stage, next_of

pytestmark = marks.in_chromium()
LARGE = 20_000_000
MAKE = """
window.made = (size) => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 7 + (at >> 9)) & 255;
  return new File([bytes], "../plan <1>.pdf", { type: "application/pdf" });
};
window.digest = async (blob) => {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};
"""
SEND_AND_THEN = (
    MAKE
    + """
const stop = window.room.on("transfer", (transfer) => {
  if (transfer.done < 4_000_000 || transfer.state !== "moving") return;
  stop();
  THEN
});
const id = await window.room.sendFile(window.made(size));
window.sent = id;
return id;
"""
)


@cache
def content(size: int) -> bytes:
    """What `made` makes."""
    return bytes((at * 7 + (at >> 9)) & 255 for at in range(size))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blobs(stage: Stage) -> list[Path]:
    """The sealed files that the relay has, each a folder of pieces, the newest last."""
    found = [path for path in (stage.relay.data / "blobs").iterdir() if not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.stat().st_ctime_ns)


def stored(blob: Path) -> int:
    """How much of it the relay has."""
    return sum(piece.stat().st_size for piece in blob.iterdir())


async def gone(stage: Stage, before: set[Path]) -> None:
    """The relay has erased what it did not have before."""
    while set(blobs(stage)) - before:  # noqa: ASYNC110  between two looks at another process's folder
        await asyncio.sleep(0.05)


async def meet(stage: Stage, coach: str, client: str) -> tuple[str, str]:
    """Two pages that talk."""
    engagement = await stage.relay.create_engagement(**{coach: "coach", client: "client"})
    one, other = await asyncio.gather(stage.enters(coach, engagement), stage.enters(client, engagement))
    await stage.say(one, "hello")
    await stage.hears(other, "hello")
    return one, other


async def received(stage: Stage, page: str) -> str:
    """The id of the file that somebody else sent, once the page has its message."""
    found: str = await stage.until(
        page, "(await window.room.history()).find((item) => item.kind === 'file' && !item.mine)?.id"
    )
    return found


async def test_twenty_megabytes_each_way_with_the_python_sdk(stage: Stage, tmp_path: Path) -> None:
    engagement = await stage.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), stage.python("anna") as anna:
        room = await anna.engagement(engagement)
        items = aiter(room.items())
        ben = await stage.enters("ben", engagement)
        await room.wait_joined()
        told = await stage.chromium.run(
            ben,
            MAKE
            + "const told = []; window.room.on('transfer', ({ state, done }) => told.push([state, done]));"
            "const id = await window.room.sendFile(window.made(size)); await window.until(() =>"
            "told.some(([state]) => state === 'done')); return [id, told];",
            size=LARGE,
        )
        item = await next_of(items, FileItem)
        assert (item.id.hex(), item.name, item.media_type) == (told[0], "plan _1_.pdf", "application/pdf")
        saved = await item.save(tmp_path)
        assert digest(saved.read_bytes()) == digest(content(LARGE))
        states = [state for state, _ in told[1]]
        assert states[0] == "waiting" or states[0] == "sealing"
        assert states[-1] == "done"
        moved = [done for state, done in told[1] if state == "moving"]
        assert moved == sorted(moved)
        assert moved[-1] == LARGE
        assert len(moved) > 4
        back = tmp_path / "back.bin"
        back.write_bytes(content(LARGE)[::-1])
        await room.send_file(back)
        file = await received(stage, ben)
        opened = await stage.chromium.run(
            ben,
            "const blob = await window.room.openFile(id);"
            "return [blob.size, blob.type, await window.digest(blob)]",
            id=file,
        )
        assert opened == [LARGE, "application/octet-stream", digest(back.read_bytes())]
        assert await stage.chromium.run(ben, "return window.room.transfers()") == []
        await stage.calm(ben)


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_001])
async def test_every_size_arrives(stage: Stage, size: int) -> None:
    async with asyncio.timeout(PATIENCE):
        one, other = await meet(stage, f"eva{size}", f"finn{size}")
        await stage.chromium.run(one, MAKE + "return window.room.sendFile(window.made(size))", size=size)
        file = await received(stage, other)
        got = await stage.chromium.run(
            other, MAKE + "return window.digest(await window.room.openFile(id))", id=file
        )
        assert got == digest(content(size))


async def test_a_page_reloaded_in_mid_upload_goes_on_where_it_was(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        ida, jan = await meet(stage, "ida", "jan")
        reload = SEND_AND_THEN.replace("THEN", "location.reload();").replace("return id", "")
        await stage.chromium.run(ida, f"window.before = 1; void (async () => {{ {reload} }})()", size=LARGE)
        again = "await page.waitForFunction(() => !window.before && window.start)"
        await stage.chromium.ask("script", name=ida, code=again)
        begun = blobs(stage)
        assert 0 < stored(begun[-1]) < LARGE
        await stage.start(ida, "ida")
        file = await received(stage, jan)
        got = await stage.chromium.run(
            jan, MAKE + "return window.digest(await window.room.openFile(id))", id=file
        )
        assert got == digest(content(LARGE))
        assert len(blobs(stage)) == len(begun)  # no second upload
        await stage.calm(jan)


async def test_paused_stays_paused_over_a_reload_and_goes_on_when_told(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        kim, leo = await meet(stage, "kim", "leo")
        pause = SEND_AND_THEN.replace("THEN", "void window.room.pause(transfer.id);")
        sent = await stage.chromium.run(kim, pause, size=LARGE)
        paused = "(await window.room.transfers()).find(({ state }) => state === 'paused')"
        shown = await stage.until(kim, paused)
        assert (shown["id"], shown["direction"], shown["size"]) == (sent, "up", LARGE)
        await stage.chromium.ask("reload", name=kim)
        await stage.start(kim, "kim")
        shown = await stage.until(kim, paused)
        assert shown["id"] == sent
        await stage.chromium.run(kim, "return window.room.resume(id)", id=sent)
        file = await received(stage, leo)
        assert file == sent
        got = await stage.chromium.run(
            leo, MAKE + "return window.digest(await window.room.openFile(id))", id=file
        )
        assert got == digest(content(LARGE))


async def test_cancelled_leaves_nothing_anywhere(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        mia, nils = await meet(stage, "mia", "nils")
        before = set(blobs(stage))
        cancel = SEND_AND_THEN.replace("THEN", "void window.room.cancel(transfer.id);")
        await stage.chromium.run(mia, cancel, size=LARGE)
        await stage.until(mia, "(await window.room.transfers()).length === 0")
        await gone(stage, before)
        left = await stage.chromium.run(
            mia,
            "const names = []; const walk = async (folder) => { for await (const one of folder.values())"
            " one.kind === 'directory' ? await walk(one) : names.push(one.name); };"
            "await walk(await navigator.storage.getDirectory()); return names",
        )
        assert left == []
        await stage.say(mia, "changed my mind")
        await stage.hears(nils, "changed my mind")
        kinds = {item["kind"] for item in await stage.history(nils)}
        assert kinds == {"text"}


async def test_the_relay_is_killed_in_mid_transfer_both_ways(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        olga, paul = await meet(stage, "olga", "paul")
        pause = SEND_AND_THEN.replace("THEN", "void window.room.pause(transfer.id);")
        sent = await stage.chromium.run(olga, pause, size=LARGE)
        await stage.until(olga, "(await window.room.transfers()).find(({ state }) => state === 'paused')")
        await stage.relay.kill()
        await stage.chromium.run(olga, "return window.room.resume(id)", id=sent)
        told = await stage.until(olga, "(await window.room.transfers()).find(({ failure }) => failure)")
        assert told["state"] == "waiting"
        await stage.relay.start()
        file = await received(stage, paul)
        await stage.chromium.run(
            paul,
            MAKE
            + "const stop = window.room.on('transfer', ({ id, done, state }) => { if (done < 4_000_000 ||"
            " state !== 'moving') return; stop(); void window.room.pause(id); });"
            "window.opened = window.room.openFile(id); return null",
            id=file,
        )
        await stage.until(paul, "(await window.room.transfers()).find(({ state }) => state === 'paused')")
        await stage.relay.kill()
        await stage.chromium.run(paul, "return window.room.resume(id)", id=file)
        await stage.relay.start()
        got = await stage.chromium.run(paul, "return window.digest(await window.opened)")
        assert got == digest(content(LARGE))


def flipped(data: bytes) -> bytes:
    return data[:70_000] + bytes([data[70_000] ^ 1]) + data[70_001:]


def headless(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("harm", [flipped, headless], ids=["a bit", "the header"])
async def test_what_is_not_what_was_sealed_is_refused(
    stage: Stage, harm: Callable[[bytes], bytes], request: pytest.FixtureRequest
) -> None:
    async with asyncio.timeout(PATIENCE):
        who = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
        one, other = await meet(stage, f"quinn{who}", f"rosa{who}")
        before = set(blobs(stage))
        await stage.chromium.run(one, MAKE + "return window.room.sendFile(window.made(200_000))")
        file = await received(stage, other)
        (folder,) = set(blobs(stage)) - before
        (sealed,) = folder.iterdir()
        sealed.write_bytes(harm(sealed.read_bytes()))
        refused = await stage.chromium.run(
            other,
            "return window.room.openFile(id).then(() => null, ({ code, message }) => [code, message])",
            id=file,
        )
        assert refused is not None
        assert refused[0] == "attachment_altered"
        assert "altered" in refused[1]


async def test_a_file_that_is_taken_back_is_gone_at_the_relay_too(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        sven, tina = await meet(stage, "sven", "tina")
        before = set(blobs(stage))
        sent = await stage.chromium.run(sven, MAKE + "return window.room.sendFile(window.made(1000))")
        file = await received(stage, tina)
        await stage.chromium.run(sven, "return window.room.retract(id)", id=sent)
        await stage.until(tina, "(await window.room.item(id)).kind === 'retracted'", id=file)
        await gone(stage, before)
        code = await stage.chromium.run(
            tina, "return window.room.openFile(id).then(() => null, ({ code }) => code)", id=file
        )
        assert code == "usage"
