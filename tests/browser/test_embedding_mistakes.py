"""What portals' developers do wrong with `<coach-relay>`: each is told what happened, why, and what to do."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any, Final

import jwt
import pytest

from tests.browser import marks
from tests.browser.embedded import CLICK_FIRST, FRAME, HEARS, Place, browser_with

PATIENCE: Final = 150
NOT_THERE: Final = "eng_AAAAAAAAAAAAAAAAAAAAAA"
LISTENER: Final = '<script defer src="/portal.js"></script>'

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(PATIENCE + 30)]

# What the browser's console shows of ours, and what the element's listeners hear.
LISTENS: Final = f"""<script>
window.warned = [];
const warn = console.warn;
console.warn = (...said) => {{ window.warned.push(said.join(" ")); warn.apply(console, said); }};
addEventListener("DOMContentLoaded", () => {{
  const element = document.querySelector("coach-relay");
  window.element = element;
  window.asked = 0;
  const provider = PROVIDER;
  element.tokenProvider = () => {{ window.asked += 1; return provider(); }};
  for (const event of {json.dumps(HEARS)})
    element.addEventListener(event, ({{ detail }}) => window.happened.push([event, detail]));
}});
window.until = async (holds) => {{
  for (;;) {{
    const found = await holds();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
}};
window.hears = (event) => window.until(() => window.happened.find(([name]) => name === event));
</script>"""

CONSOLE: Final = """
const thrown = window.happened.filter(([name]) => name === "page").map(([, { message }]) => message);
return [...window.warned, ...thrown].join("\\n");
"""
CHANGE: Final = """
const before = window.happened.filter(([name]) => name === "ready").length;
CHANGES;
return window.until(() => window.happened.filter(([name]) => name === "ready").length > before);
"""


def signed(there: Place, user: str, *, secret: str | None = None, **claims: object) -> str:
    """An access token of the portal, with claims or a secret that are not right."""
    now = int(time.time())
    right = {
        "iss": there.relay.portal["PORTAL_ID"],
        "sub": user,
        "aud": "coach-relay",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(right | claims, secret or there.relay.portal["PORTAL_TOKEN_SECRET"], algorithm="HS256")


async def show(
    there: Place,
    page: str,
    user: str,
    *,
    provider: str = "",
    origin: str | None = None,
    headers: dict[str, str] | None = None,
    **changes: str,
) -> None:
    """A page whose element listens; by default all about it is right."""
    engagement = changes.pop("engagement", "") or await there.relay.create_engagement(
        **{user: "coach", f"{user}-b": "client"}
    )
    gives = provider or f"async () => (await fetch('/token?user={user}')).text()"
    text = there.site.html(engagement, user, **changes).replace(LISTENER, LISTENS.replace("PROVIDER", gives))
    there.site.pages[f"/{page}"] = (text, headers or {})
    await there.chromium.ask("open", name=page, url=f"{origin or there.site.origin()}/{page}")


async def told(there: Place, page: str, code: str, *words: str) -> str:
    """The first error event is this one, its message holds these words, and the console says the same."""
    error = await there.hears(page, "error")
    assert error["code"] == code, error
    for word in words:
        assert word in error["message"]
    assert error["message"] in await there.chromium.run(page, CONSOLE)
    return str(error["message"])


async def shows(there: Place, page: str, words: str) -> None:
    """The person reads this in the frame."""
    waits = "await (await frame(part)).getByText(words).first().waitFor(); return null"
    await there.chromium.script(page, waits, part=FRAME, words=words)


def policy(there: Place, **changes: str) -> dict[str, str]:
    """The header that docs/EMBEDDING.md gives, with other directives."""
    relay = there.relay.url
    right = {
        "default-src": "'self'",
        "script-src": f"'self' 'unsafe-inline' {relay}",
        "frame-src": relay,
        "connect-src": f"'self' {relay}",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
    }
    changed = right | {name.replace("_", "-"): value for name, value in changes.items()}
    return {"Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in changed.items())}


@pytest.mark.parametrize(
    ("mistake", "claims"),
    [("secret", {"secret": "x" * 43}), ("aud", {"aud": "somebody"}), ("iss", {"iss": "nobody"})],
)
async def test_a_token_that_the_relay_does_not_take(there: Place, mistake: str, claims: Any) -> None:
    user = f"no-{mistake}"
    async with asyncio.timeout(PATIENCE):
        await show(there, mistake, user, provider=f"() => {json.dumps(signed(there, user, **claims))}")
        said = await told(there, mistake, "access_refused", "iss the portal's id", "coach-relay portal add")
        assert "token_invalid" in said
        await shows(there, mistake, "Your portal could not sign you in here.")


async def test_a_token_that_was_kept_too_long(there: Place) -> None:
    now = int(time.time())
    old = signed(there, "old", iat=now - 900, nbf=now - 900, exp=now - 300)
    async with asyncio.timeout(PATIENCE):
        await show(there, "expired", "old", provider=f"() => {json.dumps(old)}")
        await told(there, "expired", "token_expired", "Sign one anew each time")
        await there.chromium.run("expired", "return window.until(() => window.asked > 3)")
        heard = await there.chromium.run("expired", "return window.happened")
        assert len(heard) == 1, "what comes again and again is told once"
        assert len(await there.chromium.run("expired", "return window.warned")) == 1
        await shows(there, "expired", "Your portal could not sign you in here.")


@pytest.mark.parametrize(
    ("provider", "code", "words"),
    [
        ("() => '403: Forbidden'", "token_malformed", "a text of 14 characters that is no JWT"),
        ("() => ({ token: 'a.b.c' })", "token_malformed", "take the token out of JSON"),
        ("async () => undefined", "token_malformed", "returned undefined"),
        ("async () => { throw new Error('no session') }", "token_refused", "no session"),
    ],
)
async def test_a_token_provider_that_gives_none(there: Place, provider: str, code: str, words: str) -> None:
    page = f"none-{len(provider)}"
    async with asyncio.timeout(PATIENCE):
        await show(there, page, "nina", provider=provider)
        await told(there, page, code, words)
        await shows(there, page, "Your portal could not sign you in here.")
        codes = await there.chromium.run(page, "return window.happened.map(([, detail]) => detail.code)")
        assert set(codes) == {code}, "and nothing about a relay that does not answer"


async def test_a_token_for_another_engagement(there: Place) -> None:
    others = await there.relay.create_engagement(otto="coach", pam="client")
    for page, engagement in (("others", others), ("nowhere", NOT_THERE)):
        async with asyncio.timeout(PATIENCE):
            await show(there, page, f"stranger-{page}", engagement=engagement)
            await there.begin(page)
            await told(there, page, "engagement_unavailable", "POST /v1/engagements", "participants")
            await shows(there, page, "There is no such conversation for you here.")


@pytest.mark.parametrize(
    ("attributes", "code", "words"),
    [
        ({"engagement": "42"}, "engagement_invalid", "“42”"),
        ({"relay": "relay.example"}, "relay_invalid", "https://HOST"),
        ({"relay": "http://relay.example"}, "relay_invalid", "https://HOST"),
        ({"relay": ""}, "attribute_missing", '"relay"'),
        ({"more": 'frame="mailto:x"'}, "frame_invalid", "mailto:x"),
    ],
)
async def test_attributes_that_cannot_be(there: Place, attributes: Any, code: str, words: str) -> None:
    page = f"attribute-{code}-{len(json.dumps(attributes))}"
    async with asyncio.timeout(PATIENCE):
        await show(there, page, "attila", **attributes)
        await told(there, page, code, words)


async def test_a_relay_that_does_not_answer(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        await show(there, "silent", "sid", relay="http://127.0.0.1:1")
        await told(there, "silent", "relay_unreachable", "does the attribute relay name it exactly")
        await shows(there, "silent", "There is no connection at the moment.")


@pytest.mark.parametrize("directive", ["connect-src", "frame-src"])
async def test_a_policy_of_the_page_that_forbids_the_frame(there: Place, directive: str) -> None:
    headers = policy(there, **{directive.replace("-", "_"): "'self'"})
    async with asyncio.timeout(PATIENCE):
        await show(there, f"forbids-{directive}", "cora", headers=headers)
        await told(there, f"forbids-{directive}", "csp_blocked", directive, there.relay.url)


async def test_the_documented_policy_forbids_nothing(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        headers = policy(there) | {"Cross-Origin-Embedder-Policy": "require-corp"}
        await show(there, "allowed", "alma", headers=headers)
        await there.begin("allowed")
        assert await there.chromium.run("allowed", "return window.happened") == [["ready", None]]


async def test_a_frame_that_is_not_served_there(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        await show(there, "gone", "gina", more=f'frame="{there.site.origin("second")}/nothing.html"')
        await told(there, "gone", "frame_unreachable", "Is it served there", "Access-Control-Allow-Origin")


async def test_a_page_of_another_origin(there: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        await show(there, "foreign", "fritz", origin=there.site.origin("evil"))
        await told(there, "foreign", "origin_not_allowed", there.site.origin("evil"), "set-origins")


async def test_a_page_that_is_not_secure(there: Place) -> None:
    named = "--host-resolver-rules=MAP portal.test 127.0.0.1"
    async with asyncio.timeout(PATIENCE), browser_with(named) as one:
        away = Place(there.relay, there.site, one)
        await show(away, "http", "hugo", origin=f"http://portal.test:{there.site.port}")
        await told(away, "http", "insecure_page", "http://portal.test", "Serve it by https")


async def test_the_script_as_a_module_finds_its_frame_too(there: Place) -> None:
    engagement = await there.relay.create_engagement(mona="coach", milo="client")
    page = there.site.html(engagement, "mona").replace("<script src=", '<script type="module" src=', 1)
    there.site.pages["/module"] = (page, {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="module", url=f"{there.site.origin()}/module?user=mona")
        await there.begin("module")


async def test_an_element_that_is_made_before_its_script_has_come_twice(there: Place) -> None:
    engagement = await there.relay.create_engagement(kira="coach", kurt="client")
    page = there.site.html(engagement, "kira")
    tag = page[page.index("<script src=") : page.index("<script defer")]
    makes = f"""<script>
    const made = document.createElement("coach-relay");
    made.tokenProvider = async () => (await fetch("/token?user=kira")).text();
    made.addEventListener("ready", () => window.happened.push(["ready", null]));
    made.setAttribute("relay", {json.dumps(there.relay.url)});
    made.setAttribute("engagement", {json.dumps(engagement)});
    document.body.append(made);
    </script>"""
    text = page[: page.index("<script src=")] + "<body>" + makes + tag + tag
    text += '<script defer src="/portal.js"></script>'
    there.site.pages["/made"] = (text, {})
    async with asyncio.timeout(PATIENCE):
        await there.chromium.ask("open", name="made", url=f"{there.site.origin()}/made?user=kira")
        await there.chromium.script("made", CLICK_FIRST, part=FRAME, at=0)
        await there.chromium.run("made", "return window.hears('ready')")


async def test_an_element_that_is_moved_taken_out_and_put_back(there: Place) -> None:
    """As the routers of single-page applications do: the same device goes on, and nothing is asked again."""
    async with asyncio.timeout(PATIENCE):
        await show(there, "route", "rosa")
        await there.begin("route")
        for change in (
            "document.body.append(document.createElement('main')); "
            "document.querySelector('main').append(window.element)",
            "window.element.remove(); document.body.append(window.element)",
            "await window.element.destroy(); document.body.append(window.element)",
        ):
            assert await there.chromium.run("route", CHANGE.replace("CHANGES", change))
        heard = await there.chromium.run("route", "return window.happened")
        assert heard == [["ready", None]] * 4, "and no error"


async def test_attributes_that_change(there: Place) -> None:
    first = await there.relay.create_engagement(tara="coach", udo="client")
    second = await there.relay.create_engagement(tara="coach", vito="client")
    mark = "window.marked = true; return null"
    async with asyncio.timeout(PATIENCE):
        await show(there, "change", "tara", engagement=first)
        await there.begin("change")
        await there.in_frame("change", mark)
        theme = "window.element.setAttribute('theme', 'dark'); window.element.setAttribute('theme', 'light');"
        await there.chromium.run("change", f"{theme} return null")
        assert await there.in_frame("change", "return window.marked") is True, "the frame stays"
        other = f"window.element.setAttribute('engagement', {json.dumps(second)})"
        assert await there.chromium.run("change", CHANGE.replace("CHANGES", other))
        assert await there.in_frame("change", "return window.marked ?? null") is None
        shown = "return document.querySelector('coach-relay-room').engagement"
        assert await there.in_frame("change", shown) == second
        wrong = "window.element.setAttribute('engagement', 'other'); return window.hears('error')"
        assert (await there.chromium.run("change", wrong))[1]["code"] == "engagement_invalid"
        back = f"window.element.setAttribute('engagement', {json.dumps(first)})"
        assert await there.chromium.run("change", CHANGE.replace("CHANGES", back))


async def test_tokens_are_asked_for_in_time_and_a_portal_that_fails_once_is_asked_again(
    there: Place,
) -> None:
    now = int(time.time())
    short = json.dumps(signed(there, "tim", exp=now + 14))
    provider = f"""async () => {{
      if (window.broken === undefined) return {short};
      if (window.broken) throw new Error("the portal is being updated");
      return (await fetch("/token?user=tim")).text();
    }}"""
    async with asyncio.timeout(PATIENCE):
        await show(there, "short", "tim", provider=provider)
        await there.begin("short")
        await there.chromium.run("short", "window.broken = true; return null")
        assert (await there.hears("short", "token-expiring"))["endsMs"] > now * 1000
        await told(there, "short", "token_refused", "the portal is being updated")
        asked = await there.chromium.run("short", "window.broken = false; return window.asked")
        await there.chromium.run("short", "return window.until(() => window.asked > asked)", asked=asked)
        waits = (
            "while (!document.querySelector('coach-relay-room').relay.online) "
            "await new Promise(requestIdleCallback);"
        )
        assert await there.in_frame("short", f"{waits} return true")
