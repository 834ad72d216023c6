/** Each state of the interface, by name: tests of accessibility go through all, and pictures are taken of all. */

import type { CheckInItem, Item, Transfer } from "../../src/api.ts";
import { explain } from "../../src/calls/trouble.ts";
import type { Theme } from "../../src/element/index.ts";
import { mount, welcome } from "../../src/element/index.ts";
import { REASONS } from "../../src/engine/waiting.ts";
import { BEN, base, DoubleRelay, ENGAGEMENT, file, NOW, person, scale, text } from "./double.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export interface Scene {
  readonly host: HTMLElement;
  readonly root: HTMLElement;
  readonly relay: DoubleRelay;
  end(): void;
}

export const settled = (ms = 60): Promise<void> => new Promise((done) => setTimeout(done, ms));

const WEEK = "How was the week? Did you get to try the morning walk before work?";

/** A picture that needs no file: a calm gradient. */
export async function picture(width = 800, height = 520): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#f7c59f");
  sky.addColorStop(0.55, "#8fb8ca");
  sky.addColorStop(1, "#2b5d5a");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#fff3d6";
  context.beginPath();
  context.arc(width * 0.7, height * 0.3, height * 0.1, 0, 7);
  context.fill();
  return new Promise((done) => canvas.toBlob((blob) => done(blob as Blob), "image/png"));
}

function checkIns(now: number): Item[] {
  const items: Item[] = [];
  for (const [week, [energy, sleep]] of [
    [4, 5],
    [5, 5],
    [3, 4],
    [6, 6],
    [7, 6],
    [7, 8],
  ].entries()) {
    const sentMs = now - (6 - week) * 7 * DAY;
    const asked: CheckInItem = {
      ...base("anna", { sentMs }),
      kind: "checkin",
      prompt: "The week in numbers",
      questions: [scale("e", "How much energy did you have?"), scale("s", "How did you sleep?")],
    };
    const answers = { e: energy ?? 0, s: sleep ?? 0 };
    items.push(asked, {
      ...base("ben", { sentMs: sentMs + 3 * HOUR }),
      kind: "checkin.answer",
      checkIn: asked.id,
      answers,
    });
  }
  return items;
}

/** A few weeks of a coach and a client. */
export async function conversation(relay: DoubleRelay, now = NOW): Promise<void> {
  const { room } = relay;
  const week = text("anna", WEEK, { sentMs: now - DAY - 3 * HOUR });
  const walk = text(
    "ben",
    "Three mornings out of five. The two I missed were after late calls, so I think the real lever is the evening.",
    {
      sentMs: now - DAY - 2 * HOUR,
      replyTo: week.id,
      reactions: [{ emoji: "💪", users: ["anna"] }],
    },
  );
  const photo = file("ben", "lake-in-the-morning.png", "image/png", 184_300, {
    sentMs: now - DAY - 2 * HOUR + MINUTE,
  });
  room.files.set(photo.id, await picture());
  room.items.push(
    ...checkIns(now - 2 * DAY),
    week,
    walk,
    photo,
    {
      ...base("ben", { sentMs: now - 5 * HOUR }),
      kind: "call.ended",
      call: "c1",
      outcome: "answered",
      seconds: 2714,
      missed: false,
    },
    text("anna", "Here is what we agreed on: https://example.org/coaching/evening-routine (page 2).", {
      sentMs: now - 50 * MINUTE,
      edited: true,
    }),
    file("anna", "Goals until spring.pdf", "application/pdf", 482_113, { sentMs: now - 49 * MINUTE }),
    text("ben", "Thank you! 🙏", {
      sentMs: now - 40 * MINUTE,
      reactions: [{ emoji: "❤️", users: ["anna", "ben"] }],
    }),
    text("ben", "I will read it tonight.", { sentMs: now - 39 * MINUTE }),
    { ...base("anna", { sentMs: now - 20 * MINUTE }), kind: "retracted" },
    text("anna", "See you on Thursday then.", { sentMs: now - 3 * MINUTE, state: "delivered" }),
    text("anna", "And bring the notebook.", { sentMs: now - 2 * MINUTE, state: "sent" }),
  );
}

const LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft".repeat(3);

/** On the portal's list, and not let in yet. */
const CLEO = person("cleo", "Cleo Marchetti", {
  role: "supervisor",
  member: false,
  waitsForAdmission: true,
  devices: 0,
});

type Setup = (relay: DoubleRelay, now: number) => Promise<void> | void;
type After = (scene: Scene) => Promise<void> | void;

interface Told {
  readonly before?: Setup;
  readonly after?: After;
  readonly theme?: Theme;
}

const find = (scene: Scene, selector: string): HTMLElement => {
  const found = scene.root.shadowRoot?.querySelector<HTMLElement>(selector);
  if (found == null) throw new Error(`The scene has no ${selector}.`);
  return found;
};
const press = async (scene: Scene, selector: string): Promise<void> => {
  find(scene, selector).click();
  await settled();
};

const transfer = (id: string, fields: Partial<Transfer>): Transfer => ({
  id,
  engagement: ENGAGEMENT,
  direction: "up",
  name: "Recording of the workshop.mp4",
  size: 84_000_000,
  done: 31_500_000,
  state: "moving",
  failure: null,
  ...fields,
});

/** A moving picture without a camera. */
function stream(ground: string, figure: string): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = 640;
  canvas.height = 400;
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const draw = (): void => {
    context.fillStyle = ground;
    context.fillRect(0, 0, 640, 400);
    context.fillStyle = figure;
    context.beginPath();
    context.arc(320, 170, 70, 0, 7);
    context.ellipse(320, 420, 150, 160, 0, 0, 7);
    context.fill();
  };
  draw();
  const { signal } = streams;
  const timer = setInterval(draw, 40);
  signal.addEventListener("abort", () => clearInterval(timer));
  return canvas.captureStream(25);
}
let streams = new AbortController();

const inCall: After = async (scene) => {
  streams.abort();
  streams = new AbortController();
  await press(scene, '[aria-label="Call with picture"]');
  const { theCall } = scene.relay.room;
  theCall.change({ local: stream("#5b7a8c", "#e3c9a8"), remote: stream("#7c6f64", "#f0d9b5") });
  theCall.connect();
  await settled(250);
  await settled();
};

const moved = {
  code: "identity_changed",
  message: "The security key of a person in this conversation has changed.",
  user: "ben",
};

/** The scenes within a room. */
export const ROOMS: Readonly<Record<string, Told>> = {
  empty: {},
  conversation: { before: conversation },
  unread: {
    before: async (relay, now) => {
      await conversation(relay, now);
      const { room } = relay;
      room.now = { ...room.now, readTo: room.items.at(-1)?.seq ?? 0 };
      for (let n = 1; n <= 14; n++)
        room.items.push(
          text("ben", `Thought ${n}: what if I begin with the evening instead of the morning?`, {
            sentMs: now - MINUTE,
          }),
        );
    },
    after: async (scene) => {
      scene.relay.room.events.emit("typing", { user: "ben", on: true });
      await settled();
    },
  },
  writing: {
    before: conversation,
    after: async (scene) => {
      const ben = scene.relay.room.items.find((item) => item.kind === "text" && !item.mine);
      await press(scene, `article[data-id="${ben?.id}"] .more`);
      await press(scene, ".menu [role=menuitem]");
      const field = find(scene, "cr-composer textarea") as HTMLTextAreaElement;
      field.value =
        "That fits.\nShall we look at your evenings on Thursday, and keep the walk as it is for now?";
      field.dispatchEvent(new Event("input"));
      await settled();
    },
  },
  menu: {
    before: conversation,
    after: async (scene) => press(scene, "cr-page:last-of-type article:last-of-type .more"),
  },
  attaching: {
    before: conversation,
    after: async (scene) => {
      const data = new DataTransfer();
      data.items.add(new File([await picture(400, 300)], "whiteboard.png", { type: "image/png" }));
      data.items.add(
        new File(["x".repeat(1300)], "A rather long name of a document about what was said in March.docx"),
      );
      find(scene, ".app").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }),
      );
      await settled(400);
    },
  },
  checkin: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.room.items.push({
        ...base("ben", { sentMs: now - MINUTE }),
        kind: "checkin",
        prompt: "Before our session",
        questions: [
          scale("1", "How ready do you feel?"),
          {
            id: "2",
            text: "Where shall we meet?",
            answer: "choice",
            min: null,
            max: null,
            choices: ["Here, by video", "In the park", "By telephone"],
          },
          {
            id: "3",
            text: "What would make it a good hour?",
            answer: "text",
            min: null,
            max: null,
            choices: [],
          },
          scale("4", "How sure are you, in percent?", 0, 100),
        ],
      });
    },
  },
  "compose-checkin": {
    before: conversation,
    after: async (scene) => {
      await press(scene, '[aria-label="New check-in"]');
      await press(scene, ".ask > button");
      const select = find(scene, "fieldset:last-of-type select") as HTMLSelectElement;
      select.value = "choice";
      select.dispatchEvent(new Event("change"));
      await settled();
    },
  },
  trend: {
    before: conversation,
    after: (scene) => press(scene, '[aria-label="Check-ins over time"]').then(() => settled(100)),
  },
  image: {
    before: conversation,
    after: async (scene) =>
      settled(500)
        .then(() => press(scene, "button.picture"))
        .then(() => settled(500)),
  },
  files: {
    before: async (relay, now) => {
      await conversation(relay, now);
      const sent = file("anna", "Slides.key", "application/octet-stream", 24_000_000, {
        seq: 0,
        state: "waiting",
        sentMs: now - MINUTE,
      });
      relay.room.items.push(sent);
      relay.room.moving = [
        transfer(sent.id, { name: sent.name, size: 24_000_000, done: 9_000_000 }),
        transfer("t1", { state: "paused" }),
        transfer("t2", {
          state: "failed",
          name: "Scan.tiff",
          failure: {
            code: "blob_refused",
            message: "The relay has no more room for files of this portal. Ask whoever runs it.",
          },
        }),
      ];
    },
  },
  offline: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.online = false;
      setTimeout(
        () =>
          relay.setOnline(false, {
            code: "relay_unreachable",
            message: "The relay cannot be reached; the network may be gone.",
          }),
        20,
      );
      relay.room.items.push(
        text("anna", "Written in a tunnel.", { seq: 0, state: "waiting", sentMs: now - MINUTE }),
      );
    },
  },
  reconnecting: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.room.now = { ...relay.room.now, caughtUp: false };
    },
    after: () => settled(1700),
  },
  repairing: {
    before: async (relay, now) => {
      await conversation(relay, now);
      const waiting = { code: "repairing", message: REASONS.repairing };
      relay.room.now = { ...relay.room.now, waiting };
    },
  },
  alarm: {
    before: async (relay, now) => {
      await conversation(relay, now);
      const message =
        "You and another device of this conversation were shown different messages, or in another order. A correct relay shows everybody the same; one that does not may be hiding or inserting something. Nothing more is sent, and what you wrote is kept, until you decide. Reach the other person another way, tell them, and compare your safety numbers before you go on.";
      relay.room.now = { ...relay.room.now, alarm: { code: "stream_forked", message } };
    },
  },
  identity: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.room.persons = relay.room.persons.map((one) =>
        one.user === "ben" ? { ...one, trust: "changed" } : one,
      );
      relay.room.now = { ...relay.room.now, alarm: moved };
    },
  },
  gap: {
    before: async (relay, now) => {
      await conversation(relay, now);
      const gap =
        "This device was out of step with the others, so what was said between Friday, 18:02 and Saturday, 9:40 is missing here. It has joined again by itself, and nothing has been missing since. Your other devices have those messages.";
      relay.room.items.push(
        { ...base("", { sentMs: now - 30_000 }), kind: "gap", reason: "rejoined", text: gap },
        {
          ...base("ben", { sentMs: now - 20_000 }),
          kind: "call.ended",
          call: "c9",
          outcome: "missed",
          seconds: 0,
          missed: true,
        },
        {
          ...base("ben", { sentMs: now - 10_000 }),
          kind: "unknown",
          text: "Ben shared a whiteboard.",
          critical: false,
        },
      );
    },
  },
  waiting: {
    before: (relay) => {
      relay.room.now = { ...relay.room.now, member: false };
    },
  },
  missing: {
    before: (relay) => {
      relay.room.persons = relay.room.persons.map((one) =>
        one.user === "ben" ? { ...one, member: false, devices: 0 } : one,
      );
      relay.room.items.push(text("anna", "Welcome, Ben!", { seq: 0, state: "waiting" }));
    },
  },
  knock: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.room.persons.push(CLEO);
    },
    after: (scene) => press(scene, ".notice .primary"),
  },
  ended: {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.room.now = { ...relay.room.now, ended: true };
    },
  },
  people: { before: conversation, after: (scene) => press(scene, "#people-button") },
  "remove-device": {
    before: conversation,
    after: (scene) => press(scene, "#people-button").then(() => press(scene, '[aria-label^="Remove "]')),
  },
  verify: {
    before: conversation,
    after: async (scene) => {
      await press(scene, "#people-button");
      await press(scene, ".person .primary");
    },
  },
  "verify-code": {
    before: conversation,
    after: async (scene) => {
      await press(scene, "#people-button");
      await press(scene, ".person .primary");
      await press(scene, "#way-show");
    },
  },
  "add-device": {
    before: conversation,
    after: async (scene) => {
      await press(scene, "#people-button");
      await press(scene, "cr-devices > button");
    },
  },
  "add-device-name": {
    before: conversation,
    after: async (scene) => {
      await press(scene, "#people-button");
      await press(scene, "cr-devices > button");
      const field = find(scene, "cr-add-device textarea") as HTMLTextAreaElement;
      field.value = "one two three four five six seven eight nine ten eleven twelve";
      field.dispatchEvent(new Event("input"));
      await settled();
      await press(scene, "cr-add-device .primary");
    },
  },
  kit: {
    before: (relay) => {
      relay.due = true;
    },
  },
  "kit-words": {
    before: (relay) => {
      relay.due = true;
    },
    after: (scene) => press(scene, "cr-kit .primary"),
  },
  "kit-check": {
    before: (relay) => {
      relay.due = true;
    },
    after: (scene) => press(scene, "cr-kit .primary").then(() => press(scene, "cr-kit .actions .primary")),
  },
  ring: {
    before: conversation,
    after: async (scene) => {
      scene.relay.room.ring();
      await settled();
    },
  },
  "ring-return": {
    before: conversation,
    after: async (scene) => {
      scene.relay.room.ring(["audio", "video"], true);
      await settled();
    },
  },
  call: { before: conversation, after: inCall },
  "call-words": {
    before: conversation,
    after: async (scene) => {
      await inCall(scene);
      await press(scene, ".control:nth-last-of-type(2)");
    },
  },
  "call-devices": {
    before: conversation,
    after: async (scene) => {
      await inCall(scene);
      await press(scene, ".control:nth-last-of-type(3)");
    },
  },
  "call-reconnecting": {
    before: conversation,
    after: async (scene) => {
      await inCall(scene);
      scene.relay.room.theCall.change({ state: "reconnecting", microphone: false });
      await settled();
    },
  },
  "call-refused": {
    before: conversation,
    after: async (scene) => {
      await inCall(scene);
      const why = { secure: true, able: true, allowed: true, framed: true, error: "NotAllowedError" };
      const trouble = explain([
        { source: "microphone", why },
        { source: "camera", why },
      ]);
      scene.relay.room.theCall.change({ microphone: false, camera: false, trouble });
      await settled();
    },
  },
  "call-notices": {
    before: async (relay, now) => {
      await conversation(relay, now);
      relay.due = true;
      relay.room.persons.push(CLEO);
    },
    after: async (scene) => {
      await inCall(scene);
      scene.relay.setOnline(false);
      await settled();
    },
  },
  "call-over": {
    before: conversation,
    after: async (scene) => {
      await inCall(scene);
      const message =
        "The call needs your microphone, and the browser does not give it. Allow it, then call again.";
      scene.relay.room.theCall.change({ state: "ended", ended: { code: "microphone_refused", message } });
      await settled();
    },
  },
  extremes: {
    before: (relay, now) => {
      const { room } = relay;
      relay.me = { ...relay.me, name: LONG };
      room.persons = [
        room.persons[0] as (typeof room.persons)[0],
        { ...BEN, name: "عبد الرحمن بن محمد الأنصاري", trust: "verified" },
        person("x", LONG, { role: LONG }),
      ];
      room.items.push(
        text("ben", "مرحبا! كيف كان أسبوعك؟ رأيت https://example.org/راحة اليوم، وأعجبني.", {
          sentMs: now - 9 * MINUTE,
          reactions: ["👍", "❤️", "🙏", "💪", "🎉", "😊", "😢", "🤔"].map((emoji) => ({
            emoji,
            users: ["ben", "anna", "x"],
          })),
        }),
        text("anna", "482910573629184750392018475639", { sentMs: now - 8 * MINUTE }),
        text("x", LONG, { sentMs: now - 7 * MINUTE }),
        text("anna", `https://example.org/${"a-long-path/".repeat(30)}`, { sentMs: now - 6 * MINUTE }),
        file("x", `${LONG}.pdf`, "application/pdf", 1, { sentMs: now - 5 * MINUTE }),
        text("ben", "👍", { sentMs: now - 4 * MINUTE }),
      );
    },
    after: (scene) => press(scene, "#people-button"),
  },
  failed: {
    before: conversation,
    after: async (scene) => {
      scene.relay.events.emit("failed", {
        code: "vault_missing",
        message:
          "What this browser had stored is gone: it was erased, or the browser made room. Link this browser anew from another device, or recover with your kit.",
      });
      await settled();
    },
  },
};

const WORDS = "meadow ladder ocean violin cabin orbit pencil garden copper winter saddle lemon".split(" ");

/** The scenes before there is a room. */
export const WELCOMES: Readonly<Record<string, After>> = {
  opening: () => undefined,
  "first-again": ({ root }) => {
    const message =
      "The words are not those of a recovery kit: one of them may be mistyped. Compare them with the page.";
    void (root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({
      elsewhere: true,
      failure: { code: "kit_words", message },
    });
  },
  first: ({ root }) =>
    void (root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({ elsewhere: false }),
  elsewhere: ({ root }) =>
    void (root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({ elsewhere: true }),
  linking: async (scene) => {
    const root = scene.root as HTMLElementTagNameMap["coach-relay-welcome"];
    const decided = root.firstUse({ elsewhere: true });
    await settled();
    await press(scene, ".offer");
    await press(scene, ".primary");
    const use = await decided;
    if (use.kind === "link") use.show({ words: WORDS, qr: "COACH-LINK:00112233445566778899AABBCCDDEEFF" });
  },
  moving: async (scene) => {
    const root = scene.root as HTMLElementTagNameMap["coach-relay-welcome"];
    const decided = root.firstUse({ elsewhere: true });
    await settled();
    await press(scene, ".offer");
    await press(scene, ".primary");
    const use = await decided;
    if (use.kind === "link") use.progress?.(640, 1000);
  },
  recovering: async (scene) => {
    void (scene.root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({ elsewhere: true });
    await settled();
    await press(scene, ".offer:nth-of-type(2)");
  },
  "recovery-refused": async (scene) => {
    const message =
      "The relay knows no earlier device of yours. Check whether you are logged in to your portal as the person on the page.";
    void (scene.root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({
      elsewhere: true,
      failure: { code: "recovery_refused", message },
    });
    await settled();
    await press(scene, ".offer:nth-of-type(2)");
  },
  neither: async (scene) => {
    void (scene.root as HTMLElementTagNameMap["coach-relay-welcome"]).firstUse({ elsewhere: true });
    await settled();
    await press(scene, ".link");
  },
  "other-tab": ({ root }) => {
    const message =
      "This conversation is open in another tab of this browser. Go on there, or close that tab.";
    (root as HTMLElementTagNameMap["coach-relay-welcome"]).failed({ code: "waiting", message });
  },
  refused: ({ root }) =>
    (root as HTMLElementTagNameMap["coach-relay-welcome"]).failed({
      code: "access_refused",
      message:
        "The portal’s access token was not taken. Reload the page; if it keeps happening, tell whoever runs the portal.",
    }),
};

export const NAMES = [...Object.keys(ROOMS), ...Object.keys(WELCOMES)];

let shows = 0;

/** Show a room with a double behind it. */
export async function showRoom(relay = new DoubleRelay(), theme: Theme = {}, ms = 60): Promise<Scene> {
  const host = document.createElement("div");
  host.style.height = "100vh";
  document.body.append(host);
  shows++;
  relay.room.id = `${ENGAGEMENT.slice(0, -4)}${String(shows).padStart(4, "0")}`;
  const shown = mount(host, relay, { engagement: relay.room.id, theme });
  await settled(ms);
  const root = host.firstElementChild as HTMLElement;
  const end = (): void => {
    shown.destroy();
    host.remove();
  };
  return { host, root, relay, end };
}

/** Show a scene by its name. */
export async function show(name: string, theme: Theme = {}, now = Date.now()): Promise<Scene> {
  const told = ROOMS[name];
  const relay = new DoubleRelay();
  if (told !== undefined) {
    await told.before?.(relay, now);
    const scene = await showRoom(relay, theme);
    await told.after?.(scene);
    await settled();
    return scene;
  }
  const host = document.createElement("div");
  host.style.height = "100vh";
  document.body.append(host);
  const shown = welcome(host, { theme, again: () => undefined });
  const root = host.firstElementChild as HTMLElement;
  const end = (): void => {
    shown.destroy();
    host.remove();
  };
  const scene = { host, root, relay, end };
  await settled();
  await WELCOMES[name]?.(scene);
  await settled();
  return scene;
}
