/** What is closed leaves nothing behind in memory, above all not the conversation that it showed. */

import { beforeAll, expect, test } from "vitest";
import { cdp, page } from "vitest/browser";
import { register } from "../../src/element/register.ts";
import { settled, show } from "./scenes.ts";

interface Chromium {
  send(method: "HeapProfiler.collectGarbage"): Promise<void>;
  send(method: "Memory.getDOMCounters"): Promise<{ nodes: number; jsEventListeners: number }>;
}

beforeAll(async () => {
  register();
  await page.viewport(1280, 800);
});

/** The nodes and listeners in memory, once all is gone that can go. */
async function counted(): Promise<{ nodes: number; jsEventListeners: number }> {
  const chromium = cdp() as unknown as Chromium;
  await settled();
  for (let times = 0; times < 3; times++) await chromium.send("HeapProfiler.collectGarbage");
  return chromium.send("Memory.getDOMCounters");
}

test.each([
  "conversation",
  "attaching",
  "trend",
  "image",
  "verify-code",
  "ring",
  "call",
  "call-devices",
  "call-over",
])("%s", async (name) => {
  (await show(name)).end(); // the first time things are made that stay, such as styles
  const before = await counted();
  for (let times = 0; times < 3; times++) (await show(name)).end();
  const after = await counted();
  expect(after.nodes - before.nodes).toBeLessThan(100); // a conversation has more than a thousand
  expect(after.jsEventListeners - before.jsEventListeners).toBeLessThan(10);
});
