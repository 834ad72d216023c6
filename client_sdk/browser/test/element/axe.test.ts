/** Every state of the interface, in both schemes, by axe's rules for WCAG 2.2 A and AA. */

import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { page } from "vitest/browser";
import { NAMES, type Scene, show } from "./scenes.ts";

let scene: Scene | undefined;
afterEach(() => scene?.end());

const OPTIONS: axe.RunOptions = {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  // The document around it belongs to whoever frames it.
  rules: { "page-has-heading-one": { enabled: false }, region: { enabled: false } },
};

const told = (violations: readonly axe.Result[]): readonly string[] =>
  violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary}`),
  );

for (const scheme of ["light", "dark"] as const) {
  test.each(NAMES)(`%s, ${scheme}: no violations`, async (name) => {
    await page.viewport(scheme === "light" ? 1280 : 390, 800);
    scene = await show(name, { scheme });
    const { violations, passes } = await axe.run(scene.host, OPTIONS);
    expect(told(violations)).toEqual([]);
    expect(passes.length).toBeGreaterThan(5);
  });
}
