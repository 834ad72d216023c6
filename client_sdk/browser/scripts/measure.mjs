// How soon the demo page's frame shows something and is ready from a cold cache, how soon an own message stands there,
// and how smoothly 10,000 messages scroll: medians of 5, beside the aims, as the table of README.md "Size and speed".
// `npm run measure`, on a machine that does nothing else; needs `make setup`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright";
import { build } from "vite";

const TIMES = 5;
const MESSAGES = 10_000;
const FRAMES = 1000;
/** So many pixels a frame are nine screens of a phone in a second: a hard flick, all the way. */
const STEP_PX = 120;
const LATE_MS = 50;
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
// It runs on until it is told to end, whatever happens here.
process.on("exit", () => demo.kill("SIGINT"));
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

/** What test/measure/seed.ts puts on the page: `seed`. */
async function seeding() {
  const [{ output }] = await build({
    root: fileURLToPath(new URL("../", import.meta.url)),
    configFile: false,
    logLevel: "error",
    build: { write: false, lib: { entry: "test/measure/seed.ts", formats: ["iife"], name: "seeding" } },
  }).then((built) => (Array.isArray(built) ? built : [built]));
  return output[0].code;
}

/** Milliseconds of each frame while the history is scrolled up from its end, through pages that are read meanwhile. */
const scroll = (inside) =>
  inside.evaluate(
    async ([frames, step]) => {
      const scroller = document.querySelector("coach-relay-room").shadowRoot.querySelector(".scroller");
      const taken = [];
      let last = await new Promise(requestAnimationFrame);
      while (taken.length < frames) {
        scroller.scrollTop -= step;
        const now = await new Promise(requestAnimationFrame);
        taken.push(now - last);
        last = now;
      }
      return taken;
    },
    [FRAMES, STEP_PX],
  );

await page.goto(anna, { waitUntil: "load" });
const first = await frame();
await first.getByRole("button", { name: /first device/ }).click();
await first.getByRole("button", { name: "Later", exact: true }).click();
const found = { painted: [], ready: [], shown: [], late: [], longest: [] };
for (let time = 0; time < TIMES; time += 1) {
  const [painted, ready] = await open();
  found.painted.push(painted);
  found.ready.push(ready);
  found.shown.push(await say(`measured ${time}`));
}
await (await frame()).evaluate(await seeding());
await (await frame()).evaluate((count) => globalThis.seed(count), MESSAGES);
for (let time = 0; time < TIMES; time += 1) {
  await open();
  const inside = await frame();
  await inside.locator(".scroller").waitFor();
  const taken = await scroll(inside);
  found.late.push(taken.filter((ms) => ms > LATE_MS).length);
  found.longest.push(Math.max(...taken));
}
await browser.close();
demo.kill("SIGINT");
await once(demo, "exit");

const packed = (name) => {
  const file = new URL(`../dist/release/${name}`, import.meta.url);
  return `${(gzipSync(readFileSync(file), { level: 9 }).length / 1000).toFixed(1)} KB`;
};
const all = (values) => values.map((value) => value.toFixed(0)).join(", ");
const rows = [
  ["what", "aim", "median of 5", "each"],
  ["---", "---", "---", "---"],
  ["the loader, gzip", "5 KB", packed("coach-relay-loader.js"), ""],
  ["all that the frame loads, gzip", "350 KB", packed("frame.js"), ""],
  [
    "first paint, from a cold cache",
    "1,000 ms",
    `${median(found.painted).toFixed(0)} ms`,
    all(found.painted),
  ],
  ["ready, from a cold cache", "2,000 ms", `${median(found.ready).toFixed(0)} ms`, all(found.ready)],
  ["an own message is shown", "50 ms", `${median(found.shown).toFixed(0)} ms`, all(found.shown)],
  [`frames over ${LATE_MS} ms, of ${FRAMES}, in 10,000 messages`, "0", median(found.late), all(found.late)],
  [
    "the longest of these frames",
    `${LATE_MS} ms`,
    `${median(found.longest).toFixed(0)} ms`,
    all(found.longest),
  ],
];
for (const row of rows) process.stdout.write(`| ${row.join(" | ")} |\n`);
process.stdout.write(`\nOn ${cpus().length} cores (${cpus()[0].model}).\n`);
