// Drives Chromium for the tests: JSON requests, one a line on stdin, and their answers on stdout, in any order.
import { createInterface } from "node:readline";
import { chromium } from "playwright";

const PATIENCE_MS = 80_000; // a busy machine is slow

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    // Instead of Playwright's own list, which turns off what browsers do: a frame's storage apart by the page around it.
    "--disable-features=Translate,MediaRouter,HttpsUpgrades",
    ...JSON.parse(process.env.CHROMIUM_ARGUMENTS ?? "[]"),
  ],
});
const pages = new Map();
const errors = [];
const AsyncFunction = (async () => undefined).constructor;

// The frame of a page whose address has this in it, once there is one.
async function frameOf(page, part) {
  for (;;) {
    const found = page.frames().find((frame) => frame.url().includes(part));
    if (found) return found;
    await page.waitForTimeout(20);
  }
}

const commands = {
  // A page in a profile of its own, or in that of another page.
  // `init` runs in it, and in each of its frames, before their own scripts.
  async open({ name, url, beside, init, ...options }) {
    const context = beside ? pages.get(beside).context() : await browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    if (init) await page.addInitScript(init);
    page.on("pageerror", (error) => errors.push(`${name}: ${error.message}`));
    page.on("console", (said) => said.type() === "error" && errors.push(`${name}: ${said.text()}`));
    pages.set(name, page);
    await page.goto(url, { waitUntil: "load" });
    return null;
  },
  run: ({ name, code }) => pages.get(name).evaluate(`(async () => { ${code} })()`),
  // What code in a page cannot do: Playwright's own words about a page, and about the frames in it.
  script: ({ name, code }) =>
    new AsyncFunction("page", "frame", code)(pages.get(name), (part) => frameOf(pages.get(name), part)),
  async reload({ name }) {
    await pages.get(name).reload({ waitUntil: "load" });
    return null;
  },
  async close({ name }) {
    await pages.get(name).close();
    return null;
  },
  async offline({ name, offline }) {
    await pages.get(name).context().setOffline(offline);
    return null;
  },
  errors: async () => errors,
  // As if the browser had just been started: no page, no store, no error.
  async forget() {
    await Promise.all(browser.contexts().map((context) => context.close()));
    pages.clear();
    errors.length = 0;
    return null;
  },
};

async function answer({ id, ...request }) {
  let said;
  try {
    said = { id, value: (await commands[request.command](request)) ?? null };
  } catch (error) {
    said = { id, error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) void answer(JSON.parse(line));
await browser.close();
process.exit(0);
