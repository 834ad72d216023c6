if (globalThis.indexedDB === undefined) {
  const { default: indexedDB, ...classes } = await import("fake-indexeddb");
  Object.assign(globalThis, classes, { indexedDB });
}

import { openDB } from "idb";
import { expect, test, vi } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { UsageError, VaultClosed, VaultCorrupt, VaultFull, VaultUnavailable } from "../../src/errors.ts";
import { DRAFT_BYTES, keepDraft, readDraft } from "../../src/vault/drafts.ts";
import { checkPowers } from "../../src/vault/powers.ts";
import { Vault, vaultName } from "../../src/vault/vault.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";

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

test("a draft is sealed, replaced, bounded and erased", async () => {
  const user = somebody();
  const engagement = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
  const vault = await Vault.open(PORTAL, user);
  expect(await readDraft(vault, engagement)).toBeNull();
  await keepDraft(vault, engagement, { text: "half a secret", replyTo: null });
  await keepDraft(vault, engagement, { text: "half a secret thought", replyTo: "aa" });
  const db = await openDB(vaultName(PORTAL, user), 1);
  const [sealed] = await db.getAll("records");
  expect(new TextDecoder().decode(sealed)).not.toContain("secret");
  expect(await readDraft(vault, engagement)).toEqual({ text: "half a secret thought", replyTo: "aa" });
  const long = { text: "é".repeat(DRAFT_BYTES / 2 + 1), replyTo: null };
  await expect(keepDraft(vault, engagement, long)).rejects.toThrow(UsageError);
  await vault.write([{ name: `draft/${engagement}`, value: utf8("of another form") }]);
  expect(await readDraft(vault, engagement)).toBeNull();
  await keepDraft(vault, engagement, null);
  expect(await db.count("records")).toBe(0);
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

/** The browser runs out of room, or fails, at the second record that is put. */
function failingAt(second: string) {
  const put = IDBObjectStore.prototype.put;
  let count = 0;
  return vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(function (
    this: IDBObjectStore,
    ...given
  ) {
    count += 1;
    if (count > 1) throw new DOMException("no room", second);
    return put.apply(this, given);
  });
}

test.each([
  ["QuotaExceededError", VaultFull],
  ["UnknownError", VaultUnavailable],
])(
  "%s in the middle of a write: nothing of it is stored, what was there stays, and the next one goes",
  async (name, kind) => {
    const vault = await Vault.open(PORTAL, somebody());
    await vault.write([{ name: "a/1", value: utf8("before") }]);
    const failing = failingAt(name);
    const both = ["a/1", "a/2"].map((at) => ({ name: at, value: utf8("after") }));
    await expect(vault.write(both)).rejects.toThrow(kind);
    failing.mockRestore();
    expect(await vault.scan("a/")).toEqual(new Map([["a/1", utf8("before")]]));
    await vault.write(both);
    expect((await vault.scan("a/")).size).toBe(2);
  },
);

test("a browser that refuses to open a store is explained", async () => {
  const denied = vi.spyOn(indexedDB, "open").mockImplementation(() => {
    throw new DOMException("denied", "SecurityError");
  });
  await expect(Vault.open(PORTAL, somebody())).rejects.toThrow(VaultUnavailable);
  denied.mockRestore();
});

test("a store that another page erases is told at once, and nothing more is written to it", async () => {
  const user = somebody();
  const vault = await Vault.open(PORTAL, user);
  const lost = new Promise<void>((resolve) => {
    vault.onLost = resolve;
  });
  await Promise.all([lost, Vault.erase(PORTAL, user)]);
  await expect(vault.write([{ name: "a/1", value: utf8("x") }])).rejects.toThrow(VaultClosed);
});

const ALL = {
  isSecureContext: true,
  indexedDB: {},
  BroadcastChannel: {},
  crypto: { subtle: {} },
  navigator: { locks: {} },
};

test.each([
  ["by http", { isSecureContext: false }, /https/],
  ["without WebCrypto", { crypto: {} }, /https/],
  ["without IndexedDB", { indexedDB: undefined }, /store anything/],
  ["without Web Locks", { navigator: {} }, /too old/],
  ["without a channel between tabs", { BroadcastChannel: undefined }, /too old/],
])("%s no device is begun, and why is said", (_, lacks, why) => {
  expect(() => checkPowers(ALL)).not.toThrow();
  expect(() => checkPowers({ ...ALL, ...lacks })).toThrow(VaultUnavailable);
  expect(() => checkPowers({ ...ALL, ...lacks })).toThrow(why);
});
