/** A relay's blobs without a network, which can be told to misbehave; and spools without a disk. */

import type { HttpRequest, HttpResponse, HttpStack } from "tus-js-client";
import type { SpoolFile } from "../../src/attachments/spool.ts";
import type { Bytes } from "../../src/bytes.ts";
import { concat } from "../../src/bytes.ts";
import type { Environment } from "../../src/environment.ts";

export const BLOB = "zYxWvUtSrQpOnMlKjIhGfQ";
export const BASE = "https://relay.example";

/** Time passes when it is waited for. */
export function environment(): Environment & { waited: number } {
  const made = {
    waited: 0,
    now: 0,
    nowMs: () => made.now++,
    fraction: () => 0.5,
    rng: (length: number) => new Uint8Array(length).fill(7),
    sleep: async (ms: number, signal?: AbortSignal) => {
      if (ms >= 20_000) {
        await new Promise((resolve) => signal?.addEventListener("abort", resolve));
        return;
      }
      made.waited += 1;
    },
    dial: () => Promise.reject(new Error("nothing is dialled here")),
  };
  return made;
}

type Reply = { readonly status: number; readonly headers?: Record<string, string> } | "drop" | null;

/** `misbehave` may answer in the place of the relay: null, and it answers as it should. */
export class FakeRelay implements HttpStack {
  taken: Bytes = new Uint8Array();
  length = 0;
  exists = false;
  token = "first";
  readonly asked: string[] = [];
  misbehave: (method: string, url: string) => Reply = () => null;

  getName = () => "FakeRelay";

  createRequest(method: string, url: string): HttpRequest {
    const headers: Record<string, string> = {};
    return {
      getMethod: () => method,
      getURL: () => url,
      setHeader: (name, value) => {
        headers[name] = value;
      },
      getHeader: (name) => headers[name],
      setProgressHandler: () => undefined,
      abort: async () => undefined,
      getUnderlyingObject: () => null,
      send: async (body: Blob | null) => {
        const piece = body === null ? new Uint8Array() : new Uint8Array(await body.arrayBuffer());
        return responseOf(this.#answer(method, url, headers, piece));
      },
    };
  }

  #answer(method: string, url: string, headers: Record<string, string>, piece: Bytes): Exclude<Reply, null> {
    this.asked.push(`${method} ${url.replace(BASE, "")}`);
    const said = this.misbehave(method, url);
    if (said !== null) return said;
    if (headers.Authorization !== `Bearer ${this.token}`) return { status: 401 };
    if (!url.startsWith(BASE)) throw new Error("the token went elsewhere");
    if (method === "POST") {
      [this.exists, this.taken, this.length] = [true, new Uint8Array(), Number(headers["Upload-Length"])];
      return { status: 201, headers: { Location: `/v1/blobs/${BLOB}` } };
    }
    if (!this.exists) return { status: 404 };
    if (method === "PATCH") {
      if (Number(headers["Upload-Offset"]) !== this.taken.length) return { status: 409 };
      this.taken = concat(this.taken, piece);
      return { status: 204, headers: { "Upload-Offset": `${this.taken.length}` } };
    }
    const found = { "Upload-Offset": `${this.taken.length}`, "Upload-Length": `${this.length}` };
    return { status: 200, headers: found };
  }
}

function responseOf(reply: Exclude<Reply, null>): HttpResponse {
  if (reply === "drop") throw new Error("the connection broke");
  return {
    getStatus: () => reply.status,
    getHeader: (name) => reply.headers?.[name],
    getBody: () => "",
    getUnderlyingObject: () => null,
  };
}

export class MemorySpool implements SpoolFile {
  bytes: Bytes;
  flushed = 0;

  constructor(bytes: Bytes = new Uint8Array()) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  read(at: number, length: number): Bytes {
    return this.bytes.slice(at, at + length);
  }

  append(more: Bytes): void {
    this.bytes = concat(this.bytes, more);
  }

  truncate(size: number): void {
    this.bytes = this.bytes.slice(0, size);
  }

  flush(): void {
    this.flushed = this.bytes.length;
  }

  close(): void {}
}
