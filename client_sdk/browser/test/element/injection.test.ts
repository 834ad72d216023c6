/** Whatever a peer says stays text: no payload runs, and none brings an element or attribute of its own. */

import { afterEach, beforeAll, expect, test } from "vitest";
import { page } from "vitest/browser";
import type { Item, ItemBase } from "../../src/api.ts";
import { register } from "../../src/element/register.ts";
import { base, DoubleRelay, person, scale } from "./double.ts";
import { PAYLOADS } from "./payloads.ts";
import { type Scene, settled, showRoom } from "./scenes.ts";

let runs = 0;
let scene: Scene | undefined;
const violations: string[] = [];

beforeAll(async () => {
  register();
  await page.viewport(1280, 800);
  Object.assign(globalThis, { __injected: () => runs++ });
  for (const name of ["alert", "confirm", "prompt"]) Object.assign(globalThis, { [name]: () => runs++ });
});

afterEach(() => scene?.end());

/** What a peer, its device, its name and its files may say, all of it hostile. */
function hostileItems(say: string): Item[] {
  const by = (fields: Partial<ItemBase> = {}): ItemBase => ({
    ...base(say, { sentMs: Date.now() }),
    reactions: [
      { emoji: say, users: [say] },
      { emoji: "👍", users: [say] },
    ],
    ...fields,
  });
  const first: Item = { ...by(), id: `id ${say}`, kind: "text", text: say, replyTo: null };
  const questions = [
    scale("1", say),
    { ...scale(say, say), id: say },
    { id: "3", text: say, answer: "choice" as const, min: null, max: null, choices: [say, `${say} `] },
    { id: "4", text: say, answer: "text" as const, min: null, max: null, choices: [] },
  ];
  const asked: Item = { ...by(), kind: "checkin", prompt: say, questions };
  return [
    first,
    { ...by(), kind: "text", text: `See ${say} and https://example.org/ok ${say}`, replyTo: first.id },
    { ...by({ mine: true, sender: "anna" }), kind: "text", text: say, replyTo: `gone ${say}` },
    { ...by(), kind: "file", name: say, mediaType: say, size: 10 },
    { ...by(), kind: "file", name: `${say}.svg`, mediaType: "image/svg+xml", size: 10 },
    { ...by(), kind: "file", name: say, mediaType: "image/png", size: 10 },
    asked,
    { ...by({ mine: true, sender: "anna" }), kind: "checkin", prompt: say, questions },
    {
      ...by(),
      kind: "checkin.answer",
      checkIn: asked.id,
      answers: { "1": 4, [say]: say, "3": say, "4": say },
    },
    { ...by(), kind: "checkin.answer", checkIn: asked.id, answers: { "1": 6, [say]: 5 } },
    { ...by(), kind: "checkin.answer", checkIn: say, answers: { [say]: say } },
    { ...by(), kind: "call.invite", call: say, media: [say as "audio"] },
    {
      ...by(),
      kind: "call.ended",
      call: `${say} 2`,
      outcome: say as "missed",
      seconds: Number.NaN,
      missed: false,
    },
    { ...by(), kind: "call.ended", call: `${say} 3`, outcome: "missed", seconds: 1, missed: true },
    { ...by(), kind: "profile", name: say },
    { ...by(), kind: "retracted" },
    { ...by({ sender: "" }), kind: "gap", reason: say, text: say },
    { ...by(), kind: "unknown", text: say, critical: true },
  ];
}

function hostileRelay(say: string): DoubleRelay {
  const relay = new DoubleRelay();
  const { room } = relay;
  room.items = hostileItems(say);
  for (const item of room.items) room.files.set(item.id, new Blob([say], { type: "image/svg+xml" }));
  room.persons = [
    ...room.persons.slice(0, 1),
    person(say, say, { role: say }),
    person(`${say} 2`, say, { role: say, waitsForAdmission: true, member: false }),
    person("late", say, { member: false }),
    person("moved", say, { trust: "changed" }),
  ];
  relay.own = [...relay.own, { id: say, name: say, isThis: false, mayLink: true }];
  const failure = { code: say, message: say };
  room.moving = [
    {
      id: say,
      engagement: say,
      direction: "down",
      name: say,
      size: -1,
      done: Number.NaN,
      state: "failed",
      failure,
    },
  ];
  room.now = { ...room.now, waiting: failure, alarm: { ...failure, user: say }, protection: say };
  relay.newcomer = { id: say, name: say };
  return relay;
}

/** All elements with the names of their attributes, and where links and images point. */
function shapes(root: ShadowRoot): { shapes: Set<string>; addresses: string[] } {
  const found = new Set<string>();
  const addresses: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      found.add(`${element.localName} ${name}`);
      if (["href", "src", "action", "formaction", "data", "srcdoc", "poster"].includes(name))
        addresses.push(value);
    }
    found.add(element.localName);
  }
  return { shapes: found, addresses };
}

/** Everything is opened in turn, so that each field is shown once. */
async function tour(say: string): Promise<ReturnType<typeof shapes>> {
  const relay = hostileRelay(say);
  scene = await showRoom(relay, {}, 10);
  const root = scene.root.shadowRoot as ShadowRoot;
  const all = { shapes: new Set<string>(), addresses: [] as string[] };
  const look = async (): Promise<void> => {
    await settled(0);
    const now = shapes(root);
    for (const shape of now.shapes) all.shapes.add(shape);
    all.addresses.push(...now.addresses);
  };
  const open = async (selector: string): Promise<void> => {
    root.querySelector<HTMLElement>(selector)?.click();
    await look();
  };
  const close = async (selector: string): Promise<void> => {
    root.querySelector<HTMLElement>(selector)?.click();
    await settled(0);
  };
  await look();
  relay.room.events.emit("typing", { user: say, on: true });
  relay.room.put({ ...base(say), kind: "text", text: say, replyTo: `id ${say}` });
  await look();
  await open("article .more");
  await open(".menu [role=menuitem]");
  await open("#people-button");
  await open('[aria-label^="Remove "]');
  await close("cr-confirm .actions button:last-child");
  await open(".notice .primary");
  await close("cr-confirm .actions button:last-child, cr-verify .dialog-head button");
  await open('.head [aria-label="Check-ins over time"]');
  await close("cr-trend .dialog-head button");
  await open("cr-devices > button");
  const words = root.querySelector<HTMLTextAreaElement>("cr-add-device textarea");
  if (words !== null) words.value = "a b c d e f g h i j k l";
  words?.dispatchEvent(new Event("input"));
  await look();
  await open("cr-add-device .primary");
  await close("cr-add-device .dialog-head button");
  const data = new DataTransfer();
  data.items.add(new File([say], say || "x", { type: "image/png" }));
  root
    .querySelector(".app")
    ?.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  relay.room.events.emit("ring", {
    call: say,
    user: say,
    returns: false,
    media: [say as "audio"],
    accept: () => relay.room.call({ video: true }),
    decline: async () => undefined,
    over: new Promise(() => undefined),
  });
  await look();
  await open("cr-ring .take");
  const { theCall } = relay.room;
  theCall.devices = async () =>
    [{ id: say, kind: "audioinput", label: say as "Headset", chosen: true }] as never;
  theCall.change({
    user: say,
    words: [say, say],
    state: "connected",
    quality: say as "good",
    startedMs: 1,
    trouble: { code: say, message: say },
  });
  await look();
  await open(".control:nth-last-of-type(3)");
  await open(".control:nth-last-of-type(2)");
  theCall.change({ state: "ended", ended: { code: say, message: say } });
  relay.setOnline(false, { code: say, message: say });
  await look();
  relay.events.emit("failed", { code: say, message: say });
  await look();
  return all;
}

/** From here on a string that becomes markup or script anywhere in the page throws. */
function demandTrustedTypes(): void {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "require-trusted-types-for 'script'; trusted-types lit-html";
  document.head.append(policy);
  document.addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.violatedDirective}: ${event.sample}`),
  );
}

test("there are at least 200 payloads", () => {
  expect(PAYLOADS.length).toBeGreaterThanOrEqual(200);
});

test("the trap works: a payload that is taken for markup runs", async () => {
  const trap = document.createElement("div");
  trap.innerHTML = `<img src="blob:none" onerror="__injected()">`;
  await settled(300);
  expect(runs).toBe(1);
  runs = 0;
});

test("no payload in any field of a peer runs, or brings an element or attribute with it", {
  timeout: 900_000,
}, async () => {
  const allowed = (await tour("Hello https://example.org/hello")).shapes;
  scene?.end();
  violations.length = 0;
  demandTrustedTypes();
  for (const payload of PAYLOADS) {
    const seen = await tour(payload);
    scene?.end();
    expect(runs, payload).toBe(0);
    const unexpected = [...seen.shapes].filter((shape) => !allowed.has(shape));
    expect(unexpected, payload).toEqual([]);
    for (const address of seen.addresses) expect(address, payload).toMatch(/^(https?:\/\/|blob:|$)/);
  }
  await settled(300);
  expect(runs).toBe(0);
  expect(violations).toEqual([]);
});
