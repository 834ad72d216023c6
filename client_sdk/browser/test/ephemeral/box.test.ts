import { beforeAll, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { ready, sha256 } from "../../src/crypto.ts";
import type { EphemeralEpoch } from "../../src/ephemeral/box.ts";
import { EphemeralBox, EphemeralRefused } from "../../src/ephemeral/box.ts";
import { KeyPair } from "../../src/identity/keys.ts";

beforeAll(ready);

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));

function two() {
  const keys = [KeyPair.generate(random), KeyPair.generate(random)] as const;
  const deviceKeys = new Map(keys.map((pair, leaf) => [leaf, pair.public]));
  const epoch = (number: number, ownLeaf: number): EphemeralEpoch => ({
    groupId: new Uint8Array(32),
    epoch: number,
    authenticator: new Uint8Array(32),
    ownLeaf,
    deviceKeys,
    exporter: async (_label, context) => sha256(utf8(String(number)), context),
  });
  const box = (leaf: 0 | 1) =>
    new EphemeralBox(epoch(1, leaf), (labelled) => keys[leaf].signLabelled(labelled));
  return { epoch, one: box(0), other: box(1) };
}

test("a message opens once, for others, and in order", async () => {
  const { one, other } = two();
  const [first, second] = [await one.seal(1, "typing", {}, random), await one.seal(2, "typing", {}, random)];
  expect((await other.open(second, 0))?.kind).toBe("typing");
  await expect(other.open(second, 0)).rejects.toThrow("seen already");
  await expect(other.open(first, 0)).rejects.toThrow("seen already");
  await expect(one.open(await other.seal(1, "typing", {}, random), 0)).resolves.not.toBeNull();
  await expect(one.open(second, 0)).rejects.toThrow("itself");
});

test("a future epoch waits; a past one is kept for a minute", async () => {
  const { epoch, one, other } = two();
  const old = await one.seal(1, "old", {}, random);
  const older = await one.seal(2, "older", {}, random);
  await one.enter(epoch(2, 0), 0);
  expect(await other.open(await one.seal(3, "new", {}, random), 0)).toBeNull();
  expect((await other.enter(epoch(2, 1), 0)).map(({ kind }) => kind)).toEqual(["new"]);
  expect((await other.open(old, 59_000))?.kind).toBe("old");
  await expect(other.open(older, 61_000)).rejects.toThrow("over");
});

test("an altered message, and noise, is refused", async () => {
  const { one, other } = two();
  const sealed = await one.seal(1, "typing", {}, random);
  for (const at of [1, 3, 10, 100, sealed.length - 1]) {
    const altered = sealed.slice();
    altered[at] = (altered[at] ?? 0) ^ 1;
    await expect(
      other.open(altered, 0).then((message) => message ?? Promise.reject(new EphemeralRefused("waits"))),
    ).rejects.toThrow(EphemeralRefused);
  }
  await expect(other.open(utf8("noise"), 0)).rejects.toThrow(EphemeralRefused);
  await expect(one.seal(2, "x", { text: "x".repeat(33_000) }, random)).rejects.toThrow(EphemeralRefused);
});
