// Pictures of each state of the element at phone, tablet and desktop width, light and dark:
//   npm run pictures [-- FOLDER [NAME ...]]
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";
import { createServer } from "vite";

// Lit as it is delivered: its development build warns on the console.
process.env.NODE_ENV = "production";
const WIDTHS = { phone: [360, 740], tablet: [820, 1100], desktop: [1280, 800] };
const LARGE = [
  ...["first", "linking", "conversation", "writing", "menu", "files", "checkin", "identity", "people"],
  ...["verify", "kit-words", "kit-check", "add-device", "ring", "call", "call-words", "call-over"],
];
const root = fileURLToPath(new URL("../", import.meta.url));
const [folder = `${root}pictures`, ...wanted] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const server = await createServer({
  root,
  configFile: false,
  logLevel: "error",
  optimizeDeps: { entries: ["test/element/pictures.html"] },
  server: { port: 0, host: "127.0.0.1", hmr: false, watch: null },
});
await server.listen();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
});
const troubles = [];
for (const [width, [x, y]] of Object.entries(WIDTHS)) {
  const context = await browser.newContext({
    viewport: { width: x, height: y },
    reducedMotion: "reduce",
    hasTouch: width === "phone",
    locale: "en-GB",
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(`${error}`));
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && troubles.push(said.text()));
  await page.goto(`${server.resolvedUrls.local[0]}test/element/pictures.html`, { waitUntil: "load" });
  await page.waitForFunction(() => globalThis.names !== undefined);
  const names = wanted.length > 0 ? wanted : await page.evaluate(() => globalThis.names);
  for (const scheme of ["light", "dark"]) {
    for (const name of names) {
      await page.evaluate(([one, look]) => globalThis.show(one, look), [name, scheme]);
      await page.waitForTimeout(150);
      await page.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png` });
    }
  }
  // Text at 200 %, as a person sets it in the browser.
  if (width !== "tablet") {
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
    for (const name of names.filter((one) => LARGE.includes(one) || wanted.includes(one))) {
      await page.evaluate((one) => globalThis.show(one, "light"), name);
      await page.waitForTimeout(150);
      await page.screenshot({ path: `${folder}/${name}-${width}-large.png` });
    }
  }
  await context.close();
}
await browser.close();
await server.close();
process.stdout.write(`Pictures are in ${folder}.\n`);
if (troubles.length > 0) {
  process.stdout.write(`${[...new Set(troubles)].join("\n")}\n`);
  process.exitCode = 1;
}
