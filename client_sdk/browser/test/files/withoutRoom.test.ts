import { expect, test, vi } from "vitest";
import { StorageFailed } from "../../src/attachments/errors.ts";
import { PrivateSpools } from "../../src/attachments/spool.ts";
import { filesPart } from "../../src/files/methods.ts";
import { World } from "../devices/world.ts";

test("a browser without a place for files goes online all the same", async () => {
  // As in a private window of Firefox.
  const getDirectory = () => Promise.reject(new DOMException("denied", "SecurityError"));
  vi.stubGlobal("navigator", { storage: { getDirectory } });
  await expect(new PrivateSpools("somebody").names()).rejects.toThrow(StorageFailed);
  const { engine } = await World.begin();
  await expect(filesPart(engine).listening.online?.()).resolves.toBeUndefined();
});
