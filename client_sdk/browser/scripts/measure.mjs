// How soon the demo page's frame shows something and is ready from a cold cache, and how soon an own message stands
// there: medians of 5, beside the aims. `npm run measure`, on a machine that does nothing else; needs `make setup`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";

const TIMES = 5;
const AIMS = { "first paint": 1000, ready: 2000, "own message shown": 50 };
const root = fileURLToPath(new URL("../../../", import.meta.url));
const python = process.env.PYTHON ?? `${root}.venv/bin/python`;

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const demo = spawn(python, ["-m", "client_sdk.cli.main", "demo", "--page"], {
  cwd: root,
  env: { ...process.env, DISPLAY: "", WAYLAND_DISPLAY: "" },
  stdio: ["ignore", "pipe", "inherit"],
});
let address = "";
for await (const line of createInterface({ input: demo.stdout })) {
  address = /http:\/\/localhost:\d+/.exec(line)?.[0] ?? "";
  if (address) break;
}
if (!address) throw new Error("the demo's page was not served; what it said is above");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-features=Translate,MediaRouter,HttpsUpgrades",
  ],
});

const context = await browser.newContext();
const page = await context.newPage();
const anna = `${address.replace("localhost", "anna.localhost")}/`;
const frame = async () => {
  for (;;) {
    const found = page.frames().find((one) => one.url().includes("/element/frame.html"));
    if (found) return found;
    await page.waitForTimeout(1);
  }
};
await page.addInitScript(() => {
  // The element's own event, by the page's clock; the page's script is before the loader.
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector("coach-relay")?.addEventListener("ready", () => {
      window.readyAfter = performance.now();
    });
  });
});

/** Milliseconds from the page's beginning to the frame's first paint, and to `ready`. */
async function open() {
  const network = await context.newCDPSession(page);
  await network.send("Network.clearBrowserCache");
  await page.goto(anna, { waitUntil: "load" });
  const inside = await frame();
  await page.waitForFunction(() => window.readyAfter);
  const painted = await inside.evaluate(
    () => performance.timeOrigin + performance.getEntriesByName("first-contentful-paint")[0].startTime,
  );
  return page.evaluate((at) => [at - performance.timeOrigin, window.readyAfter], painted);
}

/** Milliseconds from Enter to the frame in which the message is drawn. */
async function say(text) {
  const inside = await frame();
  await inside.getByRole("button", { name: "Later", exact: true }).click(); // the recovery kit
  const box = inside.getByRole("textbox", { name: "Write a message" });
  await box.fill(text);
  await inside.evaluate((said) => {
    const within = (node) =>
      [node, ...node.querySelectorAll("*")].flatMap((one) =>
        one.shadowRoot ? within(one.shadowRoot) : [one],
      );
    addEventListener(
      "keydown",
      () => {
        const began = performance.now();
        const look = () => {
          const there = within(document).some(
            (one) => one.localName === "p" && one.textContent.trim() === said,
          );
          if (there) window.shownAfter = performance.now() - began;
          else requestAnimationFrame(look);
        };
        window.shownAfter = undefined;
        requestAnimationFrame(look);
      },
      { once: true, capture: true },
    );
  }, text);
  await box.press("Enter");
  return (await inside.waitForFunction(() => window.shownAfter)).jsonValue();
}

await page.goto(anna, { waitUntil: "load" });
const first = await frame();
await first.getByRole("button", { name: /first device/ }).click();
await first.getByRole("button", { name: "Later", exact: true }).click();
const found = { "first paint": [], ready: [], "own message shown": [] };
for (let time = 0; time < TIMES; time += 1) {
  const [painted, ready] = await open();
  found["first paint"].push(painted);
  found.ready.push(ready);
  found["own message shown"].push(await say(`measured ${time}`));
}
await browser.close();
demo.kill("SIGINT");
await once(demo, "exit");
for (const [what, values] of Object.entries(found)) {
  const all = values.map((value) => value.toFixed(0)).join(", ");
  process.stdout.write(`${what}: ${median(values).toFixed(0)} ms, aim ${AIMS[what]} (${all})\n`);
}
