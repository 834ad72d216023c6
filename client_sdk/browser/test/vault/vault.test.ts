if (globalThis.indexedDB === undefined) {
  const { default: indexedDB, ...classes } = await import("fake-indexeddb");
  Object.assign(globalThis, classes, { indexedDB });
}

import { openDB } from "idb";
import { expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { VaultClosed, VaultCorrupt } from "../../src/errors.ts";
import { Vault, vaultName } from "../../src/vault/vault.ts";
import { parsePortalId, parseUserId } from "../../src/wire/ids.ts";

const PORTAL = parsePortalId("growth");
let people = 0;
const somebody = () => parseUserId(`user-${Date.now()}-${people++}`);

test("records are kept, by portal and user, and deleted", async () => {
  const [anna, ben] = [somebody(), somebody()];
  const vault = await Vault.open(PORTAL, anna);
  await vault.write([
    { name: "a/1", value: utf8("one") },
    { name: "a/2", value: utf8("two") },
    { name: "b/1", value: utf8("other") },
  ]);
  await vault.write([
    { name: "a/1", value: null },
    { name: "a/3", value: utf8("three") },
  ]);
  vault.close();
  const again = await Vault.open(PORTAL, anna);
  expect(await again.get("a/1")).toBeNull();
  expect([...(await again.scan("a/")).entries()]).toEqual([
    ["a/2", utf8("two")],
    ["a/3", utf8("three")],
  ]);
  const other = await Vault.open(PORTAL, ben);
  expect((await other.scan("")).size).toBe(0);
});

test("nothing is in the clear, and nothing opens under another name", async () => {
  const user = somebody();
  const vault = await Vault.open(PORTAL, user);
  await vault.write([{ name: "a/1", value: utf8("a secret word") }]);
  const db = await openDB(vaultName(PORTAL, user), 1);
  const sealed: Uint8Array = await db.get("records", "a/1");
  expect(new TextDecoder().decode(sealed)).not.toContain("secret");
  await db.put("records", sealed, "a/2");
  await expect(vault.get("a/2")).rejects.toThrow(VaultCorrupt);
  await db.put("records", sealed.slice(0, -1), "a/1");
  await expect(vault.get("a/1")).rejects.toThrow(VaultCorrupt);
});

test("the key cannot be taken out", async () => {
  const user = somebody();
  await Vault.open(PORTAL, user);
  const db = await openDB(vaultName(PORTAL, user), 1);
  const key: CryptoKey = await db.get("keys", "vault");
  expect(key.extractable).toBe(false);
  await expect(crypto.subtle.exportKey("raw", key)).rejects.toThrow();
});

test("a key that is gone is noticed", async () => {
  const user = somebody();
  const vault = await Vault.open(PORTAL, user);
  await vault.write([{ name: "a/1", value: utf8("x") }]);
  vault.close();
  const db = await openDB(vaultName(PORTAL, user), 1);
  await db.delete("keys", "vault");
  db.close();
  await expect(Vault.open(PORTAL, user)).rejects.toThrow(VaultCorrupt);
  await expect(vault.get("a/1")).rejects.toThrow(VaultClosed);
});

test("what was erased is gone", async () => {
  const user = somebody();
  const vault = await Vault.open(PORTAL, user);
  await vault.write([{ name: "a/1", value: utf8("x") }]);
  vault.close();
  await Vault.erase(PORTAL, user);
  expect((await (await Vault.open(PORTAL, user)).scan("")).size).toBe(0);
});
