"""People in front of the element, who call: what they click, what they read, and a clock to set forward."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from tests.browser.embedded import FRAME, Place

_IN_WORKERS: Final = """
{
  const made = URL.createObjectURL.bind(URL);
  const first = %s;
  URL.createObjectURL = (blob) =>
    made(blob.type.startsWith("text/javascript") ? new Blob([first, ";", blob], { type: blob.type }) : blob);
}
"""


def in_workers(code: str) -> str:
    """For `init`: whatever the page makes of a script begins with this code."""
    return _IN_WORKERS % json.dumps(f"{{ {code} }}")


CLOCK: Final = in_workers("""
// The Worker's clock and timers; how far ahead it is, is told by the channel of this name.
const [real, cancel, now] = [setTimeout, clearTimeout, Date.now.bind(Date)];
const timers = new Map();
let [forward, last] = [0, 0];
const fire = (id) => {
  const timer = timers.get(id);
  timers.delete(id);
  cancel(timer?.real);
  timer?.done();
};
Date.now = () => now() + forward;
self.setTimeout = (done, ms = 0) => {
  const id = ++last;
  timers.set(id, { done, due: Date.now() + ms, real: real(() => fire(id), ms) });
  return id;
};
self.clearTimeout = (id) => { cancel(timers.get(id)?.real); timers.delete(id); };
new BroadcastChannel("the test's clock").onmessage = ({ data }) => {
  forward += data;
  for (const [id, { due }] of [...timers].sort(([, one], [, other]) => one.due - other.due))
    if (due <= Date.now()) fire(id);
};
""")
"""A clock to set forward."""

_FORWARD: Final = """
const channel = new BroadcastChannel("the test's clock");
for (let second = 0; second < seconds; second++) {
  channel.postMessage(1000);
  await new Promise((resolve) => setTimeout(resolve, 20)); // for what is said over the network meanwhile
}
"""

_WORDS: Final = """
const one = await frame(part);
const button = (name) => one.getByRole("button", { name, exact: true }).first();
const patience = { timeout: 60000 };
const reads = (text) => one.getByText(text).first().waitFor(patience);
"""

_WATCH: Final = """
const all = (root) => [...root.querySelectorAll("*")].flatMap((one) =>
  one.shadowRoot ? [one, ...all(one.shadowRoot)] : [one]);
window.read ??= new Set();
const look = () => {
  const found = all(document).some((one) => !one.children.length && one.textContent.includes(text));
  if (found) window.read.add(text);
  else requestAnimationFrame(look);
};
look();
"""

LATER: Final = 'await button("Later").click(); return null;'


@dataclass(slots=True)
class Person:
    """Somebody before the element, in a page of this name."""

    there: Place
    page: str

    async def does(self, code: str, /, **values: object) -> Any:
        """What Playwright's words come to: `one` is the frame, `button`, `reads` and `patience` help."""
        return await self.there.chromium.script(self.page, _WORDS + code, part=FRAME, **values)

    async def clicks(self, name: str) -> None:
        await self.does("await button(called).click(patience); return null;", called=name)

    async def lets_in(self, people: int) -> None:
        """All who wait: one after the other, each once it is seen that the one before is in."""
        knock = 'one.getByRole("button", { name: "Decide", exact: true }).nth(last)'
        await self.does(f"await {knock}.waitFor(patience); return null;", last=people - 1)
        for others in reversed(range(people)):
            await self.clicks("Decide")
            await self.clicks("Let in")
            gone = f'await {knock}.waitFor({{ ...patience, state: "detached" }}); return null;'
            await self.does(gone, last=others)

    async def reads(self, text: str) -> None:
        await self.does("await reads(text); return null;", text=text)

    async def no_longer_reads(self, text: str) -> None:
        gone = 'await one.getByText(text).first().waitFor({ state: "detached", ...patience }); return null;'
        await self.does(gone, text=text)

    async def watches_for(self, text: str) -> None:
        """From now on: what is shown for a moment is not overlooked."""
        await self.there.in_frame(self.page, _WATCH, text=text)

    async def has_read(self, text: str) -> None:
        """Since `watches_for`, or soon."""
        await self.does(
            "await one.waitForFunction((text) => window.read.has(text), text, patience); return null;",
            text=text,
        )

    async def sees(self, text: str) -> bool:
        """Whether it is there now."""
        found: bool = await self.does("return one.getByText(text).first().isVisible()", text=text)
        return found

    async def says(self, text: str) -> None:
        fill = 'await one.getByRole("textbox", { name: "Write a message" }).fill(text); return null;'
        await self.does(fill, text=text)
        await self.clicks("Send")

    async def is_rung_by(self, name: str) -> str:
        """The words of the ring, once it rings."""
        rung = 'const ring = one.getByRole("alertdialog", { name }); await ring.waitFor(patience);'
        found: str = await self.does(rung + "return ring.innerText();", name=f"{name} is calling")
        return found

    async def is_called(self) -> bool:
        """Whether it rings now."""
        found: bool = await self.does('return one.getByRole("alertdialog").isVisible();')
        return found

    async def is_no_longer_called(self) -> None:
        gone = 'await one.getByRole("alertdialog").waitFor({ state: "detached", ...patience }); return null;'
        await self.does(gone)

    async def talks(self) -> None:
        """In a call that stands."""
        await self.does(
            "await one.getByText(/^(Connected|Good connection|Weak connection.*|Poor connection.*)$/).first()"
            ".waitFor(patience); return null;"
        )

    async def history(self, last: str = "") -> list[str]:
        """What is said of calls, once there is something with these words."""
        if last:
            note = 'one.locator("article.note").filter({ hasText: last }).first()'
            await self.does(f"await {note}.waitFor(patience); return null;", last=last)
        said: list[str] = await self.does('return one.locator("article.note").allInnerTexts();')
        return [" ".join(one.split()) for one in said]

    async def sets_the_clock_forward(self, seconds: int) -> None:
        await self.there.in_frame(self.page, _FORWARD, seconds=seconds)


async def come(there: Place, engagement: str, user: str, **more: Any) -> Person:
    """A page of this person, whose first device it is."""
    await there.open(user, engagement, user, **more)
    await there.begin(user)
    person = Person(there, user)
    await person.does(LATER)
    return person


_SHOWS_ITS_WORDS: Final = """
await one.getByRole("button", { name: /^I have another device/ }).click(patience);
await one.getByRole("textbox", { name: /^Name of this device/ }).fill(called);
await button("Show the code").click();
const list = one.getByRole("list");
await list.waitFor(patience);
return (await list.getByRole("listitem").allInnerTexts()).join(" ");
"""
_ADDS_IT: Final = """
await one.getByRole("button", { name: /^Who can read this/ }).click(patience);
await button("Add a device").click(patience);
await one.getByRole("textbox", { name: /^The twelve words/ }).fill(shown);
await button("Find the device").click(patience);
await button(`Yes, add ${called}`).click(patience);
await reads(`${called} is one of your devices now.`);
await button("Done").click();
await one.locator("cr-people").getByRole("button", { name: "Close", exact: true }).click();
return null;
"""


async def link(one: Person, engagement: str, called: str) -> Person:
    """A page of this very person, by another device of theirs, which is added by the first one."""
    await one.there.open(called, engagement, one.page)
    other = Person(one.there, called)
    shown = await other.does(_SHOWS_ITS_WORDS, called=called)
    await one.does(_ADDS_IT, shown=shown, called=called)
    await other.does('await button("Call with sound").waitFor(patience); return null;')
    return other


async def meet(there: Place, *, init: str = "", **roster: str) -> list[Person]:
    """Pages of people who have met, each of a profile of its own."""
    engagement = await there.relay.create_engagement(**roster)
    people = [await come(there, engagement, user, init=init) for user in roster]
    await people[0].says("hello")
    await asyncio.gather(*(person.reads("hello") for person in people))
    return people


async def call(one: Person, other: Person, name: str, *, video: bool = False) -> None:
    """One calls, the other one (who reads that it is by `name`) takes it."""
    await one.clicks("Call with picture" if video else "Call with sound")
    await other.is_rung_by(name)
    await other.clicks("Answer with picture" if video else "Answer")
    await asyncio.gather(one.talks(), other.talks())
