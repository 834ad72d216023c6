/** Every state on a phone of 360 pixels, with text as it is and at 200 %: nothing is cut off, everything is reached. */

import { afterEach, beforeEach, expect, test } from "vitest";
import { page } from "vitest/browser";
import { NAMES, type Scene, settled, show } from "./scenes.ts";

const WIDTH = 360;
const HEIGHT = 740;

let scene: Scene | undefined;
beforeEach(() => page.viewport(WIDTH, HEIGHT));
afterEach(() => {
  scene?.end();
  document.documentElement.style.removeProperty("font-size");
});

const shadow = (): ShadowRoot => (scene as Scene).root.shadowRoot as ShadowRoot;
const nameOf = (element: Element): string =>
  element.getAttribute("aria-label") ?? element.textContent?.trim() ?? "";

/** What a person presses or types into, as far as it is shown at all. */
function* reached(): Generator<HTMLElement> {
  for (const one of shadow().querySelectorAll<HTMLElement>(
    "button, textarea, select, input:not([type=file])",
  ))
    if (one.checkVisibility({ visibilityProperty: true }) && one.closest("[inert]") === null) yield one;
}

/** It can be scrolled to in some box that is in view itself. */
const scrolls = (element: Element): boolean => {
  for (let box = element.parentElement; box !== null; box = box.parentElement)
    if (/auto|scroll/.test(getComputedStyle(box).overflowY)) return true;
  return false;
};

test.each(["call", "call-refused"])(
  "%s: what can be done is one row, and trouble is read without scrolling",
  async (name) => {
    scene = await show(name);
    await settled(30);
    const rows = [...shadow().querySelectorAll(".control")].map((one) => one.getBoundingClientRect().top);
    expect(new Set(rows).size).toBe(1);
    const trouble = shadow().querySelector(".call-trouble");
    expect(trouble === null).toBe(name === "call");
    if (trouble !== null) expect(trouble.scrollHeight).toBeLessThanOrEqual(trouble.clientHeight);
    expect(shadow().querySelector("cr-composer")?.getBoundingClientRect().bottom).toBeLessThanOrEqual(HEIGHT);
  },
);

/** How much of the screen takes a press for it: as large as it is drawn, and what its style adds around it. */
const pressed = (one: Element): { readonly width: number; readonly height: number } => {
  const { width, height } = one.getBoundingClientRect();
  const around = getComputedStyle(one, "::after");
  const more = (side: string): number =>
    around.position === "absolute" ? -2 * (Number.parseFloat(side) || 0) : 0;
  return { width: width + more(around.left), height: height + more(around.top) };
};

/** Eight reactions stand in one row; a finger's width is 44 pixels, and a little less where they stand side by side. */
const FINGER = 44;
const SIDE_BY_SIDE = 36;

test.each(NAMES)("%s: a finger hits what it means", async (name) => {
  scene = await show(name);
  await settled(30);
  const small = [...reached()]
    .filter((one) => one.localName === "button" && one.closest(".sr") === null)
    .map((one) => ({ of: nameOf(one), ...pressed(one) }))
    .filter(({ width, height }) => height < FINGER - 0.5 || width < SIDE_BY_SIDE);
  expect(small).toEqual([]);
});

for (const percent of [100, 200]) {
  test.each(NAMES)(`%s, text at ${percent} %`, async (name) => {
    document.documentElement.style.setProperty("font-size", `${percent}%`);
    scene = await show(name);
    await settled(30);
    const lost: string[] = [];
    for (const one of reached()) {
      const { left, right, top, bottom } = one.getBoundingClientRect();
      const within = one.closest(".sr, .trend-table") === null;
      if (within && (left < -1 || right > WIDTH + 1)) lost.push(`beside the screen: ${nameOf(one)}`);
      if ((top < -1 || bottom > HEIGHT + 1) && !scrolls(one)) lost.push(`out of reach: ${nameOf(one)}`);
    }
    expect(lost).toEqual([]);
    const head = shadow().querySelector(".head");
    if (head !== null) expect(head.getBoundingClientRect().height).toBeLessThan(HEIGHT / 3);
    const title = shadow().querySelector(".head h1");
    if (title !== null) expect(title.getBoundingClientRect().width).toBeGreaterThan(80);
  });
}
