/** The keyboard: whatever goes away, the focus is somewhere that makes sense; what fails is said where one is. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { page, userEvent } from "vitest/browser";
import { until } from "../until.ts";
import { DoubleError, DoubleRelay, file } from "./double.ts";
import { type Scene, settled, showRoom } from "./scenes.ts";

let scene: Scene | undefined;
let relay: DoubleRelay;

beforeEach(async () => {
  await page.viewport(1280, 800);
  relay = new DoubleRelay();
});
afterEach(() => {
  scene?.end();
  localStorage.clear(); // that the kit was put off
});

const open = async (): Promise<ShadowRoot> => {
  scene = await showRoom(relay);
  return scene.root.shadowRoot as ShadowRoot;
};
const button = (name: string) => page.getByRole("button", { name, exact: true });
const press = async (name: string): Promise<void> => {
  (button(name).element() as HTMLElement).focus();
  await userEvent.keyboard("{Enter}");
  await settled();
};
const focused = (root: ShadowRoot): string =>
  root.activeElement?.getAttribute("aria-label") ?? root.activeElement?.textContent?.trim() ?? "";

describe("the focus", () => {
  test("stays on the button that pauses when it resumes, and goes on when the file is cancelled", async () => {
    const sent = file("anna", "Slides.key", "application/octet-stream", 1000, { seq: 0, state: "waiting" });
    relay.room.items.push(sent);
    const moving = { id: sent.id, engagement: "", direction: "up", name: "Slides.key", size: 1000 } as const;
    relay.room.moving = [{ ...moving, done: 250, state: "moving", failure: null }];
    const root = await open();
    await press("Pause Slides.key");
    expect(focused(root)).toBe("Resume Slides.key");
    await expect.element(page.getByText("Slides.key: Paused")).toBeInTheDocument();
    await press("Resume Slides.key");
    expect(focused(root)).toBe("Pause Slides.key");
    await press("Cancel Slides.key");
    await until(() => focused(root) === "Write a message");
  });

  test("follows the steps of a dialog, and comes back to the conversation when what opened it has gone", async () => {
    relay.due = true;
    const root = await open();
    await press("Later");
    await until(() => focused(root) === "Write a message");
    await press("Make one");
    await press("Show the words");
    expect(focused(root)).toBe("Your recovery kit");
    await press("I have the page");
    expect(root.activeElement?.localName).toBe("input");
    await userEvent.keyboard("{Escape}");
    await settled();
    expect(focused(root)).toBe("Make one");
  });

  test("is in the call that begins, at its end, and back in the conversation", async () => {
    const root = await open();
    relay.room.ring(["audio"]);
    await settled();
    expect(focused(root)).toBe("Answer");
    await userEvent.keyboard("{Enter}");
    await until(() => focused(root) === "Mute");
    const { theCall } = relay.room;
    theCall.connect();
    theCall.change({ state: "ended", ended: { code: "call_lost", message: "The connection was lost." } });
    await until(() => focused(root) === "Close");
    await press("Close");
    await until(() => focused(root) === "Write a message");
  });

  test("is back on the device whose name was changed, or left as it was", async () => {
    const root = await open();
    await press("Who can read this. Somebody is not verified yet.");
    const rename = root.querySelector<HTMLElement>("[data-rename]");
    const before = rename?.getAttribute("aria-label") ?? "";
    await press(before);
    expect(root.activeElement?.localName).toBe("input");
    await userEvent.tab();
    relay.room.change({});
    await settled();
    expect(focused(root)).toBe("Save");
    await userEvent.keyboard("{Shift>}{Tab}{/Shift}{Escape}");
    await settled();
    expect(focused(root)).toBe(before);
  });

  test("is not taken from where somebody writes", async () => {
    const root = await open();
    await page.getByRole("textbox", { name: "Write a message" }).click();
    relay.room.change({ caughtUp: false });
    relay.events.emit("offline", { code: "offline", message: "The network is gone." });
    await settled();
    expect(focused(root)).toBe("Write a message");
  });
});

test("what fails in a dialog is said in the dialog, where it can be dismissed", async () => {
  relay.due = true;
  await open();
  relay.recoveryKit = () => Promise.reject(new DoubleError("vault_full", "The disk is full."));
  await press("Show the words");
  const dialog = page.getByRole("dialog", { name: "Your recovery kit" });
  await expect.element(dialog.getByRole("alert").filter({ hasText: "The disk is full." })).toBeVisible();
  await dialog.getByRole("button", { name: "Dismiss" }).click();
  expect(page.getByText("The disk is full.").query()).toBeNull();
});
