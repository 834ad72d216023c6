"""A person at a keyboard who hears the page: each control by its role and name, live regions as they speak.

`WALKER` is put before what Playwright does with a page (`Chromium.script`). Nothing in it touches a mouse.
"""

from __future__ import annotations

from typing import Final

WALKER: Final = """
const one = await frame("frame.html");
page.heard ??= [];
const cdp = (page.tree ??= await page.context().newCDPSession(one));
const inWords = (role, name) => `${role} “${name}”`;
const fits = (wanted, said) => (wanted instanceof RegExp ? wanted.test(said) : wanted === said);
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const type = (text) => page.keyboard.insertText(text);

// What has the focus, as the accessibility tree names it; null: nothing in the conversation has.
const here = async () => {
  const { result } = await cdp.send("Runtime.evaluate", { expression: `(() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at === document.body || !document.hasFocus() ? null : at;
  })()` });
  if (result.objectId === undefined) return null;
  const about = { objectId: result.objectId, fetchRelatives: false };
  const tree = cdp.send("Accessibility.getPartialAXTree", about);
  const [node] = (await tree.catch(() => ({ nodes: [] }))).nodes; // it may have gone meanwhile
  if (node === undefined || node.ignored) return null;
  const found = { role: node.role.value, name: (node.name?.value ?? "").trim() };
  const said = inWords(found.role, found.name);
  if (found.name === "" || found.role === "generic") throw new Error(`nobody knows what this is: ${said}`);
  if (page.heard.at(-1) !== said) page.heard.push(said);
  return found;
};

// The focus comes here by itself.
const arrives = async (role, name, seconds = 30) => {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const at = await here();
    if (at !== null && fits(role, at.role) && fits(name, at.name)) return;
    const last = page.heard.slice(-8).join(", ");
    if (Date.now() > until) throw new Error(`not at ${inWords(role, name)}; last: ${at && "here"} ${last}`);
    await page.waitForTimeout(20);
  }
};

// By one key to a control; beyond the last one of the frame are the page and the browser.
const to = async (role, name, key = "Tab", most = 40) => {
  const passed = [];
  for (let times = 0; times <= most; times += 1) {
    const at = await here();
    if (at !== null && at.role === role && fits(name, at.name)) return;
    passed.push(at === null ? "outside" : inWords(at.role, at.name));
    await press(key);
  }
  throw new Error(`no ${inWords(role, name)} on the way: ${passed.join(", ")}`);
};
const use = async (role, name, key = "Tab") => {
  await to(role, name, key);
  await press("Enter");
};

// From where one writes to the newest message, and what can be done with it.
const newest = async () => {
  await to("article", /./, "Shift+Tab");
  await press("End");
};
const act = async (what) => {
  await press("Enter");
  await arrives("menuitemcheckbox", "👍");
  if (what !== "👍") await to("menuitem", what, "ArrowDown");
  await press("Enter");
};
const reads = (text) => one.getByText(text, { exact: typeof text === "string" }).first().waitFor();
const write = async (text) => {
  await to("textbox", "Write a message");
  await type(text);
  await press("Enter");
  await reads(text);
};
"""

LISTEN: Final = """
await one.evaluate(() => {
  const within = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
    each.shadowRoot ? [each.shadowRoot, ...within(each.shadowRoot)] : []);
  const LIVE = "[aria-live]:not([aria-live=off]), [role=status], [role=alert]";
  const last = new WeakMap();
  window.spoken = [];
  const listen = () => {
    for (const root of [document, ...within(document)])
      for (const region of root.querySelectorAll(LIVE)) {
        if (region.querySelector(LIVE) !== null) continue;
        if (region.closest("[aria-hidden=true], [inert]") !== null) continue;
        const said = region.textContent.replace(/\\s+/g, " ").trim();
        if (last.get(region) === said) continue;
        last.set(region, said);
        if (said !== "") window.spoken.push(said);
      }
  };
  for (const root of [document, ...within(document)])
    new MutationObserver(listen).observe(root, { subtree: true, childList: true, characterData: true });
});
return null;
"""
SPOKEN: Final = "return one.evaluate(() => window.spoken)"
