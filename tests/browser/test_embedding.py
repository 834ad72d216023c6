"""`<coach-relay>` in portals' pages: good ones, wrong ones, and one that tries to read along."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from client_sdk import Client
from relay.http.element_files import element_folder, frame_policy
from tests.browser import marks
from tests.browser.embedded import FRAME, Place, browser_with, place

PATIENCE: Final = 150
CANARY: Final = "the heron stood in the reeds at dawn"
NOBODY: Final = "not an origin"
REFUSED: Final = "chrome-error://chromewebdata/"

pytestmark = marks.with_the_element()


def python(there: Place, folder: Path, user: str) -> Any:
    """This person with the Python SDK."""
    vault, key = folder / f"{user}.vault", user.encode().ljust(32, b".")
    token = there.relay.token_for(user)
    return Client.open(vault, key=key, relay=there.relay.url, token=token, name=user.capitalize())


async def frames(there: Place, page: str) -> list[str]:
    """The addresses of the frames in a page, as the browser shows them."""
    found: list[str] = await there.chromium.script(page, "return page.frames().slice(1).map((f) => f.url())")
    return found


async def test_a_page_keeps_its_focus_and_its_place_while_the_frame_begins(there: Place) -> None:
    """Who looks for something in the portal is not taken to the conversation below."""
    engagement = await there.relay.create_engagement(anna="coach", ben="client")
    above = '<input id="search" autofocus><div style="height: 2000px"></div>'
    text = there.site.html(engagement, "anna").replace("<coach-relay ", f"{above}<coach-relay ")
    there.site.pages["/below"] = (text, {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="anna", url=f"{there.site.origin()}/below?user=anna")
        begins = 'await (await frame(part)).getByRole("button", { name }).waitFor(); return null;'
        name = "This is my first device Begin here. It takes a moment."
        await there.chromium.script("anna", begins, part=FRAME, name=name)
        stands = "return [document.activeElement.id, document.hasFocus(), scrollY]"
        assert await there.chromium.run("anna", stands) == ["search", True, 0]


async def test_a_page_of_the_portal_gets_a_frame_of_another_origin(there: Place) -> None:
    engagement = await there.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE):
        await there.open("anna", engagement, "anna")
        await there.begin("anna")
        (address,) = await frames(there, "anna")
        assert address.startswith(f"{there.relay.url}{FRAME}?parent=http%3A%2F%2Fportal.localhost")
        frame = await there.chromium.script(
            "anna",
            """const element = await (await frame(part)).frameElement();
            const names = ["allow", "title", "sandbox", "referrerPolicy"];
            return element.evaluate((node, names) => names.map((name) => String(node[name])), names);""",
            part=FRAME,
        )
        allow, title, sandbox, referrer = frame
        powers = ("camera", "microphone", "display-capture", "autoplay", "fullscreen")
        assert allow == "; ".join(f"{power} {there.relay.url}" for power in powers)
        assert title
        assert "allow-top-navigation" not in sandbox
        assert referrer == "no-referrer"
        assert await there.in_frame("anna", "return document.scripts.length") == 1


async def test_the_pages_colours_reach_the_frame_and_change(there: Place) -> None:
    engagement = await there.relay.create_engagement(dora="coach", emil="client")
    accent = """return getComputedStyle(document.querySelector("main").firstElementChild)
        .getPropertyValue("--coach-relay-accent").trim()"""
    async with asyncio.timeout(PATIENCE):
        await there.open("dora", engagement, "dora")
        await there.begin("dora")
        assert await there.in_frame("dora", accent) == "#123456"
        change = """const element = document.querySelector("coach-relay");
            element.style.setProperty("--coach-relay-accent", to);
            element.restyle();
            return null"""
        await there.chromium.run("dora", change, to="url(https://evil.example/x)")
        await there.chromium.run("dora", change, to="rebeccapurple")
        wait = f"while ((() => {{ {accent} }})() !== to) await new Promise((f) => setTimeout(f, 20));"
        assert await there.in_frame("dora", f"{wait} return true", to="rebeccapurple")


async def test_a_page_hears_that_something_came_and_not_what(there: Place, tmp_path: Path) -> None:
    engagement = await there.relay.create_engagement(fay="coach", gil="client")
    async with asyncio.timeout(PATIENCE), python(there, tmp_path, "fay") as fay:
        room = await fay.engagement(engagement)
        await there.open("gil", engagement, "gil")
        await there.begin("gil")
        await room.wait_joined()
        await room.send(CANARY)
        heard = await there.hears("gil", "message")
        assert heard.keys() == {"id", "kind", "mine", "unread"}
        assert (heard["mine"], heard["kind"]) == (False, "text")
        assert CANARY not in json.dumps(await there.chromium.run("gil", "return window.happened"))


LISTENS: Final = """<script>
// Everything that a script of the page gets hold of: what goes through ports and windows, each shadow root.
window.overheard = [];
const note = (what) => window.overheard.push(JSON.stringify(what) ?? "?");
addEventListener("message", ({ data }) => note(data), true);
const send = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (...said) {
  note(said);
  window.port = this;
  return send.apply(this, said);
};
const onmessage = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
Object.defineProperty(MessagePort.prototype, "onmessage", {
  set(hear) { window.port = this; onmessage.set.call(this, (event) => { note(event.data); hear(event); }); },
});
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (how) {
  window.root = attach.call(this, { ...how, mode: "open" });
  return window.root;
};
</script>"""

TRIES: Final = """
const frame = window.root.querySelector("iframe");
const target = frame.contentWindow;
const tries = {
  document: () => target.document.body.innerText,
  contentDocument: () => (frame.contentDocument ?? (() => { throw new TypeError("none"); })()).body,
  storage: () => target.localStorage.length,
  databases: () => target.indexedDB.databases(),
  evaluate: () => target.eval("document.body.innerText"),
  element: () => target.customElements.get("coach-relay-room"),
  address: () => target.location.href,
  script: () => {
    target.location = "javascript:parent.postMessage(document.body.innerText, '*')";
    return "no error";
  },
};
const found = {};
for (const [name, attempt] of Object.entries(tries)) {
  try { found[name] = String(await attempt()); } catch (error) { found[name] = `${error.name}`; }
}
return found;
"""


async def test_a_hostile_page_reads_nothing(there: Place, tmp_path: Path) -> None:
    """The portal's own page, taken over: its scripts came first, and hold the page's end of the channel."""
    engagement = await there.relay.create_engagement(hana="coach", ivo="client")
    page = there.site.html(engagement, "ivo").replace("<script src", f"{LISTENS}<script src", 1)
    there.site.pages["/hostile"] = (page, {})
    async with asyncio.timeout(PATIENCE), python(there, tmp_path, "hana") as hana:
        room = await hana.engagement(engagement)
        await there.chromium.ask("open", name="hostile", url=f"{there.site.origin()}/hostile?user=ivo")
        await there.begin("hostile")
        await room.wait_joined()
        await room.send(CANARY)
        await there.hears("hostile", "message")
        reads = "while (!document.querySelector('main').firstElementChild) await null; return location.href"
        assert FRAME in await there.in_frame("hostile", reads)
        tried = await there.chromium.run("hostile", TRIES)
        assert tried.pop("contentDocument") == "TypeError"
        assert tried.pop("script") in ("no error", "SecurityError")
        assert set(tried.values()) == {"SecurityError"}, tried
        forged = await there.chromium.run(
            "hostile",
            """const target = window.root.querySelector("iframe").contentWindow;
            const more = { relay: "https://evil.example", engagement: "eng_x", name: "x" };
            const start = { coachRelay: 1, kind: "start", ...more };
            for (const said of [start, { ...start, kind: "hello" }, { kind: "history" }, "history", null]) {
              const { port1, port2 } = new MessageChannel();
              port1.onmessage = (event) => window.overheard.push("answered " + JSON.stringify(event.data));
              target.postMessage(said, "*", [port2]);
            }
            const token = { kind: "token", id: 1, token: {} };
            for (const said of [{ kind: "history" }, token, { kind: "look", styles: 7 }, 7])
              window.port.postMessage(said);
            await new Promise((resolve) => setTimeout(resolve, 300));
            return window.overheard""",
        )
        assert forged
        everything = json.dumps(forged) + json.dumps(
            await there.chromium.run("hostile", "return window.happened")
        )
        assert CANARY not in everything
        assert "answered" not in everything
        assert await frames(there, "hostile") == [
            f"{there.relay.url}{FRAME}?parent=http%3A%2F%2Fportal.localhost%3A{there.site.port}"
        ]
        # None of it disturbed the conversation.
        await room.send("and then it flew")
        await there.chromium.run(
            "hostile",
            "return window.until(() => window.happened.filter(([name]) => name === 'message').length > 1)",
        )


async def test_a_frame_that_greets_for_ours_is_not_answered(there: Place) -> None:
    """Another frame in the portal's page says what ours would: the loader answers its own frame alone."""
    engagement = await there.relay.create_engagement(jon="coach", kim="client")
    greets = """<script>
    addEventListener("message", ({ data }) => parent.postMessage("caught " + JSON.stringify(data), "*"));
    parent.postMessage({ coachRelay: 1, kind: "hello" }, "*");</script>"""
    there.site.pages["/greets"] = (greets, {})
    page = there.site.html(engagement, "jon") + f'<iframe src="{there.site.origin("evil")}/greets"></iframe>'
    there.site.pages["/two"] = (page, {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="two", url=f"{there.site.origin()}/two?user=jon")
        await there.begin("two")
        assert "caught" not in json.dumps(await there.chromium.run("two", "return window.happened"))


async def test_a_page_that_is_not_the_portals_gets_nothing(there: Place) -> None:
    engagement = await there.relay.create_engagement(lea="coach", max="client")
    async with asyncio.timeout(PATIENCE):
        await there.open("evil", engagement, "lea", origin="evil")
        error = await there.hears("evil", "error")
        assert error["code"] == "origin_not_allowed"
        assert "set-origins" in error["message"]
        assert "ready" not in json.dumps(await there.chromium.run("evil", "return window.happened"))
        # And by hand, without the loader, as if it were the portal's: the browser shows it nothing.
        source = f"{there.relay.url}{FRAME}?parent={there.site.origin()}"
        there.site.pages["/by-hand"] = (f'<iframe src="{source}"></iframe>', {})
        await there.chromium.ask("open", name="by hand", url=f"{there.site.origin('evil')}/by-hand")
        shown = "return (await (await page.$('iframe')).contentFrame()).url()"
        assert await there.chromium.script("by hand", shown) == REFUSED


async def test_a_page_around_the_portals_page_has_to_be_the_portals_too(there: Place) -> None:
    engagement = await there.relay.create_engagement(nia="coach", ole="client")
    inner = f"{there.site.origin()}/?engagement={engagement}&user=nia"
    powers = "camera *; microphone *; display-capture *; autoplay *; fullscreen *"
    there.site.pages["/around"] = (f'<iframe allow="{powers}" src="{inner}"></iframe>', {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="good", url=f"{there.site.origin('both')}/around")
        await there.chromium.ask("open", name="bad", url=f"{there.site.origin('evil')}/around")
        shown = (
            "await (await frame(part)).getByRole('button', { name: /first device/ }).waitFor(); return true"
        )
        assert await there.chromium.script("good", shown, part=FRAME)
        for _ in range(2):  # once it is there it stays so
            shown = "await page.waitForTimeout(500); return page.frames().map((f) => f.url())"
            assert REFUSED in await there.chromium.script("bad", shown)


async def test_the_frame_shows_nothing_by_itself_or_without_its_header(there: Place) -> None:
    said = "while (!document.querySelector('[role=alert]')) await new Promise((f) => setTimeout(f, 20));"
    said += "return document.querySelector('[role=alert]').textContent"
    files = element_folder()
    for name in ("frame.html", "frame.js"):
        text = (files / name).read_text(encoding="utf-8")
        there.site.pages[f"/bare/{name}"] = (text, {})
    bare = f"{there.site.origin('evil')}/bare/frame.html"
    there.site.pages["/around-bare"] = (
        f'<iframe src="{bare}?parent={there.site.origin("evil")}"></iframe>',
        {},
    )
    async with asyncio.timeout(PATIENCE):
        url = f"{there.relay.url}{FRAME}?parent={there.site.origin()}"
        await there.chromium.ask("open", name="alone", url=url)
        assert "inside a coaching portal's page" in await there.chromium.run("alone", said)
        await there.chromium.ask("open", name="bare", url=f"{there.site.origin('evil')}/around-bare")
        run = "return (await frame('/bare/frame.html')).evaluate(`(async () => { ${code} })()`)"
        assert "frame-ancestors" in await there.chromium.script("bare", run, code=said)


async def test_the_loader_refuses_a_frame_of_the_pages_own_origin(there: Place) -> None:
    engagement = await there.relay.create_engagement(pia="coach", quin="client")
    async with asyncio.timeout(PATIENCE):
        page = there.site.html(engagement, "pia", more='frame="/bare/frame.html"')
        there.site.pages["/same"] = (page, {})
        await there.chromium.ask("open", name="same", url=f"{there.site.origin()}/same?user=pia")
        error = await there.hears("same", "error")
        assert error["code"] == "same_origin"
        assert await frames(there, "same") == []
        thrown = await there.chromium.run(
            "same", "return window.happened.filter(([name]) => name === 'page')"
        )
        assert "own origin" in json.dumps(thrown)  # loud in the console too


async def test_any_other_origin_may_serve_the_files_with_the_documented_headers(there: Place) -> None:
    engagement = await there.relay.create_engagement(rita="coach", sven="client")
    sites = [there.site.origin(name) for name in ("portal", "second", "both", "frame")]
    await there.relay.set_origins("growth", *sites)
    connect = f"{there.relay.url} {there.relay.url.replace('http', 'ws')}"
    headers = {
        "Content-Security-Policy": frame_policy(connect, there.site.origin()),
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    for path in element_folder().iterdir():
        there.site.pages[f"/files/{path.name}"] = (path.read_text(encoding="utf-8"), headers)
    element = f"{there.site.origin('frame')}/files"
    hashes = json.loads((element_folder() / "hashes.json").read_text(encoding="utf-8"))["files"]
    integrity = f'integrity="{hashes["coach-relay-loader.js"]}"'
    page = there.site.html(engagement, "rita", element=element, integrity=integrity)
    there.site.pages["/elsewhere"] = (page, {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="rita", url=f"{there.site.origin()}/elsewhere?user=rita")
        await there.begin("rita", part="/files/frame.html")
        assert (await frames(there, "rita"))[0].startswith(f"{element}/frame.html")
        # The same page, changed by whoever serves it.
        text, kept = there.site.pages["/files/frame.html"]
        there.site.pages["/files/frame.html"] = (text.replace("Coach Relay", "Coach  Relay"), kept)
        await there.chromium.ask("open", name="swapped", url=f"{there.site.origin()}/elsewhere?user=rita")
        assert (await there.hears("swapped", "error"))["code"] == "frame_not_pinned"
        assert await frames(there, "swapped") == []
        # Its script, changed: the page does not run it.
        there.site.pages["/files/frame.html"] = (text, kept)
        script, kept = there.site.pages["/files/frame.js"]
        there.site.pages["/files/frame.js"] = (f"window.swapped = true;{script}", kept)
        await there.chromium.ask("open", name="script", url=f"{there.site.origin()}/elsewhere?user=rita")
        run = (
            "return (await frame('/files/frame.html')).evaluate('[window.swapped, document.body.innerHTML]')"
        )
        assert await there.chromium.script("script", run) == [None, "\n\n"]


async def test_a_page_without_permissions_is_told_which_are_missing(there: Place) -> None:
    engagement = await there.relay.create_engagement(tom="coach", uma="client")
    page = there.site.html(engagement, "tom")
    there.site.pages["/denied"] = (page, {"Permissions-Policy": "camera=(), microphone=(self)"})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="denied", url=f"{there.site.origin()}/denied?user=tom")
        error = await there.hears("denied", "error")
        assert error["code"] == "permission_policy"
        assert "camera, microphone" in error["message"]
        assert f'camera=(self "{there.relay.url}")' in error["message"]


async def test_two_users_of_one_portal_in_one_page(there: Place) -> None:
    engagement = await there.relay.create_engagement(vera="coach", will="client")
    attributes = f'relay="{there.relay.url}" engagement="{engagement}" name="Will" data-user="will"'
    first = there.site.html(engagement, "vera", more='data-user="vera"')
    there.site.pages["/pair"] = (f"{first}<coach-relay {attributes}></coach-relay>", {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="pair", url=f"{there.site.origin()}/pair")
        await there.begin("pair", frames=2)
        names = await there.in_frame("pair", "return (await indexedDB.databases()).map(({ name }) => name)")
        assert len([name for name in names if "vera" in name or "will" in name]) == 2, names
        assert "waiting" not in json.dumps(await there.chromium.run("pair", "return window.happened"))


async def test_destroy_takes_the_frame_away(there: Place) -> None:
    engagement = await there.relay.create_engagement(xena="coach", yan="client")
    async with asyncio.timeout(PATIENCE):
        await there.open("xena", engagement, "xena")
        await there.begin("xena")
        end = "const element = document.querySelector('coach-relay'); await element.destroy();"
        left = await there.chromium.run("xena", f"{end} return document.querySelector('coach-relay')")
        assert left is None
        # The driver hears of it a moment later, and says nothing by itself.
        while await frames(there, "xena"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_token_comes_by_event_too_and_its_lack_is_said(there: Place) -> None:
    engagement = await there.relay.create_engagement(zoe="coach", abe="client")
    page = there.site.html(engagement, "zoe").replace('<script defer src="/portal.js"></script>', "")
    listens = """<script>
    window.asked = 0;
    const element = document.querySelector("coach-relay");
    element.addEventListener("error", ({ detail }) => (window.wrong = detail.code));
    ANSWERS</script>"""
    answers = """element.addEventListener("token-request", ({ detail }) => {
      window.asked += 1;
      detail.respondWith(fetch("/token?user=zoe").then((answer) => answer.text()));
    });"""
    there.site.pages["/asks"] = (page + listens.replace("ANSWERS", answers), {})
    there.site.pages["/nobody"] = (page + listens.replace("ANSWERS", ""), {})
    wait = "while (!(window.asked || window.wrong)) await new Promise((f) => setTimeout(f, 20));"
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="asks", url=f"{there.site.origin()}/asks")
        assert await there.chromium.run("asks", f"{wait} return window.asked > 0") is True
        await there.chromium.ask("open", name="nobody", url=f"{there.site.origin()}/nobody")
        assert await there.chromium.run("nobody", f"{wait} return window.wrong") == "token_provider_missing"


async def test_a_browser_that_lets_frames_keep_nothing_is_explained(
    there: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    engagement_of = tmp_path_factory.mktemp("denied")
    # Storage of third parties not kept apart, and blocked: as strict settings of some browsers have it.
    async with (
        asyncio.timeout(PATIENCE),
        browser_with("--disable-features=ThirdPartyStoragePartitioning") as browser,
        place(engagement_of, browser) as strict,
    ):
        engagement = await strict.relay.create_engagement(anna="coach", ben="client")
        await strict.open("anna", engagement, "anna")
        error = await strict.hears("anna", "error")
        assert error["code"] == "storage_denied"


async def test_nothing_is_asked_of_anybody_but_relay_and_portal(tmp_path: Path) -> None:
    """The browser's own log of every request, websockets and Workers included."""
    log = tmp_path / "net.json"
    async with (
        asyncio.timeout(PATIENCE),
        browser_with(f"--log-net-log={log}") as browser,
        place(tmp_path / "place", browser) as watched,
    ):
        engagement = await watched.relay.create_engagement(anna="coach", ben="client")
        await watched.open("anna", engagement, "anna")
        await watched.open("ben", engagement, "ben")
        await watched.begin("anna")
        await watched.begin("ben")
        port = watched.site.port
        url = watched.relay.url
    asked = {
        event["params"]["url"]
        for event in json.loads(log.read_text(encoding="utf-8"))["events"]
        if "url" in event.get("params", {}) and event["params"].get("initiator", NOBODY) != NOBODY
    }
    ours = tuple(
        prefix
        for origin in (url, f"http://portal.localhost:{port}")
        for prefix in (f"{origin}/", f"{origin.replace('http', 'ws')}/")
    )
    assert any(address.startswith("ws://") for address in asked)
    assert [address for address in asked if not address.startswith((*ours, "blob:", "data:", "chrome"))] == []
