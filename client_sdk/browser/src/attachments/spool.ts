/**
 * Where sealed files stand on their way: files of the origin private file system, which a Worker reads and
 * writes in place. Sealed bytes only, and never more of them in memory than a piece.
 */

import type { Bytes } from "../bytes.ts";
import { SpoolMissing, StorageFailed } from "./errors.ts";

/** One open spool file; nobody else has it open. What it raises is StorageFailed. */
export interface SpoolFile {
  readonly size: number;
  read(at: number, length: number): Bytes;
  append(bytes: Bytes): void;
  truncate(size: number): void;
  /** Make what was written durable. */
  flush(): void;
  close(): void;
}

/** The spool files of one person in this browser, by their names. */
export interface Spools {
  /** Open, or make; raises StorageFailed. */
  open(name: string): Promise<SpoolFile>;
  /** All of it, read as it is needed; raises SpoolMissing or StorageFailed. */
  blob(name: string): Promise<Blob>;
  remove(name: string): Promise<void>;
  names(): Promise<readonly string[]>;
}

const FOLDER = "coach-relay";
const HELD_TRIES = 40;
const HELD_MS = 50;

/** The spools of whom this vault belongs to; made when the first is needed. */
export class PrivateSpools implements Spools {
  readonly #owner: string;

  constructor(owner: string) {
    this.#owner = encodeURIComponent(owner);
  }

  open(name: string): Promise<SpoolFile> {
    return stored(async () => {
      const file = await (await this.#folder()).getFileHandle(name, { create: true });
      return new PrivateSpool(await opened(file));
    });
  }

  async blob(name: string): Promise<Blob> {
    try {
      return await (await (await this.#folder()).getFileHandle(name)).getFile();
    } catch (error) {
      if (isMissing(error)) throw new SpoolMissing();
      throw failed(error);
    }
  }

  remove(name: string): Promise<void> {
    return stored(async () => {
      try {
        await (await this.#folder()).removeEntry(name);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  names(): Promise<readonly string[]> {
    return stored(async () => {
      const names: string[] = [];
      // The types that come with TypeScript lack it still.
      const folder = (await this.#folder()) as unknown as { keys(): AsyncIterable<string> };
      for await (const name of folder.keys()) names.push(name);
      return names;
    });
  }

  async #folder(): Promise<FileSystemDirectoryHandle> {
    const root = await navigator.storage.getDirectory();
    const ours = await root.getDirectoryHandle(FOLDER, { create: true });
    return ours.getDirectoryHandle(this.#owner, { create: true });
  }
}

/** The page before this one, or a request that was just broken off, may still hold it for a moment. */
async function opened(file: FileSystemFileHandle): Promise<FileSystemSyncAccessHandle> {
  for (let tried = 1; ; tried++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      const held = error instanceof DOMException && error.name === "NoModificationAllowedError";
      if (!held || tried === HELD_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    }
  }
}

class PrivateSpool implements SpoolFile {
  readonly #handle: FileSystemSyncAccessHandle;

  constructor(handle: FileSystemSyncAccessHandle) {
    this.#handle = handle;
  }

  get size(): number {
    return this.#handle.getSize();
  }

  read(at: number, length: number): Bytes {
    const bytes = new Uint8Array(length);
    const read = storing(() => this.#handle.read(bytes, { at }));
    return bytes.subarray(0, read);
  }

  append(bytes: Bytes): void {
    storing(() => {
      const at = this.#handle.getSize();
      const written = this.#handle.write(bytes as Uint8Array<ArrayBuffer>, { at });
      if (written !== bytes.length) throw new DOMException("", "QuotaExceededError");
    });
  }

  truncate(size: number): void {
    storing(() => this.#handle.truncate(size));
  }

  flush(): void {
    storing(() => this.#handle.flush());
  }

  close(): void {
    this.#handle.close();
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "NotFoundError";

function failed(error: unknown): Error {
  if (!(error instanceof DOMException || error instanceof TypeError)) return error as Error;
  return new StorageFailed(
    error.name === "QuotaExceededError"
      ? "This browser's storage is full: the file was not stored. Free some space and try again."
      : "This browser does not let the page store files. Allow site data for it, and leave private browsing.",
  );
}

async function stored<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw failed(error);
  }
}

function storing<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw failed(error);
  }
}
