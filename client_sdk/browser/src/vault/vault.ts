/**
 * The vault of one person of one portal in this browser: IndexedDB, every record sealed, every write durable
 * before it resolves (`durability: 'strict'`).
 *
 * A record's name is `space/key`. Names are in the clear (engagement and message ids), contents are not.
 */

import type { DBSchema, IDBPDatabase, IDBPObjectStore, IDBPTransaction } from "idb";
import { deleteDB, openDB } from "idb";
import type { Bytes } from "../bytes.ts";
import { VaultClosed, VaultCorrupt, VaultFull, VaultUnavailable } from "../errors.ts";
import type { PortalId, UserId } from "../wire/ids.ts";
import { newVaultKey, openRecord, sealRecord } from "./sealing.ts";

const VERSION = 1;
const KEY = "vault";

interface Schema extends DBSchema {
  keys: { key: string; value: CryptoKey };
  records: { key: string; value: Bytes };
}

/** One record to be written, or with null to be deleted. */
export interface Write {
  readonly name: string;
  readonly value: Bytes | null;
}

export const vaultName = (portal: PortalId, user: UserId): string => `coach-relay/${portal}/${user}`;

export class Vault {
  readonly #db: IDBPDatabase<Schema>;
  readonly #key: CryptoKey;
  #closed = false;
  /** Called when the browser has taken the store away under us, or another page erases it. */
  onLost: () => void = () => undefined;

  private constructor(db: IDBPDatabase<Schema>, key: CryptoKey) {
    this.#db = db;
    this.#key = key;
  }

  /** Open the vault, or make it; raises VaultUnavailable or VaultCorrupt. The page asks the browser to keep it. */
  static async open(portal: PortalId, user: UserId): Promise<Vault> {
    try {
      let vault: Vault | null = null;
      const lost = () => {
        vault?.close();
        vault?.onLost();
      };
      const db = await openDB<Schema>(vaultName(portal, user), VERSION, {
        upgrade: (made) => {
          made.createObjectStore("keys");
          made.createObjectStore("records");
        },
        blocking: lost,
        terminated: lost,
      });
      vault = new Vault(db, await keyOf(db));
      return vault;
    } catch (error) {
      if (error instanceof VaultCorrupt) throw error;
      throw new VaultUnavailable(
        "This browser does not let the page store anything. Allow site data for it.",
      );
    }
  }

  /** Forget everything of this person in this browser. */
  static async erase(portal: PortalId, user: UserId): Promise<void> {
    await deleteDB(vaultName(portal, user));
  }

  /** A record; null if there is none. Raises VaultCorrupt. */
  async get(name: string): Promise<Bytes | null> {
    this.#check();
    const sealed = await this.#db.get("records", name);
    return sealed === undefined ? null : openRecord(this.#key, name, sealed);
  }

  /** The records whose names begin so, by name. */
  async scan(start: string): Promise<ReadonlyMap<string, Bytes>> {
    this.#check();
    const range = IDBKeyRange.bound(start, `${start}\uffff`);
    const tx = this.#db.transaction("records");
    const [names, values] = await Promise.all([tx.store.getAllKeys(range), tx.store.getAll(range)]);
    const opened = names.map(async (name, at): Promise<[string, Bytes]> => {
      const sealed = values[at];
      if (sealed === undefined) throw new VaultCorrupt("What this browser stored is damaged.");
      return [name, await openRecord(this.#key, name, sealed)];
    });
    return new Map(await Promise.all(opened));
  }

  /** The values from one name on to before another, at most so many: those with the highest names, they first. */
  async newest(from: string, before: string, limit: number): Promise<readonly Bytes[]> {
    this.#check();
    const range = IDBKeyRange.bound(from, before, false, true);
    const found: [string, Bytes][] = [];
    let cursor = await this.#db.transaction("records").store.openCursor(range, "prev");
    while (cursor !== null && found.length < limit) {
      found.push([cursor.key, cursor.value]);
      cursor = found.length < limit ? await cursor.continue() : null;
    }
    return Promise.all(found.map(([name, sealed]) => openRecord(this.#key, name, sealed)));
  }

  /** The values from one name on to before another, at most so many: those with the lowest names, they first. */
  async oldest(from: string, before: string, limit: number): Promise<readonly Bytes[]> {
    this.#check();
    const range = IDBKeyRange.bound(from, before, false, true);
    const tx = this.#db.transaction("records");
    const [names, sealed] = await Promise.all([
      tx.store.getAllKeys(range, limit),
      tx.store.getAll(range, limit),
    ]);
    return Promise.all(names.map((name, at) => openRecord(this.#key, name, sealed[at] ?? new Uint8Array())));
  }

  /** Write all of these, or none; durable when this resolves. Raises VaultFull or VaultUnavailable. */
  async write(writes: readonly Write[]): Promise<void> {
    this.#check();
    if (writes.length === 0) return;
    // Sealed first: a transaction of IndexedDB does not wait for WebCrypto.
    const sealed = await Promise.all(
      writes.map(async ({ name, value }) => ({
        name,
        value: value === null ? null : await sealRecord(this.#key, name, value),
      })),
    );
    let tx: IDBPTransaction<Schema, ["records"], "readwrite"> | null = null;
    try {
      tx = this.#db.transaction("records", "readwrite", { durability: "strict" });
      await Promise.all([tx.done, putAll(tx.store, sealed)]);
    } catch (error) {
      undo(tx);
      if (error instanceof DOMException && error.name === "QuotaExceededError") {
        throw new VaultFull("This browser's storage is full: nothing was stored. Free some space.");
      }
      throw new VaultUnavailable("This browser could not store something. Reload the page.");
    }
  }

  close(): void {
    this.#closed = true;
    this.#db.close();
  }

  #check(): void {
    if (this.#closed) throw new VaultClosed("The vault was used after its end.");
  }
}

type Store = IDBPObjectStore<Schema, ["records"], "records", "readwrite">;

/** Each by itself, so that what a store refuses at once is a rejection like any other. */
const putAll = (store: Store, sealed: readonly Write[]) =>
  Promise.all(
    sealed.map(async ({ name, value }) => {
      if (value === null) await store.delete(name);
      else await store.put(value, name);
    }),
  );

/** What failed by itself the browser has undone; where one record was refused before it began, the others would stay. */
function undo(tx: { abort(): void } | null): void {
  try {
    tx?.abort();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // it is over already
  }
}

/** The vault's key; raises VaultCorrupt when records are there and it is not. */
async function keyOf(db: IDBPDatabase<Schema>): Promise<CryptoKey> {
  const found = await db.get("keys", KEY);
  if (found !== undefined) return found;
  if ((await db.count("records")) > 0) {
    throw new VaultCorrupt("The key of what this browser stored is gone. Set this browser up anew.");
  }
  const made = await newVaultKey();
  const tx = db.transaction("keys", "readwrite", { durability: "strict" });
  const first = await tx.store.get(KEY); // another tab may have been first
  if (first === undefined) await tx.store.put(made, KEY);
  await tx.done;
  return first ?? made;
}
