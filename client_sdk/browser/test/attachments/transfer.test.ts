/** Moving sealed files: on from every byte, never more than was sealed, whatever the relay answers. */

import { expect, test } from "vitest";
import type { DownloadTask } from "../../src/attachments/downloading.ts";
import { download } from "../../src/attachments/downloading.ts";
import { harmlessType, safeName } from "../../src/attachments/names.ts";
import type { UploadTask } from "../../src/attachments/uploading.ts";
import { upload } from "../../src/attachments/uploading.ts";
import { equal } from "../../src/bytes.ts";
import type { BlobId } from "../../src/wire/ids.ts";
import { BASE, BLOB, environment, FakeRelay, MemorySpool } from "./relay.ts";

const SEALED = new Uint8Array(3_000_000).map((_, at) => (at * 7) % 251);
const ID = BLOB as BlobId;

const codeOf = (action: Promise<unknown>): Promise<unknown> =>
  action.then(
    () => "done",
    (error: { readonly code?: string; readonly name?: string }) => error.code ?? error.name,
  );

function uploading(
  relay: FakeRelay,
  more: Partial<UploadTask> = {},
): UploadTask & { kept: (string | null)[] } {
  const kept: (string | null)[] = [];
  return {
    sealed: new Blob([SEALED]),
    access: async () => ({ base: BASE, token: relay.token }),
    environment: environment(),
    blob: null,
    remember: async (blob) => void kept.push(blob),
    progress: () => undefined,
    signal: new AbortController().signal,
    httpStack: relay,
    ...more,
    kept,
  };
}

test("a sealed file arrives byte for byte, and what is needed to go on was kept before", async () => {
  const relay = new FakeRelay();
  const told: number[] = [];
  const task = uploading(relay, { progress: (done) => void told.push(done) });
  expect(await upload(task)).toBe(BLOB);
  expect(equal(relay.taken, SEALED)).toBe(true);
  expect(task.kept).toEqual([BLOB]);
  expect(relay.asked[0]).toBe("POST /v1/blobs");
  expect(told.at(-1)).toBe(SEALED.length);
});

test("it goes on where the relay has it, with the same bytes", async () => {
  const relay = new FakeRelay();
  [relay.exists, relay.length, relay.taken] = [true, SEALED.length, SEALED.slice(0, 1_234_567)];
  const task = uploading(relay, { blob: ID });
  await upload(task);
  expect(equal(relay.taken, SEALED)).toBe(true);
  expect(relay.asked[0]).toBe(`HEAD /v1/blobs/${BLOB}`);
  expect(relay.asked.some((asked) => asked.startsWith("POST"))).toBe(false);
});

test("all is there already: nothing is sent", async () => {
  const relay = new FakeRelay();
  [relay.exists, relay.length, relay.taken] = [true, SEALED.length, SEALED];
  await upload(uploading(relay, { blob: ID }));
  expect(relay.asked).toEqual([`HEAD /v1/blobs/${BLOB}`]);
});

test.each([408, 409, 423, 429, 500, 503, "drop" as const])(
  "%s: it is tried again, and not from zero",
  async (how) => {
    const relay = new FakeRelay();
    let times = 0;
    relay.misbehave = (method) => {
      if (method === "POST" || times++ % 3 !== 1) return null;
      return how === "drop" ? how : { status: how };
    };
    const task = uploading(relay);
    await upload(task);
    expect(equal(relay.taken, SEALED)).toBe(true);
    expect(task.kept).toEqual([BLOB]);
  },
);

test("a relay that lost it: it begins anew, so many times", async () => {
  const relay = new FakeRelay();
  const task = uploading(relay, { blob: ID });
  await upload(task);
  expect(equal(relay.taken, SEALED)).toBe(true);
  expect(task.kept).toEqual([null, BLOB]);
  const forgetful = new FakeRelay();
  forgetful.misbehave = (method) => (method === "POST" ? null : { status: 404 });
  expect(await codeOf(upload(uploading(forgetful)))).toBe("attachment_gone");
});

test("a token that has expired is renewed", async () => {
  const relay = new FakeRelay();
  let asked = 0;
  const access = async () => ({ base: BASE, token: asked++ === 0 ? "old" : relay.token });
  await upload(uploading(relay, { access }));
  expect(equal(relay.taken, SEALED)).toBe(true);
});

test.each([
  [413, "attachment_transfer_refused"],
  [403, "attachment_transfer_refused"],
  [503, "attachment_transfer_interrupted"],
])("a relay that always says %s: %s", async (status, code) => {
  const relay = new FakeRelay();
  relay.misbehave = () => ({ status });
  expect(await codeOf(upload(uploading(relay)))).toBe(code);
});

test.each(["0", "-1", "1e3", "99999999", "", "3000001"])(
  "an offset that lies (%s) is not believed",
  async (offset) => {
    const relay = new FakeRelay();
    relay.misbehave = (method) =>
      method === "PATCH" ? { status: 204, headers: { "Upload-Offset": offset } } : null;
    expect(await codeOf(upload(uploading(relay)))).toBe("attachment_transfer_interrupted");
  },
);

test("an upload of another length is not ours", async () => {
  const relay = new FakeRelay();
  [relay.exists, relay.length, relay.taken] = [true, 10, SEALED.slice(0, 10)];
  const task = uploading(relay, { blob: ID });
  await upload(task);
  expect(task.kept).toEqual([null, BLOB]);
  expect(equal(relay.taken, SEALED)).toBe(true);
});

test("a relay cannot send the token elsewhere", async () => {
  const relay = new FakeRelay();
  relay.misbehave = (method) => {
    if (method !== "POST") return null;
    [relay.exists, relay.length] = [true, SEALED.length];
    return { status: 201, headers: { Location: `https://elsewhere.example/v1/blobs/${BLOB}` } };
  };
  await upload(uploading(relay));
  expect(equal(relay.taken, SEALED)).toBe(true);
});

test("paused: what the relay has stays, and it goes on", async () => {
  const relay = new FakeRelay();
  const stop = new AbortController();
  const first = uploading(relay, {
    signal: stop.signal,
    progress: (done) => done > 1_000_000 && stop.abort(new Error("paused")),
  });
  await expect(upload(first)).rejects.toThrow("paused");
  await upload(uploading(relay, { blob: first.kept[0] as BlobId }));
  expect(equal(relay.taken, SEALED)).toBe(true);
});

// Back

interface Given {
  readonly status?: number;
  readonly total?: number;
  readonly start?: number;
  readonly body?: Uint8Array;
  readonly length?: boolean;
}

function downloading(
  give: (from: number) => Given,
  spool = new MemorySpool(),
): DownloadTask & { spool: MemorySpool } {
  const answer = async (_url: unknown, init?: RequestInit) => {
    const from = Number(/bytes=(\d+)-/.exec(new Headers(init?.headers).get("Range") ?? "")?.[1]);
    const {
      status = 206,
      total = SEALED.length,
      start = from,
      body = SEALED.slice(from),
      length = true,
    } = give(from);
    const headers: Record<string, string> =
      status === 206
        ? { "Content-Range": `bytes ${start}-${total - 1}/${total}` }
        : length
          ? { "Content-Length": `${total}` }
          : {};
    return new Response(status === 204 ? null : (body as Uint8Array<ArrayBuffer>), { status, headers });
  };
  return {
    blob: ID,
    sealedSize: SEALED.length,
    spool,
    access: async () => ({ base: BASE, token: "t" }),
    environment: environment(),
    progress: () => undefined,
    signal: new AbortController().signal,
    fetch: answer as typeof fetch,
  };
}

test.each([0, 1, 1_234_567])("a download goes on at byte %d", async (had) => {
  const task = downloading(() => ({}), new MemorySpool(SEALED.slice(0, had)));
  await download(task);
  expect(equal(task.spool.bytes, SEALED)).toBe(true);
  expect(task.spool.flushed).toBe(SEALED.length);
});

test("answers that end early are gone on with", async () => {
  let asked = 0;
  const task = downloading((from) => ({ body: SEALED.slice(from, from + 700_000 + asked++) }));
  await download(task);
  expect(equal(task.spool.bytes, SEALED)).toBe(true);
  expect(asked).toBe(5);
});

test("an answer with everything begins anew", async () => {
  const task = downloading(() => ({ status: 200, body: SEALED }), new MemorySpool(SEALED.slice(5, 50)));
  await download(task);
  expect(equal(task.spool.bytes, SEALED)).toBe(true);
});

test.each<[string, Given, string]>([
  ["gone", { status: 404 }, "attachment_gone"],
  ["refused", { status: 403 }, "attachment_transfer_refused"],
  ["less", { total: SEALED.length - 1 }, "attachment_truncated"],
  ["nothing at this place", { status: 416 }, "attachment_truncated"],
  ["more", { total: SEALED.length + 1 }, "attachment_extended"],
  ["more than it says", { body: new Uint8Array(SEALED.length + 1) }, "attachment_extended"],
  [
    "more, without a length",
    { status: 200, length: false, body: new Uint8Array(SEALED.length + 1) },
    "attachment_extended",
  ],
  ["another range", { start: 10 }, "attachment_transfer_interrupted"],
  ["away", { status: 503 }, "attachment_transfer_interrupted"],
])("%s", async (_, given, code) => {
  const task = downloading(() => given);
  expect(await codeOf(download(task))).toBe(code);
  expect(task.spool.size).toBeLessThanOrEqual(SEALED.length);
});

test.each([
  ["plan.pdf", "plan.pdf"],
  ["../../etc/passwd", "passwd"],
  ["C:\\Users\\anna\\plan.pdf", "plan.pdf"],
  ["  .hidden ", "hidden"],
  ["con.txt", "_con.txt"],
  ["photo\u202egpj.exe", "photogpj.exe"],
  ["a<b>:c?.txt", "a_b__c_.txt"],
  ["", "file"],
  ["/", "file"],
  [`${"x".repeat(300)}.pdf`, `${"x".repeat(251)}.pdf`],
])("the name %j is shown as %j", (given, shown) => {
  expect(safeName(given)).toBe(shown);
  expect(safeName(shown)).toBe(shown);
});

test.each(["text/html", "image/svg+xml", "application/pdf", "application/xhtml+xml", "image/png; x", ""])(
  "%s is given to the page as bytes alone",
  (type) => expect(harmlessType(type)).toBe("application/octet-stream"),
);
test("pictures and sound keep their type", () => expect(harmlessType("Image/PNG")).toBe("image/png"));
