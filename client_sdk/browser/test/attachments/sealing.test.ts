import { beforeAll, expect, test } from "vitest";
import type { SealedFile } from "../../src/attachments/sealing.ts";
import { open, seal, sealedSize } from "../../src/attachments/sealing.ts";
import { concat } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";

beforeAll(ready);

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));

async function sealed(plain: Uint8Array): Promise<[SealedFile, Uint8Array]> {
  const pieces: Uint8Array[] = [];
  const file = await seal(
    plain.length,
    async (at, length) => plain.slice(at, at + length),
    async (piece) => void pieces.push(piece),
    random,
  );
  return [file, concat(...pieces)];
}

async function opened(file: SealedFile, cipher: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of open(file, async (at, length) => cipher.slice(at, at + length), cipher.length)) {
    pieces.push(piece);
  }
  return concat(...pieces);
}

const codeOf = (action: Promise<unknown>): Promise<unknown> =>
  action.then(
    () => "opened",
    (error: { readonly code?: string }) => error.code,
  );

const PLAIN = new Uint8Array(150_000).map((_, at) => at % 251);

test("a file comes back as it was, and its size is that of its class", async () => {
  const [file, cipher] = await sealed(PLAIN);
  expect(await opened(file, cipher)).toEqual(PLAIN);
  expect(cipher.length).toBe(sealedSize(PLAIN.length));
  expect(sealedSize(1)).toBe(sealedSize(256));
});

test("what is cut, longer, altered, swapped or another's is not opened", async () => {
  const [file, cipher] = await sealed(PLAIN);
  const [, other] = await sealed(PLAIN.slice().reverse());
  expect(await codeOf(opened(file, cipher.slice(0, -1)))).toBe("attachment_truncated");
  expect(await codeOf(opened(file, concat(cipher, Uint8Array.of(0))))).toBe("attachment_extended");
  expect(await codeOf(opened(file, other))).toBe("attachment_altered");
  for (const at of [0, 24, 70_000, cipher.length - 1]) {
    const altered = cipher.slice();
    altered[at] = (altered[at] ?? 0) ^ 1;
    expect(await codeOf(opened(file, altered))).toBe("attachment_altered");
  }
  const first = cipher.slice(24, 24 + 65_553);
  const swapped = concat(
    cipher.slice(0, 24),
    cipher.slice(24 + 65_553, 24 + 2 * 65_553),
    first,
    cipher.slice(24 + 2 * 65_553),
  );
  expect(await codeOf(opened(file, swapped))).toBe("attachment_altered");
  expect(await codeOf(opened({ ...file, key: random(32) }, cipher))).toBe("attachment_altered");
  expect(await codeOf(opened({ ...file, sealedHash: random(32) }, cipher))).toBe("attachment_altered");
  expect(await codeOf(opened({ ...file, size: file.size - 1 }, cipher))).toBe("attachment_altered");
});
