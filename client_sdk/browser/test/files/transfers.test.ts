/** Files on their way, as a person deals with them: paused, resumed, cancelled, gone on with after a reload. */

import { beforeAll, beforeEach, expect, test, vi } from "vitest";
import type { Transfer } from "../../src/api.ts";
import { sealedSize as sealedSizeOf } from "../../src/attachments/sealing.ts";
import type { Spools } from "../../src/attachments/spool.ts";
import type { Bytes } from "../../src/bytes.ts";
import { hex } from "../../src/bytes.ts";
import type { File as Named } from "../../src/content/messages.ts";
import { ready } from "../../src/crypto.ts";
import { RelayUnreachable } from "../../src/errors.ts";
import type { FilesHost } from "../../src/files/host.ts";
import { Downloads } from "../../src/files/incoming.ts";
import { Uploads } from "../../src/files/outgoing.ts";
import { parseUpload, serializeUpload } from "../../src/files/records.ts";
import type { BlobId } from "../../src/wire/ids.ts";
import { BASE, BLOB, environment, MemorySpool } from "../attachments/relay.ts";
import { eventually } from "../until.ts";

beforeAll(ready);

const ENGAGEMENT = "eng_AAAAAAAAAAAAAAAAAAAAAA";

/** Spools that outlive a page. */
class MemorySpools implements Spools {
  readonly all = new Map<string, MemorySpool>();

  async open(name: string): Promise<MemorySpool> {
    const found = this.all.get(name) ?? new MemorySpool();
    this.all.set(name, found);
    return found;
  }

  async blob(name: string): Promise<Blob> {
    return new Blob([(this.all.get(name)?.bytes ?? new Uint8Array()) as Uint8Array<ArrayBuffer>]);
  }

  async remove(name: string): Promise<void> {
    this.all.delete(name);
  }

  async names(): Promise<readonly string[]> {
    return [...this.all.keys()];
  }
}

/** A browser with its vault and spools; `page` begins anew what a reload ends. */
class Browser {
  readonly records = new Map<string, Bytes>();
  readonly spools = new MemorySpools();
  readonly said: Named[] = [];
  readonly told: Transfer[] = [];
  readonly faults: unknown[] = [];
  away = false;
  came: () => void = () => undefined;
  named: Named | null = null;

  readonly host: FilesHost = {
    vault: {
      get: async (name) => this.records.get(name) ?? null,
      scan: async (start) => new Map([...this.records].filter(([name]) => name.startsWith(start))),
      write: async (writes) => {
        for (const { name, value } of writes)
          value === null ? this.records.delete(name) : this.records.set(name, value);
      },
    },
    environment: { ...environment(), rng: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    spools: this.spools,
    access: async () => {
      if (this.away) throw new RelayUnreachable("There is no connection to the relay.");
      return { base: BASE, token: "first" };
    },
    say: async (_engagement, file, _as, writes) => {
      this.said.push(file);
      await this.host.vault.write(writes);
    },
    said: async () => false,
    fileIn: async () => {
      if (this.named === null) throw new Error("no file");
      return this.named;
    },
    connectionOr: (_ms, signal) =>
      new Promise((resolve) => {
        this.came = resolve;
        signal.addEventListener("abort", () => resolve());
      }),
    tell: (transfer) => void this.told.push(transfer),
  };

  page(): { uploads: Uploads; downloads: Downloads } {
    const uploads = new Uploads(this.host, (error) => void this.faults.push(error));
    return { uploads, downloads: new Downloads(this.host) };
  }

  get states(): readonly string[] {
    return this.told.map(({ state }) => state).filter((state, at, all) => state !== all[at - 1]);
  }
}

/** What the relay has; the library's requests and ours end here. */
let sealed: Bytes;
let erased: string[];

beforeEach(() => {
  [sealed, erased] = [new Uint8Array(), []];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit = {}) => {
    if (init.method === "DELETE") {
      erased.push(String(url));
      return new Response(null, { status: 204 });
    }
    const from = Number(/bytes=(\d+)-/.exec(new Headers(init.headers).get("Range") ?? "")?.[1]);
    const range = `bytes ${from}-${sealed.length - 1}/${sealed.length}`;
    const headers = { "Content-Range": range };
    return new Response(sealed.slice(from) as Uint8Array<ArrayBuffer>, { status: 206, headers });
  });
});

const plan = (size = 100_000) =>
  new File([new Uint8Array(size).map((_, at) => at % 250)], "../plan.txt", { type: "text/plain" });

const named = () => crypto.getRandomValues(new Uint8Array(16));

test("a file that is sent a second time under its name, perhaps by another page, is sent once", async () => {
  const browser = new Browser();
  browser.away = true;
  const id = named();
  expect(await browser.page().uploads.send(ENGAGEMENT, id, plan())).toBe(hex(id));
  const again = browser.page().uploads;
  expect(await again.send(ENGAGEMENT, id, plan())).toBe(hex(id));
  await again.begin();
  expect(again.transfers(ENGAGEMENT).length).toBe(1);
  expect(browser.spools.all.size).toBe(1);
});

test("what is being sealed is not taken for what an earlier page left, and is sent", async () => {
  const browser = new Browser();
  browser.away = true;
  const { uploads } = browser.page();
  const sending = uploads.send(ENGAGEMENT, named(), plan(1_000_000));
  await eventually(() => expect(browser.spools.all.size).toBe(1));
  await uploads.begin();
  expect(browser.spools.all.size).toBe(1);
  await sending;
  expect(browser.spools.all.size).toBe(1);
});

test("while the relay is away a file waits, says why, and goes on waiting after a reload", async () => {
  const browser = new Browser();
  browser.away = true;
  const { uploads } = browser.page();
  const id = await uploads.send(ENGAGEMENT, named(), plan());
  await eventually(() => expect(uploads.transfers(ENGAGEMENT)[0]?.failure?.code).toBe("relay_unreachable"));
  expect(uploads.transfers(ENGAGEMENT)[0]).toMatchObject({ id, name: "plan.txt", state: "waiting" });
  const again = browser.page().uploads;
  await again.begin();
  expect(again.transfers(ENGAGEMENT)[0]).toMatchObject({ id, size: 100_000, direction: "up" });
  expect(browser.said).toEqual([]);
});

test("what was being sealed when the page ended is deleted", async () => {
  const browser = new Browser();
  await browser.spools.open("out-1234");
  await browser.spools.open("in-1234");
  await browser.page().uploads.begin();
  expect([...browser.spools.all.keys()]).toEqual(["in-1234"]);
});

test("cancelled: no record, no sealed copy, no message, and the relay is told", async () => {
  const browser = new Browser();
  browser.away = true;
  const { uploads } = browser.page();
  const id = await uploads.send(ENGAGEMENT, named(), plan());
  const [name] = [...browser.records.keys()];
  const record = parseUpload(browser.records.get(name ?? "") ?? new Uint8Array());
  browser.records.set(name ?? "", serializeUpload({ ...record, blob: BLOB as BlobId }));
  const again = browser.page().uploads;
  await again.begin();
  browser.away = false;
  await again.cancel(id);
  expect(browser.records.size).toBe(0);
  expect(browser.spools.all.size).toBe(0);
  expect(again.transfers(ENGAGEMENT)).toEqual([]);
  expect(erased).toEqual([`${BASE}/v1/blobs/${BLOB}`]);
  expect(browser.said).toEqual([]);
  expect(browser.states).toContain("cancelled");
});

test("paused stays paused over a reload", async () => {
  const browser = new Browser();
  browser.away = true;
  const { uploads } = browser.page();
  const id = await uploads.send(ENGAGEMENT, named(), plan());
  await uploads.pause(id);
  expect(uploads.transfers(ENGAGEMENT)[0]?.state).toBe("paused");
  const again = browser.page().uploads;
  await again.begin();
  expect(again.transfers(ENGAGEMENT)[0]?.state).toBe("paused");
  await again.resume(id);
  await eventually(() => expect(again.transfers(ENGAGEMENT)[0]?.state).toBe("waiting"));
});

test("a sealed copy that is gone is told, stays told over a reload, and can be removed", async () => {
  const browser = new Browser();
  browser.away = true;
  const id = await browser.page().uploads.send(ENGAGEMENT, named(), plan());
  browser.spools.all.clear();
  const again = browser.page().uploads;
  await again.begin();
  await eventually(() => expect(again.transfers(ENGAGEMENT)[0]?.state).toBe("failed"));
  expect(again.transfers(ENGAGEMENT)[0]?.failure?.code).toBe("attachment_spool_missing");
  const later = browser.page().uploads;
  await later.begin();
  expect(later.transfers(ENGAGEMENT)[0]).toMatchObject({ state: "failed" });
  await later.cancel(id);
  expect(later.transfers(ENGAGEMENT)).toEqual([]);
});

test("a file that cannot be read is refused, and nothing of it stays", async () => {
  const browser = new Browser();
  const broken = plan();
  vi.spyOn(broken, "slice").mockImplementation(() => {
    const piece = new Blob();
    piece.arrayBuffer = () => Promise.reject(new DOMException("", "NotReadableError"));
    return piece;
  });
  const { uploads } = browser.page();
  await expect(uploads.send(ENGAGEMENT, named(), broken)).rejects.toMatchObject({
    code: "attachment_source_unreadable",
  });
  expect([browser.records.size, browser.spools.all.size]).toEqual([0, 0]);
  expect(browser.told.at(-1)?.state).toBe("failed");
});

/** A sealed file that the relay has, and the message about it. */
async function received(browser: Browser): Promise<void> {
  const sender = new Browser();
  sender.away = true;
  await sender.page().uploads.send(ENGAGEMENT, named(), plan());
  const [record] = [...sender.records.values()].map(parseUpload);
  const [spool] = [...sender.spools.all.values()];
  if (record === undefined || spool === undefined) throw new Error("nothing was sealed");
  sealed = spool.bytes;
  const { name, mediaType, size, key, sealedSize, sealedHash } = record;
  browser.named = {
    kind: "file",
    name,
    mediaType,
    size,
    blob: BLOB as BlobId,
    key,
    sealedSize,
    sealedHash,
    extra: new Map(),
  };
}

test("opened twice at once it is fetched once, and comes as it was", async () => {
  const browser = new Browser();
  await received(browser);
  const { downloads } = browser.page();
  const [one, other] = await Promise.all([
    downloads.open(ENGAGEMENT, "id"),
    downloads.open(ENGAGEMENT, "id"),
  ]);
  expect(one).toBe(other);
  expect(one.type).toBe("text/plain");
  expect(hex(new Uint8Array(await one.arrayBuffer()))).toBe(hex(new Uint8Array(await plan().arrayBuffer())));
  expect(browser.spools.all.size).toBe(0);
  expect(browser.states).toEqual(["moving", "done"]);
});

test.each([
  { sealedSize: 1 },
  { sealedSize: 2 ** 40 },
  { size: 2 ** 40 },
  { size: 2 ** 40, sealedSize: sealedSizeOf(2 ** 40) },
])("of a file whose sizes cannot be (%o) nothing is fetched", async (wrong) => {
  const browser = new Browser();
  await received(browser);
  if (browser.named === null) throw new Error("there is no message");
  browser.named = { ...browser.named, ...wrong };
  await expect(browser.page().downloads.open(ENGAGEMENT, "id")).rejects.toMatchObject({
    code: "attachment_altered",
  });
  expect(browser.spools.all.size).toBe(0);
  expect(browser.states).not.toContain("moving");
});

test.each([0, 30, 70_000, -1])(
  "altered at byte %d: nothing of it is given, nothing of it stays",
  async (at) => {
    const browser = new Browser();
    await received(browser);
    const place = at < 0 ? sealed.length + at : at;
    sealed = sealed.map((byte, index) => (index === place ? byte ^ 1 : byte));
    const { downloads } = browser.page();
    await expect(downloads.open(ENGAGEMENT, "id")).rejects.toMatchObject({ code: "attachment_altered" });
    expect(browser.spools.all.size).toBe(0);
    expect(browser.told.at(-1)).toMatchObject({ state: "failed", failure: { code: "attachment_altered" } });
  },
);

test("a download that is cancelled ends", async () => {
  const browser = new Browser();
  await received(browser);
  browser.away = true;
  const { downloads } = browser.page();
  const opening = downloads.open(ENGAGEMENT, "id");
  const refused = expect(opening).rejects.toMatchObject({ code: "attachment_cancelled" });
  await eventually(() => expect(downloads.transfers(ENGAGEMENT)[0]?.failure).not.toBeNull());
  downloads.cancel("id");
  await refused;
  expect(downloads.transfers(ENGAGEMENT)).toEqual([]);
});
