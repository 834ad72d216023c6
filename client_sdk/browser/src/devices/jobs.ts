/** What a link that was decided still owes to the new device: it goes on after the page was closed, for a day. */

import type { Bytes } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import { KEY_BYTES } from "../identity/keys.ts";
import type { Introduction } from "../identity/linking.ts";
import { LinkSecret, SECRET_BYTES } from "../identity/linking.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { list } from "../packed.ts";
import type { Vault } from "../vault/vault.ts";
import type { BlobId } from "../wire/ids.ts";
import { deviceId, deviceName, parseBlobId } from "../wire/ids.ts";
import { HANDOVER_KEY_BYTES } from "./handover.ts";

const FORMAT = 1;
const LINKING = "linking/";

/** A sealed history in a spool, and the upload that was begun of it. */
export interface SealedHistory {
  readonly key: Bytes;
  readonly blob: BlobId | null;
}

export interface Job {
  readonly secret: LinkSecret;
  readonly hello: Pick<Introduction, "deviceKey">;
  readonly mayLink: boolean;
  /** In Unix milliseconds. */
  readonly until: number;
  /** It has keys, list, trust and floors, durably. */
  told: boolean;
  /** The engagements whose history it has, or fetches. */
  readonly sent: Set<string>;
  /** By the names of their spools. */
  readonly sealed: Map<string, SealedHistory>;
}

const nameOf = (job: Job): string => LINKING + deviceName(deviceId(job.hello.deviceKey));

export async function keepJob(vault: Vault, job: Job): Promise<void> {
  const sealed = [...job.sealed].map(([name, { key, blob }]) => [name, key, blob] as const);
  const value = pack([
    ...[FORMAT, job.secret.unsafeValue(), job.hello.deviceKey, job.mayLink, job.until, job.told],
    ...[[...job.sent], sealed],
  ]);
  await vault.write([{ name: nameOf(job), value }]);
}

export const dropJob = (vault: Vault, job: Job): Promise<void> =>
  vault.write([{ name: nameOf(job), value: null }]);

/** What earlier pages began; raises RecordInvalid. */
export async function jobsIn(vault: Vault): Promise<readonly Job[]> {
  return [...(await vault.scan(LINKING)).values()].map(parseJob);
}

function parseJob(data: Bytes): Job {
  try {
    const [format, secret, deviceKey, mayLink, until, told, sent, sealed] = list(unpack(data));
    if (format !== FORMAT || typeof until !== "number") throw new PackingError("another form");
    return {
      secret: new LinkSecret(bytes(secret, SECRET_BYTES)),
      hello: { deviceKey: bytes(deviceKey, KEY_BYTES) },
      mayLink: mayLink === true,
      until,
      told: told === true,
      sent: new Set(list(sent).map(String)),
      sealed: new Map(list(sealed).map(sealedIn)),
    };
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new RecordInvalid(
      "What this browser stored about a device that is linked is damaged. Link it again.",
    );
  }
}

function sealedIn(value: Value): readonly [string, SealedHistory] {
  const [name, key, blob] = list(value);
  const known = blob === null ? null : parseBlobId(blob);
  return [String(name), { key: bytes(key, HANDOVER_KEY_BYTES), blob: known }];
}

function bytes(value: Value | undefined, length: number): Bytes {
  if (value instanceof Uint8Array && value.length === length) return value;
  throw new PackingError("a field of another form");
}
