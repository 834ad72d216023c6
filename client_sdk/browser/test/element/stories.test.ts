/** What people do, with the keyboard and through the accessibility tree. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import type { Transfer } from "../../src/api.ts";
import { until } from "../until.ts";
import { ANNA, BEN, base, DoubleError, DoubleRelay, file, person, scale, text } from "./double.ts";
import { conversation, picture, type Scene, settled, show, showRoom } from "./scenes.ts";

let scene: Scene | undefined;
let relay: DoubleRelay;

beforeEach(async () => {
  await page.viewport(1280, 800);
  relay = new DoubleRelay();
});
afterEach(() => scene?.end());

const open = async (): Promise<ShadowRoot> => {
  scene = await showRoom(relay);
  return scene.root.shadowRoot as ShadowRoot;
};
const button = (name: string | RegExp) => page.getByRole("button", { name, exact: typeof name === "string" });
const composer = () => page.getByRole("textbox", { name: "Write a message" });
const active = (root: ShadowRoot): HTMLElement => root.activeElement as HTMLElement;

describe("writing", () => {
  test("Enter sends, Shift and Enter begins a line, the field is empty and keeps the focus", async () => {
    const root = await open();
    await composer().fill("One");
    await userEvent.keyboard("{Shift>}{Enter}{/Shift}Two{Enter}");
    expect(relay.room.asked).toContain("send One\nTwo ");
    await expect.element(composer()).toHaveValue("");
    expect(active(root)?.localName).toBe("textarea");
    await expect.element(page.getByRole("article")).toHaveTextContent("One Two");
  });

  test("own messages stand there as they are sent, and the field is free for the next", async () => {
    await conversation(relay);
    const root = await open();
    for (let n = 0; n < 5; n++) {
      await composer().fill(`Quick ${n}`);
      root.querySelector<HTMLFormElement>(".composer")?.requestSubmit();
      await until(() => root.querySelector("cr-history")?.textContent?.includes(`Quick ${n}`));
      await expect.element(composer()).toHaveValue("");
    }
  });

  test("what could not be stored comes back into the field, and why is said", async () => {
    await open();
    relay.room.fails = {
      action: "send",
      error: new DoubleError("vault_full", "The disk is full. Make room, then send again."),
    };
    await composer().fill("Important");
    await userEvent.keyboard("{Enter}");
    await expect.element(composer()).toHaveValue("Important");
    await expect.element(page.getByRole("alert").filter({ hasText: "The disk is full." })).toBeVisible();
  });

  test("a draft outlives the page, with what it answers; it is erased when it is sent or emptied", async () => {
    relay.room.items.push(text("ben", "How did it go?"));
    await open();
    await button(/What to do with the message from Ben/).click();
    await page.getByRole("menuitem", { name: "Reply" }).click();
    await composer().fill("Half a thought");
    await until(() => relay.room.kept !== null);
    scene?.end();
    await open();
    await expect.element(composer()).toHaveValue("Half a thought");
    await expect.element(page.getByText("Replying to Ben")).toBeVisible();
    await composer().fill("");
    await until(() => relay.room.kept === null);
    await composer().fill("A whole one");
    await until(() => relay.room.kept?.text === "A whole one");
    await composer().click();
    await userEvent.keyboard("{Enter}");
    await until(() => relay.room.kept === null);
    expect(relay.room.asked.findLastIndex((asked) => asked.startsWith("send "))).toBeLessThan(
      relay.room.asked.findLastIndex((asked) => asked.startsWith("keepDraft")),
    );
  });

  test("leaving the page keeps what was typed at once; what was sent already does not come back", async () => {
    await open();
    await composer().fill("Said before the end");
    scene?.end();
    expect(relay.room.kept?.text).toBe("Said before the end");
    relay.room.items.push(text("anna", "Said before the end"));
    await open();
    await until(() => relay.room.kept === null);
    await expect.element(composer()).toHaveValue("");
  });

  test("a draft that cannot be kept is told once", async () => {
    const fails = { action: "keepDraft", error: new DoubleError("vault_full", "The disk is full.") };
    relay.room.fails = fails;
    await open();
    await composer().fill("One");
    await expect.element(page.getByText(/cannot be stored in this browser/)).toBeVisible();
    await button("Dismiss").click();
    relay.room.fails = fails;
    await composer().fill("One, two");
    await until(() => relay.room.fails === null);
    await settled(50);
    expect(page.getByText(/cannot be stored in this browser/).query()).toBeNull();
  });

  test("typing is told once, and taken back when it is sent", async () => {
    await open();
    await composer().click();
    await userEvent.keyboard("Hey");
    await userEvent.keyboard("{Enter}");
    expect(relay.room.asked.filter((asked) => asked.startsWith("typing"))).toEqual([
      "typing true",
      "typing false",
    ]);
  });

  test("the last own message is changed with the Up key; Escape leaves it as it was", async () => {
    relay.room.items.push(text("anna", "Teh plan"));
    await open();
    await composer().click();
    await userEvent.keyboard("{ArrowUp}");
    await expect.element(composer()).toHaveValue("Teh plan");
    await userEvent.keyboard("{Escape}");
    await expect.element(composer()).toHaveValue("");
    await userEvent.keyboard("{ArrowUp}");
    await composer().fill("The plan");
    await userEvent.keyboard("{Enter}");
    expect(relay.room.asked.at(-1)).toContain("The plan");
    await expect.element(page.getByRole("article")).toHaveTextContent(/The plan.*edited/);
  });

  test("files by paste, drop and picker wait in a list, and go with Send", async () => {
    const root = await open();
    const pasted = new DataTransfer();
    pasted.items.add(new File([await picture(60, 40)], "pasted.png", { type: "image/png" }));
    root
      .querySelector(".composer")
      ?.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: pasted, bubbles: true, cancelable: true }),
      );
    const dropped = new DataTransfer();
    dropped.items.add(new File(["plan"], "plan.txt", { type: "text/plain" }));
    root
      .querySelector(".app")
      ?.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
    root
      .querySelector(".app")
      ?.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
    await expect
      .element(page.getByRole("list", { name: "Files to send" }).getByRole("listitem").first())
      .toHaveTextContent("pasted.png");
    await until(() => root.querySelector(".staged img[src^='blob:']") !== null);
    await button("Do not send pasted.png").click();
    await button("Send").click();
    await until(() => relay.room.asked.some((asked) => asked.startsWith("sendFile plan.txt")));
    expect(relay.room.asked.some((asked) => asked.includes("pasted"))).toBe(false);
  });

  test("a file that says it is an image and is none is looked at once, and goes as any file", async () => {
    const root = await open();
    const looks = vi.spyOn(globalThis, "createImageBitmap");
    const data = new DataTransfer();
    data.items.add(new File(["not an image"], "broken.png", { type: "image/png" }));
    root
      .querySelector(".app")
      ?.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    await until(() => looks.mock.settledResults.some(({ type }) => type === "rejected"));
    await settled();
    expect(looks).toHaveBeenCalledOnce();
    expect(root.querySelector(".staged img")).toBeNull();
    await button("Send").click();
    await until(() => relay.room.asked.some((asked) => asked.startsWith("sendFile broken.png")));
    looks.mockRestore();
  });

  test("no file that is empty, and no message once the engagement has ended", async () => {
    const root = await open();
    const data = new DataTransfer();
    data.items.add(new File([], "nothing.txt"));
    root
      .querySelector(".app")
      ?.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    await expect.element(page.getByText(/nothing.txt is empty/)).toBeVisible();
    relay.room.change({ ended: true });
    await expect.element(page.getByText("This engagement has ended")).toBeVisible();
    expect(composer().query()).toBeNull();
  });
});

describe("the history, by keyboard", () => {
  test("one stop for Tab; arrows, Home and End move; Enter opens the menu, Escape brings the focus back", async () => {
    relay.room.items.push(text("ben", "First"), text("anna", "Second"), text("ben", "Third"));
    const root = await open();
    expect([...root.querySelectorAll('article[tabindex="0"]')].map((one) => one.textContent)).toHaveLength(1);
    root.querySelector<HTMLElement>('article[tabindex="0"]')?.focus();
    expect(active(root).textContent).toContain("Third");
    await userEvent.keyboard("{ArrowUp}");
    expect(active(root).textContent).toContain("Second");
    await userEvent.keyboard("{Home}");
    expect(active(root).textContent).toContain("First");
    await userEvent.keyboard("{End}{ArrowUp}{Enter}");
    await expect.element(page.getByRole("menu")).toBeVisible();
    await settled();
    expect(active(root).getAttribute("role")).toBe("menuitemcheckbox");
    await userEvent.keyboard("{Escape}");
    await settled();
    expect(root.querySelector(".menu:popover-open")).toBeNull();
    expect(active(root).closest("article")?.textContent).toContain("Second");
  });

  test("react, reply and take back from the menu", async () => {
    relay.room.items.push(text("anna", "Mine"));
    const root = await open();
    root.querySelector<HTMLElement>("article")?.focus();
    await userEvent.keyboard("{Enter}");
    await settled();
    await userEvent.keyboard("{Enter}");
    await expect
      .element(
        page
          .getByRole("button", { name: "👍, from You. Take yours back" })
          .or(page.getByRole("button", { name: /👍 from You/ })),
      )
      .toBeVisible();
    root.querySelector<HTMLElement>("article")?.focus();
    await userEvent.keyboard("{Enter}");
    await page.getByRole("menuitem", { name: "Reply" }).click();
    await settled();
    expect(active(root).localName).toBe("textarea");
    await userEvent.keyboard("Indeed{Enter}");
    expect(relay.room.asked.at(-1)).toMatch(/^(send Indeed 0|typing)/);
    await expect.element(page.getByRole("button", { name: /In reply to You: Mine/ })).toBeVisible();
    root.querySelector<HTMLElement>("article")?.focus();
    await userEvent.keyboard("{Enter}");
    await page.getByRole("menuitem", { name: "Take back" }).click();
    await expect.element(page.getByRole("dialog", { name: "Take this message back?" })).toBeVisible();
    await settled();
    // What cannot be undone is not under the first key that is pressed.
    expect(active(root).textContent?.trim()).toBe("Cancel");
    await page.getByRole("dialog").getByRole("button", { name: "Take back" }).click();
    await expect.element(page.getByText("You took this message back.").first()).toBeVisible();
  });

  test("nobody else's message can be changed or taken back", async () => {
    relay.room.items.push(text("ben", "Theirs"));
    const root = await open();
    root.querySelector<HTMLElement>("article")?.focus();
    await userEvent.keyboard("{Enter}");
    await expect.element(page.getByRole("menuitem", { name: "Reply" })).toBeVisible();
    expect(page.getByRole("menuitem", { name: "Edit" }).query()).toBeNull();
    expect(page.getByRole("menuitem", { name: "Take back" }).query()).toBeNull();
  });

  test("states are said in words; what comes is announced politely", async () => {
    relay.room.items.push(text("anna", "One", { state: "waiting", seq: 0 }));
    const root = await open();
    await expect.element(page.getByRole("article")).toHaveTextContent("Waiting to be sent");
    for (const [state, said] of [
      ["sent", "Sent"],
      ["delivered", "Delivered"],
      ["read", "Read"],
    ] as const) {
      relay.room.put({ ...(relay.room.items[0] as ReturnType<typeof text>), seq: 7, state });
      await expect.element(page.getByRole("article")).toHaveTextContent(said);
    }
    relay.room.put(text("ben", "Good morning"));
    await until(() =>
      root.querySelector('.app > .sr[role="status"]')?.textContent?.includes("Ben Sommer: Good morning"),
    );
    relay.room.events.emit("typing", { user: "ben", on: true });
    await expect.element(page.getByText("Ben Sommer is typing…").last()).toBeVisible();
  });

  test("what comes is announced as it stands there, with the name that came with it", async () => {
    relay.room.persons = [ANNA, { ...BEN, name: "" }];
    const root = await open();
    const announces = (said: string) =>
      until(() => root.querySelector('.app > .sr[role="status"]')?.textContent?.trim() === said);
    relay.room.persons = [ANNA, BEN];
    relay.room.put(text("ben", "My first words"));
    await announces("Ben Sommer: My first words");
    const call = { call: "1", outcome: "answered", seconds: 244, missed: false } as const;
    relay.room.put({ ...base("ben"), kind: "call.ended", ...call });
    await announces("Call, 4:04");
    relay.room.put({ ...base("ben"), kind: "profile", name: "Benjamin" });
    await announces("Benjamin is the name of this person now.");
  });

  test("who types is said aloud once until they have said something", async () => {
    relay.room.items.push(text("ben", "Hello"));
    const root = await open();
    const types = async (on: boolean): Promise<string> => {
      relay.room.events.emit("typing", { user: "ben", on });
      await settled();
      const seen = root.querySelector(".typing")?.textContent?.includes("Ben Sommer is typing…");
      expect(seen).toBe(on);
      return root.querySelector('cr-history > [role="status"]')?.textContent ?? "";
    };
    expect(await types(true)).toBe("Ben Sommer is typing…");
    expect(await types(true)).toBe("Ben Sommer is typing…"); // the same: nothing is said
    expect(await types(false)).toBe("");
    expect(await types(true)).toBe("");
    relay.room.put(text("ben", "Good morning"));
    expect(await types(true)).toBe("Ben Sommer is typing…");
  });

  test("only http and https become links, in a new window, without telling where from", async () => {
    relay.room.items.push(
      text(
        "ben",
        "https://example.org/a_(b). javascript:alert(1) https://x:y@example.org http://example.net, data:text/html,x",
      ),
    );
    const root = await open();
    const links = [...root.querySelectorAll("a")];
    expect(links.map((link) => link.href)).toEqual(["https://example.org/a_(b)", "http://example.net/"]);
    for (const link of links) expect([link.rel, link.target]).toEqual(["noopener noreferrer", "_blank"]);
  });
});

/** After a frame: before it, what has just been drawn has not been put in its place yet. */
const painted = async (): Promise<void> => {
  for (let frame = 0; frame < 3; frame++) await new Promise((done) => requestAnimationFrame(done));
  await settled(0);
};

describe("ten thousand messages", () => {
  const fill = (): void => {
    for (let n = 1; n <= 10_000; n++)
      relay.room.items.push(text(n % 3 === 0 ? "anna" : "ben", `Message ${n}, ${"words ".repeat(n % 40)}`));
  };

  test("few are drawn; older ones come above, and what is read stays in its place", {
    timeout: 60_000,
  }, async () => {
    fill();
    const root = await open();
    const scroller = root.querySelector(".scroller") as HTMLElement;
    expect(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight).toBeLessThan(2);
    for (let step = 0; step < 6; step++) {
      scroller.scrollTop = 300;
      await painted();
      const middle = scroller.getBoundingClientRect().top + 300;
      const seen = [...root.querySelectorAll("article")].find(
        (one) => one.getBoundingClientRect().bottom > middle,
      );
      const top = seen?.getBoundingClientRect().top ?? 0;
      await settled(150);
      await painted();
      expect(Math.abs((seen?.getBoundingClientRect().top ?? 1e6) - top)).toBeLessThan(2);
    }
    expect(root.querySelectorAll("cr-page").length).toBeGreaterThan(4);
    expect(root.querySelectorAll("article").length).toBeLessThan(400);
  });

  test("with all of it loaded, a new message draws no other pages anew, and scrolling draws what is near", {
    timeout: 120_000,
  }, async () => {
    fill();
    const root = await open();
    const history = ((scene as Scene).root as HTMLElementTagNameMap["coach-relay-room"]).room?.history;
    while (history && !history.complete) await history.older();
    await settled(200);
    expect(root.querySelectorAll("article").length).toBeLessThan(600);
    const scroller = root.querySelector(".scroller") as HTMLElement;
    for (let step = 0; step < 60; step++) {
      scroller.scrollTop -= 700;
      await painted();
      expect(root.querySelectorAll("article").length).toBeLessThan(600);
    }
    scroller.scrollTop = scroller.scrollHeight;
    await until(() => root.textContent?.includes("Message 10000,"));
    await settled(200);
    const drawn = new Set<Element>();
    const watching = new MutationObserver((changes) => {
      for (const { target } of changes) {
        const page = (target instanceof Element ? target : target.parentElement)?.closest("cr-page");
        if (page) drawn.add(page);
      }
    });
    watching.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
    relay.room.put(text("anna", "Right now"));
    await until(() => root.textContent?.includes("Right now"));
    await painted();
    watching.disconnect();
    expect(drawn.size).toBeLessThanOrEqual(2); // where it stands, and where the newest stood, which Tab led to
  });

  test("a quote leads to a message that was not loaded", { timeout: 60_000 }, async () => {
    fill();
    relay.room.items.push(text("ben", "Do you remember?", { replyTo: relay.room.items[9000]?.id ?? "" }));
    const root = await open();
    await page.getByRole("button", { name: /In reply to .*Message 9001/ }).click();
    await until(() => active(root)?.textContent?.includes("Message 9001,"));
  });

  test("unread messages: a line where they begin, a button to the end, told as read at the end alone", async () => {
    for (let n = 1; n <= 60; n++) relay.room.items.push(text("ben", `Message ${n} ${"words ".repeat(20)}`));
    relay.room.now = { ...relay.room.now, readTo: relay.room.items[19]?.seq ?? 0 };
    await open();
    await expect.element(page.getByText("New messages", { exact: true })).toBeInViewport();
    expect(relay.room.asked.some((asked) => asked.startsWith("markRead"))).toBe(false);
    relay.room.put(text("ben", "One more"));
    await page.getByRole("button", { name: "1 new message" }).click();
    await expect.element(page.getByText("One more", { exact: true })).toBeInViewport();
    await until(() => relay.room.asked.some((asked) => asked.startsWith("markRead")));
  });
});

describe("files", () => {
  test("pause, resume and cancel by name; a refusal is said", async () => {
    const sent = file("anna", "Slides.key", "application/octet-stream", 1000, { seq: 0, state: "waiting" });
    relay.room.items.push(sent);
    relay.room.moving = [
      {
        id: sent.id,
        engagement: "",
        direction: "up",
        name: "Slides.key",
        size: 1000,
        done: 250,
        state: "moving",
        failure: null,
      },
    ];
    await open();
    await expect
      .element(page.getByRole("progressbar", { name: "Slides.key on its way" }))
      .toHaveAttribute("value", "25");
    await button("Pause Slides.key").click();
    await button("Resume Slides.key").click();
    relay.room.fails = {
      action: "cancel",
      error: new DoubleError("sent", "It has been sent already. Take the message back instead."),
    };
    await button("Cancel Slides.key").click();
    await expect.element(page.getByText("It has been sent already.", { exact: false })).toBeVisible();
    await button("Cancel Slides.key").click();
    expect(relay.room.asked.slice(-2).every((asked) => asked.startsWith("cancel"))).toBe(true);
    await until(() => page.getByRole("progressbar").query() === null);
  });

  test("a file whose turn comes in a moment does not say that it waits; one without a connection does", async () => {
    const up: Transfer = {
      id: "a".repeat(32),
      engagement: relay.room.id,
      direction: "up",
      name: "plan.pdf",
      size: 450_000,
      done: 0,
      state: "waiting",
      failure: null,
    };
    relay.room.moving = [up];
    await open();
    await expect.element(page.getByText("0 B of 450 kB, 0 %", { exact: true })).toBeVisible();
    expect(page.getByText(/Waits for the connection/).query()).toBeNull();
    relay.setOnline(false);
    await expect.element(page.getByText("Waits for the connection 0 B of 450 kB, 0 %")).toBeVisible();
  });

  test("an image is drawn anew here and shown in full; its addresses are revoked", async () => {
    const revoked = vi.spyOn(URL, "revokeObjectURL");
    const photo = file("ben", "lake.png", "image/png", 1000);
    relay.room.files.set(photo.id, await picture(300, 200));
    relay.room.items.push(photo);
    const root = await open();
    await until(() => root.querySelector("cr-file img") !== null);
    await button("Show the image lake.png in full").click();
    await expect.element(page.getByRole("dialog", { name: "lake.png" }).getByRole("img")).toBeVisible();
    const urls = [...root.querySelectorAll("img")].map((image) => image.src);
    await userEvent.keyboard("{Escape}");
    scene?.end();
    for (const url of urls) expect(revoked).toHaveBeenCalledWith(url);
    revoked.mockRestore();
  });

  test.each([
    { drawn: [600, 400], shown: [480, 320] },
    { drawn: [300, 900], shown: [107, 320] },
    { drawn: [60, 40], shown: [60, 40] },
  ])("an image of $drawn has its place before it is loaded: $shown", async ({ drawn, shown }) => {
    const photo = file("ben", "lake.png", "image/png", 1000);
    relay.room.files.set(photo.id, await picture(...(drawn as [number, number])));
    const root = await open();
    const place = (image: Element): number[] => {
      const { width, height } = image.getBoundingClientRect();
      return [width, height];
    };
    const before = new Promise<number[]>((resolve) => {
      const look = (): void => {
        const image = root.querySelector<HTMLImageElement>("cr-file img");
        if (image !== null && !image.complete) resolve(place(image));
      };
      new MutationObserver(look).observe(root, { childList: true, subtree: true });
    });
    relay.room.put(photo);
    const first = await before;
    const image = root.querySelector("cr-file img") as HTMLImageElement;
    await image.decode();
    for (const [at, side] of shown.entries()) {
      expect(Math.abs((first[at] as number) - side)).toBeLessThanOrEqual(2);
      expect(Math.abs((place(image)[at] as number) - side)).toBeLessThanOrEqual(2);
    }
  });

  test("what says it is an image and is none is never shown; an SVG is a file like any other", async () => {
    const fake = file("ben", "fake.png", "image/png", 1000);
    relay.room.files.set(fake.id, new Blob(["<svg onload=alert(1)>"]));
    relay.room.items.push(fake, file("ben", "logo.svg", "image/svg+xml", 1000));
    const root = await open();
    await expect.element(page.getByText("This image could not be shown.", { exact: false })).toBeVisible();
    expect(root.querySelector("img")).toBeNull();
    await expect.element(button("Save logo.svg on this device")).toBeVisible();
  });
});

describe("check-ins", () => {
  test("answered by keyboard; the answers show their course", async () => {
    for (const value of [3, 5]) {
      const asked = {
        ...base("ben"),
        kind: "checkin" as const,
        prompt: "Energy?",
        questions: [scale("1", "Energy?")],
      };
      relay.room.items.push(asked, {
        ...base("anna"),
        kind: "checkin.answer",
        checkIn: asked.id,
        answers: { "1": value },
      });
    }
    relay.room.items.push({
      ...base("ben"),
      kind: "checkin",
      prompt: "Energy?",
      questions: [scale("1", "Energy?")],
    });
    await open();
    await button("Send answers").click();
    await expect.element(page.getByText("Answer at least one question first.")).toBeVisible();
    page.getByRole("radio", { name: "6", exact: true }).element().dispatchEvent(new FocusEvent("focus"));
    (page.getByRole("radio", { name: "6", exact: true }).element() as HTMLElement).focus();
    await userEvent.keyboard(" {ArrowRight}");
    await button("Send answers").click();
    await until(() => relay.room.asked.some((asked) => asked.endsWith('{"1":7}')));
    await expect.element(page.getByRole("img", { name: "Course of 3 answers: from 3 to 7" })).toBeVisible();
    await page.getByRole("button", { name: "Check-ins over time" }).click();
    await expect
      .element(
        page.getByRole("img", { name: /3 answers, from 3 at first to 7 at last, on a scale of 1 to 10/ }),
      )
      .toBeVisible();
    await page.getByText("As a table").click();
    expect(page.getByRole("row").elements()).toHaveLength(4);
  });

  test("made with questions of all kinds; what is missing is said", async () => {
    await open();
    await button("New check-in").click();
    await button("Send check-in").click();
    await expect.element(page.getByText("Say what the check-in is about.")).toBeVisible();
    await page.getByRole("textbox", { name: "What is it about?" }).fill("Before we meet");
    await page.getByRole("combobox").selectOptions("choice");
    await page.getByRole("textbox", { name: "Choices, one on each line" }).fill("Here\nHere");
    await button("Send check-in").click();
    await expect.element(page.getByText("Question 1 needs 2 to 20 different choices.")).toBeVisible();
    await page.getByRole("textbox", { name: "Choices, one on each line" }).fill("Here\nThere");
    await button("Send check-in").click();
    await until(() =>
      relay.room.asked.some(
        (asked) => asked.startsWith("checkIn Before we meet") && asked.includes('["Here","There"]'),
      ),
    );
    await expect.element(page.getByText("Waits for an answer from Ben Sommer")).toBeVisible();
  });
});

describe("who can read this", () => {
  test("Escape closes it and the focus goes back; verifying takes the number that was compared", async () => {
    const root = await open();
    await button("Who can read this. Somebody is not verified yet.").click();
    await settled();
    expect(active(root).textContent).toBe("Who can read this");
    await userEvent.keyboard("{Escape}");
    await settled();
    expect(active(root).id).toBe("people-button");
    await userEvent.keyboard("{Enter}");
    await button("Verify: Ben Sommer").click();
    await expect
      .element(page.getByText("4 8 2 9 1 0 5 7 3 6 2 9 1 8 4 7 5 0 3 9 2 0 1 8 4 7 5 6 3 9"))
      .toBeInTheDocument();
    await button("They are the same").click();
    expect(relay.room.asked).toContain("verify ben 482910573629184750392018475639");
    await expect.element(page.getByText("Ben Sommer is verified.")).toBeVisible();
    await button("Done").click();
    await expect.element(page.getByText("Verified: you have compared numbers or words.")).toBeVisible();
  });

  describe("scanning", () => {
    const give = vi.spyOn(navigator.mediaDevices, "getUserMedia");
    beforeEach(() => {
      class Detector {
        static getSupportedFormats = async () => ["qr_code"];
        detect = async () => [{ rawValue: "coach-relay:safety:scanned" }];
      }
      Object.assign(globalThis, { BarcodeDetector: Detector });
    });
    afterEach(() => {
      Reflect.deleteProperty(globalThis, "BarcodeDetector");
      give.mockReset();
    });

    const openScanner = async (): Promise<void> => {
      await open();
      await button(/Who can read this/).click();
      await button("Verify: Ben Sommer").click();
      await page.getByRole("tab", { name: "Scan their code" }).click();
    };

    test("a code that was scanned verifies, and the camera is let go", async () => {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d")?.fillRect(0, 0, 9, 9);
      const stream = canvas.captureStream(10);
      give.mockResolvedValue(stream);
      await openScanner();
      const timer = setInterval(() => canvas.getContext("2d")?.fillRect(0, 0, 9, 9), 20);
      await until(() => relay.room.asked.includes("verifyScanned ben coach-relay:safety:scanned"));
      clearInterval(timer);
      await expect.element(page.getByText("Ben Sommer is verified.")).toBeVisible();
      expect(stream.getTracks().every((track) => track.readyState === "ended")).toBe(true);
    });

    test("a camera that is refused is explained", async () => {
      give.mockRejectedValue(new DOMException("", "NotAllowedError"));
      await openScanner();
      await expect.element(page.getByRole("alert").filter({ hasText: "camera" })).toBeVisible();
    });

    test("a browser that cannot scan says what to do instead", async () => {
      Reflect.deleteProperty(globalThis, "BarcodeDetector");
      await openScanner();
      await expect.element(page.getByText(/This browser cannot read codes/)).toBeVisible();
      expect(give).not.toHaveBeenCalled();
    });
  });

  test("numbers that differ verify nobody", async () => {
    await open();
    await button(/Who can read this/).click();
    await button("Verify: Ben Sommer").click();
    await button("They are not the same").click();
    await expect.element(page.getByRole("alert").filter({ hasText: "Do not go on." })).toBeVisible();
    expect(relay.room.asked.some((asked) => asked.startsWith("verify"))).toBe(false);
  });

  test("a changed identity: nothing happens by itself; compare, let in after a question, or not now", async () => {
    relay.room.persons = relay.room.persons.map((one) =>
      one.user === "ben" ? { ...one, trust: "changed" } : one,
    );
    relay.room.now = {
      ...relay.room.now,
      alarm: { code: "identity_changed", message: "Changed.", user: "ben" },
    };
    await open();
    await button("Not now").click();
    await expect.element(page.getByText(/waits for your decision/)).toBeVisible();
    await button("Decide now").click();
    await button("Let in without comparing").click();
    await page.getByRole("dialog").getByRole("button", { name: "Not now" }).click();
    expect(relay.room.asked.some((asked) => asked.startsWith("accept"))).toBe(false);
    await button("Let in without comparing").click();
    await page.getByRole("dialog").getByRole("button", { name: "Let in" }).click();
    await until(() => relay.room.asked.includes("acceptIdentity ben"));
  });

  test("an alarm is told at once, and is passed only after a question", async () => {
    await open();
    relay.room.change({
      alarm: { code: "stream_forked", message: "Two devices were shown different messages." },
    });
    await expect
      .element(page.getByRole("alert").filter({ hasText: "Two devices were shown different messages." }))
      .toBeVisible();
    await button("I have looked, go on").click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    expect(relay.room.asked).not.toContain("goOn");
    await button("I have looked, go on").click();
    await page.getByRole("dialog").getByRole("button", { name: "I have looked, go on" }).click();
    await until(() => relay.room.asked.includes("goOn"));
    await until(() => page.getByText("Sending has stopped").query() === null);
  });

  test("what has to be decided now comes before the recovery kit, which is offered when it is done", async () => {
    localStorage.clear(); // that the kit was put off
    relay.due = true;
    relay.room.persons.push(person("cleo", "Cleo Marchetti", { member: false, waitsForAdmission: true }));
    await open();
    await expect.element(button("Decide")).toBeVisible();
    expect(page.getByRole("dialog").query()).toBeNull();
    expect(page.getByText(/recovery kit/).query()).toBeNull();
    await button("Decide").click();
    await button("Let in").click();
    await expect.element(button("Make one")).toBeVisible();
  });

  test("a further person is let in by a person alone", async () => {
    relay.room.persons.push(
      person("cleo", "Cleo", { role: "supervisor", member: false, waitsForAdmission: true }),
    );
    const happened: unknown[] = [];
    const { mount } = await import("../../src/element/index.ts");
    const host = document.body.appendChild(document.createElement("div"));
    const mounted = mount(host, relay, {
      engagement: relay.room.id,
      happened: (what) => happened.push(what),
    });
    await button("Decide").click();
    await page.getByRole("dialog").getByRole("button", { name: "Let in" }).click();
    await until(() => relay.room.asked.includes("admit cleo"));
    expect(happened).toEqual([{ type: "knock", user: "cleo" }]);
    mounted.destroy();
    host.remove();
  });

  test("a device is added by its words and its name, refused by closing, and removed after a question", async () => {
    await open();
    await button(/Who can read this/).click();
    await button("Add a device").click();
    const words = page.getByRole("textbox", { name: "The twelve words that the new device shows" });
    await words.fill("a b c");
    await expect.element(button("Find the device")).toBeDisabled();
    await words.fill("A b c d e f g h i j k l");
    await button("Find the device").click();
    await expect
      .element(page.getByRole("dialog", { name: "Is “Tablet in the kitchen” your device?" }))
      .toBeVisible();
    await userEvent.keyboard("{Escape}");
    await until(() => relay.asked.includes("refuseNewcomer n1"));
    await button("Add a device").click();
    await words.fill("a b c d e f g h i j k l");
    await button("Find the device").click();
    await button("Yes, add Tablet in the kitchen").click();
    await expect.element(page.getByText("Tablet in the kitchen is one of your devices now.")).toBeVisible();
    expect(relay.asked).toContain("findNewcomer a b c d e f g h i j k l");
    await button("Done").click();
    await button("Remove Tablet in the kitchen").click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await until(() => relay.asked.includes("removeDevice n1"));
  });

  test("the recovery kit at first use: wrong words are refused, right ones erase it", async () => {
    relay.due = true;
    const root = await open();
    await button("Show the words").click();
    await button("I have the page").click();
    await page.getByRole("textbox", { name: "Word 3" }).fill("wrong");
    await page.getByRole("textbox", { name: "Word 9" }).fill("copper");
    await button("Check").click();
    await expect.element(page.getByRole("alert").filter({ hasText: "That is not the word" })).toBeVisible();
    await page.getByRole("textbox", { name: "Word 3" }).fill(" Ocean");
    await button("Check").click();
    await expect.element(page.getByText("Your recovery kit is made")).toBeVisible();
    expect(relay.asked).toEqual(['kitMade {"3":"ocean","9":"copper"}']);
    expect(root.textContent).not.toContain("meadow");
  });
});

describe("coming back with the words", () => {
  test("who is sure goes on, when the relay shows none of their devices; nobody is asked before", async () => {
    scene = await show("recovering");
    const words = "a b c d e f g h i j k l".split(" ");
    const type = async () => {
      await page.getByRole("textbox").fill(words.join(" "));
      await button("Bring me back").click();
    };
    await expect.element(page.getByRole("textbox")).toBeVisible();
    expect(page.getByRole("checkbox").query()).toBeNull();
    const welcome = scene.root as HTMLElementTagNameMap["coach-relay-welcome"];
    const failure = { code: "recovery_refused", message: "The relay knows no earlier device of yours." };
    const decided = welcome.firstUse({ elsewhere: false, failure });
    await expect.element(page.getByRole("alert").filter({ hasText: "no earlier device" })).toBeVisible();
    await button(/I have my recovery kit/).click();
    await page.getByRole("checkbox", { name: "I am sure of these words" }).click();
    await type();
    expect(await decided).toMatchObject({ kind: "recover", words, unchecked: true });
  });
});

describe("calls", () => {
  test("a ring takes the focus, is declined, and stops when it is over", async () => {
    const root = await open();
    await composer().click();
    const { stop } = relay.room.ring(["audio"]);
    await expect.element(page.getByRole("alertdialog", { name: "Ben Sommer is calling" })).toBeVisible();
    await settled();
    expect(active(root).textContent).toContain("Answer");
    expect(button("Answer with picture").query()).toBeNull();
    stop("Ben does not call any more. You missed the call.");
    await expect.element(page.getByText("You missed the call.", { exact: false })).toBeVisible();
    await settled();
    expect(active(root).localName).toBe("textarea");
    relay.room.ring();
    await button("Decline").click();
    expect(relay.room.asked).toContain("decline");
  });

  test("answer, mute, camera, device, and two clicks to verify by the five words", async () => {
    const root = await open();
    relay.room.ring();
    await button("Answer with picture").click();
    const { theCall } = relay.room;
    theCall.connect();
    await button("Mute").click();
    expect(theCall.microphone).toBe(false);
    await button("Camera off").click();
    expect(theCall.camera).toBe(false);
    await button("Devices").click();
    await page.getByRole("combobox", { name: "Microphone" }).selectOptions("m2");
    expect(theCall.asked).toEqual(["choose audioinput m2"]);
    theCall.change({ quality: "poor" });
    await expect.element(page.getByRole("status").filter({ hasText: "turn the picture off" })).toBeVisible();
    await button("Five words").click();
    await settled();
    expect(active(root).id).toBe("call-card-title");
    await userEvent.keyboard("{Escape}");
    await settled();
    expect(active(root).textContent?.trim()).toBe("Five words");
    await button("Five words").click();
    await button("We have the same words").click();
    await expect.element(page.getByText("Ben Sommer is verified.")).toBeVisible();
    expect(relay.room.persons.find((one) => one.user === "ben")?.trust).toBe("verified");
  });

  test("words that differ verify nobody; why a call ended stays until it is closed; chat goes on beside it", async () => {
    await open();
    await button("Call with sound").click();
    const { theCall } = relay.room;
    theCall.connect();
    await composer().fill("I hear you badly");
    await userEvent.keyboard("{Enter}");
    await expect.element(page.getByText("I hear you badly")).toBeVisible();
    await button("Five words").click();
    await button("The words differ").click();
    await expect.element(page.getByText(/Somebody may be listening/)).toBeVisible();
    expect(relay.room.persons.find((one) => one.user === "ben")?.trust).toBe("unverified");
    theCall.change({
      state: "ended",
      ended: { code: "call_lost", message: "The connection was lost and did not come back." },
    });
    await expect.element(page.getByText("The connection was lost", { exact: false })).toBeVisible();
    await button("Close").click();
    await expect.element(button("Call with sound")).toBeVisible();
  });

  test("a ring is answered in the dialog that is open, and the call takes its place", async () => {
    localStorage.clear();
    relay.due = true;
    await open();
    await expect.element(page.getByRole("dialog", { name: "Your recovery kit" })).toBeVisible();
    relay.room.ring();
    const ring = page.getByRole("alertdialog", { name: "Ben Sommer is calling" });
    await expect.element(ring).toBeVisible();
    await ring.getByRole("button", { name: "Answer", exact: true }).click();
    await expect.element(page.getByRole("region", { name: "Call with Ben Sommer" })).toBeVisible();
    expect(page.getByRole("dialog").query()).toBeNull();
    relay.room.theCall.connect();
    await button("End call").click();
    await button("Close").click();
    await expect.element(button("Make one")).toBeVisible();
  });

  test("trouble in a call is read and put away; the next one is shown again", async () => {
    const root = await open();
    await button("Call with picture").click();
    const { theCall } = relay.room;
    theCall.connect();
    const refused = () => ({
      trouble: { code: "call_camera_refused", message: "The camera is not allowed." },
    });
    theCall.change(refused());
    await button("Dismiss").click();
    expect(page.getByText("The camera is not allowed.").query()).toBeNull();
    await settled();
    expect(active(root).textContent?.trim()).toBe("Mute");
    theCall.change({ quality: "good" });
    await settled();
    expect(page.getByText("The camera is not allowed.").query()).toBeNull();
    theCall.change(refused());
    await expect
      .element(page.getByRole("alert").filter({ hasText: "The camera is not allowed." }))
      .toBeVisible();
  });

  test("a call that cannot begin says why; a missed one can be called back", async () => {
    relay.room.items.push({
      ...base("ben"),
      kind: "call.ended",
      call: "1",
      outcome: "missed",
      seconds: 0,
      missed: true,
    });
    await open();
    relay.room.fails = {
      action: "call",
      error: new DoubleError("microphone_blocked", 'The iframe that shows this needs allow="microphone".'),
    };
    await button("Call back").click();
    await expect
      .element(page.getByText('The iframe that shows this needs allow="microphone".'))
      .toBeVisible();
    await button("Dismiss").click();
    await button("Call back").click();
    await expect.element(page.getByRole("region", { name: "Call with Ben Sommer" })).toBeVisible();
  });

  test("leaving the page ends the call, and follows nothing any more", async () => {
    await open();
    await button("Call with sound").click();
    await settled();
    scene?.end();
    await settled();
    expect(relay.room.theCall.state).toBe("ended");
    expect(relay.room.events.listeners + relay.events.listeners).toBe(0);
  });
});

describe("states that explain themselves", () => {
  test("offline and back", async () => {
    await open();
    relay.setOnline(false);
    await expect.element(page.getByRole("status").filter({ hasText: "You are offline." })).toBeVisible();
    relay.setOnline(true);
    await until(() => page.getByText("You are offline.", { exact: false }).query() === null);
  });

  test("catching up is said only when it takes longer, and goes by itself", async () => {
    await open();
    relay.room.change({ caughtUp: false });
    await settled(200);
    expect(page.getByText(/Getting what was said/).query()).toBeNull();
    await expect.element(page.getByText(/Getting what was said/), { timeout: 4000 }).toBeVisible();
    relay.room.now = { ...relay.room.now, caughtUp: true };
    await until(() => page.getByText(/Getting what was said/).query() === null);
  });

  test("who has not said yet what they are called is called by what they are here", async () => {
    relay.room.persons = [
      relay.room.persons[0] as (typeof relay.room.persons)[0],
      person("ben", "", { member: false }),
    ];
    await open();
    await expect.element(page.getByRole("heading", { name: "Your client" })).toBeVisible();
    await expect.element(page.getByText(/Only you and your client can read/)).toBeVisible();
    await expect
      .element(page.getByText("Your client has not been here yet.", { exact: false }))
      .toBeVisible();
  });

  test("waiting to be let in, and a storage that is gone", async () => {
    relay.room.now = { ...relay.room.now, member: false };
    await open();
    await expect.element(page.getByText("You are not let in yet")).toBeVisible();
    expect(composer().query()).toBeNull();
    relay.events.emit("failed", { code: "vault_missing", message: "What this browser had stored is gone." });
    await expect
      .element(page.getByRole("alert").filter({ hasText: "What this browser had stored is gone." }))
      .toBeVisible();
    await expect.element(button("Begin again")).toBeVisible();
  });
});
