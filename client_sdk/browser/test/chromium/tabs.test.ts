import { expect, test } from "vitest";
import type { Failure, Happening } from "../../src/engine/messages.ts";
import type { Asked, Said, Tab } from "../../src/engine/tabs.ts";
import { Tabs } from "../../src/engine/tabs.ts";

/** One tab; those of a test share a name, as those of a browser share a person's device. */
class Page implements Tab {
  readonly tabs: Tabs;
  readonly said = new Map<string, (said: Said) => void>();
  readonly heard: string[] = [];
  readonly served: string[] = [];
  readonly hangs: Set<string>;
  readonly name: string;
  followed: () => void = () => undefined;
  /** As it leads: it waits for this. */
  begins: Promise<unknown> = Promise.resolve();
  may: () => void = () => undefined;

  constructor(device: string, name: string, hangs: readonly string[] = []) {
    this.name = name;
    this.hangs = new Set(hangs);
    this.tabs = new Tabs(device, this);
  }

  ask(method: string): Promise<Said> {
    const id = crypto.randomUUID();
    return new Promise((resolve) => {
      this.said.set(id, resolve);
      void this.tabs.ask({ id, method, args: [] });
    });
  }

  say(said: Said): void {
    this.said.get(said.id)?.(said);
  }
  tell(happening: Happening): void {
    this.heard.push(happening.event);
  }
  async serve({ id, method }: Asked): Promise<Said> {
    this.served.push(method);
    if (this.hangs.has(method)) await new Promise(() => undefined);
    return { kind: "answer", id, value: `${method} by ${this.name}` };
  }
  isSafe(method: string): boolean {
    return method !== "once";
  }
  async lead(): Promise<unknown> {
    await this.begins;
    return this.name;
  }
  follow(): void {
    this.followed();
  }
  failed(error: unknown): Failure {
    return { code: "failed", message: String(error) };
  }
}

const following = (page: Page): Promise<void> =>
  new Promise((resolve) => {
    page.followed = resolve;
  });

test("the second tab works through the first, and takes over when it is closed", async () => {
  const device = crypto.randomUUID();
  const [first, second] = [new Page(device, "first", ["history", "once"]), new Page(device, "second")];
  expect(await first.tabs.begin()).toBe("leads");
  const follows = following(second);
  expect(await second.tabs.begin()).toBe("follows");
  await follows;
  expect(await second.ask("people")).toMatchObject({ value: "people by first" });
  first.tabs.tell({ event: "changed", engagement: null, detail: null });
  const [again, open] = [second.ask("history"), second.ask("once")];
  await expect.poll(() => first.served.includes("once")).toBe(true);
  first.tabs.end();
  // What may be asked twice is asked again; of all else nobody knows whether it was done.
  expect(await again).toMatchObject({ kind: "answer", value: "history by second" });
  expect(await open).toMatchObject({ kind: "failure", failure: { code: "tab_closed" } });
  expect(second.tabs.leads).toBe(true);
  expect(second.heard).toEqual(["changed"]);
  second.tabs.end();
});

test("what nobody has begun is asked again, safe or not; what was begun once is not begun twice", async () => {
  const device = crypto.randomUUID();
  const pages = ["one", "two", "three"].map((name) => new Page(device, name, ["slow"]));
  const [one, two, three] = pages as [Page, Page, Page];
  two.begins = new Promise((resolve) => {
    two.may = () => resolve(null);
  });
  await one.tabs.begin();
  const both = [following(two), following(three)];
  await two.tabs.begin();
  await three.tabs.begin();
  await Promise.all(both);
  one.tabs.end();
  // Asked while nobody leads; the first does not end, and keeps nothing from being done.
  void two.ask("slow");
  const answers = [two.ask("once"), three.ask("once"), three.ask("people")];
  two.may();
  expect((await Promise.all(answers)).map((said) => said.kind === "answer" && said.value)).toEqual([
    "once by two",
    "once by two",
    "people by two",
  ]);
  expect(two.served.filter((method) => method === "once").length).toBe(2);
  expect(one.served).toEqual([]);
  for (const page of pages) page.tabs.end();
});

test("a tab that is to lead and cannot says so to whoever asks, and follows another one", async () => {
  const device = crypto.randomUUID();
  const [one, two, three] = ["one", "two", "three"].map((name) => new Page(device, name)) as [
    Page,
    Page,
    Page,
  ];
  two.begins = Promise.reject(new Error("the vault is gone"));
  two.begins.catch(() => undefined);
  await one.tabs.begin();
  const follows = following(two);
  await two.tabs.begin();
  await follows;
  one.tabs.end();
  const failed = { kind: "failure", failure: { code: "failed" } };
  expect(await two.ask("people")).toMatchObject(failed);
  expect(await two.ask("once")).toMatchObject(failed);
  const goesOn = following(two);
  await three.tabs.begin();
  await goesOn;
  expect(await two.ask("people")).toMatchObject({ value: "people by three" });
  for (const page of [two, three]) page.tabs.end();
});

test("of three tabs one leads, then another one, and the third goes on through it", async () => {
  const device = crypto.randomUUID();
  const pages = ["one", "two", "three"].map((name) => new Page(device, name));
  const [one, two, three] = pages as [Page, Page, Page];
  await one.tabs.begin();
  const both = [following(two), following(three)];
  await Promise.all([two.tabs.begin(), three.tabs.begin()]);
  await Promise.all(both);
  one.tabs.end();
  const answers = await Promise.all([two.ask("people"), three.ask("people")]);
  const leader = two.tabs.leads ? "two" : "three";
  expect(answers.map((said) => said.kind === "answer" && said.value)).toEqual([
    `people by ${leader}`,
    `people by ${leader}`,
  ]);
  for (const page of pages) page.tabs.end();
});
