/** Files, in the Worker: sealing, uploading and downloading go on here, also when the page is reloaded. */

import type { Transfer } from "../api.ts";
import { StorageFailed } from "../attachments/errors.ts";
import { PrivateSpools } from "../attachments/spool.ts";
import { unhex } from "../bytes.ts";
import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";
import { queue } from "../engine/sending.ts";
import { EngagementUnavailable, RelayRefused, UsageError } from "../errors.ts";
import { vaultName } from "../vault/vault.ts";
import { parseEngagementId } from "../wire/ids.ts";
import type { FilesHost } from "./host.ts";
import { Downloads } from "./incoming.ts";
import { Uploads } from "./outgoing.ts";
import { Withdrawn } from "./withdrawn.ts";

/** What the page may ask about files. */
export interface FileCalls {
  /** The page names its message, so that asking twice sends it once. */
  fileSend(engagement: string, id: string, file: File): string;
  fileOpen(engagement: string, id: string): Blob;
  fileTransfers(engagement: string): readonly Transfer[];
  filePause(engagement: string, id: string): null;
  fileResume(engagement: string, id: string): null;
  fileCancel(engagement: string, id: string): null;
}

/** What may be asked twice. */
export const SAFE_FILES: readonly (keyof FileCalls)[] = [
  ...(["fileSend", "fileOpen", "fileTransfers", "filePause", "fileResume", "fileCancel"] as const),
];

export function filesPart(engine: Engine): Part<FileCalls> {
  const connections = new Set<() => void>();
  const host = hostOf(engine, connections);
  const [uploads, downloads] = [new Uploads(host, (error) => engine.fault(error)), new Downloads(host)];
  const withdrawn = new Withdrawn(host);
  let begun: Promise<boolean> | null = null;
  /** What an earlier page began is known, also to whoever asks about it before there is a connection. */
  const begin = async () => {
    begun ??= goesOn(uploads);
    if (!(await begun)) begun = null;
  };
  return {
    methods: {
      fileSend: (engagement, id, file) => uploads.send(engagement, unhex(id), file),
      fileOpen: (engagement, id) => downloads.open(engagement, id),
      async fileTransfers(engagement) {
        await begin();
        return [...uploads.transfers(engagement), ...downloads.transfers(engagement)];
      },
      async filePause(_, id) {
        await begin();
        downloads.pause(id);
        await uploads.pause(id);
        return null;
      },
      async fileResume(_, id) {
        await begin();
        downloads.resume(id);
        await uploads.resume(id);
        return null;
      },
      async fileCancel(_, id) {
        await begin();
        downloads.cancel(id);
        await uploads.cancel(id);
        return null;
      },
    },
    listening: {
      async online() {
        for (const heard of [...connections]) heard();
        await begin();
        await withdrawn.goOn();
      },
      item: (conversation, stored) => withdrawn.heard(conversation.id, stored),
      destroyed() {
        uploads.destroy();
        downloads.destroy();
      },
    },
  };
}

/**
 * Whether what was on its way goes on. Where a browser has no place for files (a private window of Firefox), nothing
 * was: all else works there, and who sends or opens a file is told why not.
 */
async function goesOn(uploads: Uploads): Promise<boolean> {
  try {
    await uploads.begin();
    return true;
  } catch (error) {
    if (!(error instanceof StorageFailed)) throw error;
    return false;
  }
}

function hostOf(engine: Engine, connections: Set<() => void>): FilesHost {
  const { portal, user } = engine.account;
  return {
    vault: engine.vault,
    environment: engine.environment,
    spools: new PrivateSpools(vaultName(portal, user)),
    async access(engagement) {
      const stream = parseEngagementId(engagement);
      try {
        const { token } = await engine.askRelay({ frame: "RequestBlobAccess", stream }, "BlobAccess");
        return { base: engine.address.origin, token };
      } catch (error) {
        if (error instanceof RelayRefused && (error.code === "not_found" || error.code === "ended")) {
          throw new EngagementUnavailable("There is no such engagement, it is not yours, or it has ended.");
        }
        throw error;
      }
    },
    said: async (engagement, id) => (await (await engine.conversation(engagement)).find(id)) !== null,
    async say(engagement, file, id, writes) {
      const conversation = await engine.conversation(engagement);
      await conversation.step(async (work) => {
        await queue(work, file, { id, blobs: [file.blob] });
        for (const { name, value } of writes) work.put(name, value);
      });
      conversation.wake();
    },
    async fileIn(engagement, id) {
      const stored = await (await engine.conversation(engagement)).find(id);
      const content = stored?.envelope?.content;
      if (content?.kind !== "file") throw new UsageError("There is no file here, or it was taken back.");
      return content;
    },
    async connectionOr(ms, signal) {
      const stop = new AbortController();
      const heard = () => stop.abort();
      connections.add(heard);
      signal.addEventListener("abort", heard);
      await engine.environment.sleep(ms, stop.signal);
      signal.removeEventListener("abort", heard);
      connections.delete(heard);
    },
    tell: (transfer) => engine.tell("transfer", transfer.engagement, transfer),
  };
}
