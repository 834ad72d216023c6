/** Safety numbers: 30 digits for each identity key, for two people to compare (docs/PROTOCOL.md section 6). */

import type { Bytes } from "../bytes.ts";
import { concat, equal } from "../bytes.ts";
import { sha512 } from "../crypto.ts";
import { SafetyCodeInvalid, SafetyNumberDiffers, UsageError } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { PortalId, UserId } from "../wire/ids.ts";
import { label } from "../wire/ids.ts";
import { KEY_BYTES } from "./keys.ts";

/** Makes each guess at a colliding key cost 5200 hashes (as Signal chose it). */
const ROUNDS = 5200;
const GROUPS = 6;
const GROUP_BYTES = 5;

/** The 30 digits of one user's identity key, without spaces; takes some 20 ms. */
export function safetyNumber(portal: PortalId, user: UserId, identityKey: Bytes): string {
  if (identityKey.length !== KEY_BYTES) throw new UsageError(`An identity key is ${KEY_BYTES} bytes.`);
  let digest = concat(label("safety number"), pack([portal, user, identityKey]));
  for (let round = 0; round < ROUNDS; round++) digest = sha512(digest, identityKey);
  return Array.from({ length: GROUPS }, (_, group) => {
    const bytes = digest.subarray(group * GROUP_BYTES, (group + 1) * GROUP_BYTES);
    const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    return String(value % 100_000).padStart(5, "0");
  }).join("");
}

const CODE_START = "coach-relay:safety:";
/** Two users of the longest ids stay below 350. */
const CODE_CHARS = 512;
const CODE_FORMAT = 1;

/** Two people and their identity keys, as one of them knows them. */
export interface Compared {
  readonly portal: PortalId;
  readonly user: UserId;
  readonly identityKey: Bytes;
  readonly other: UserId;
  readonly otherKey: Bytes;
}

/** What stands in the QR code that `user` shows to `other`. */
export function safetyCode({ portal, user, identityKey, other, otherKey }: Compared): string {
  const data = pack([CODE_FORMAT, portal, user, identityKey, other, otherKey]);
  const base64 = btoa(String.fromCharCode(...data));
  return CODE_START + base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Whether the other's code says the same of both; raises SafetyCodeInvalid, SafetyNumberDiffers. */
export function checkScanned(compared: Compared, code: string): void {
  const [portal, user, key, other, otherKey] = scanned(code);
  if (portal !== compared.portal || user !== compared.other || other !== compared.user) {
    throw new SafetyCodeInvalid(
      "This code is for two other people. Let the one that you want to verify show you theirs.",
    );
  }
  const same = [equal(key, compared.otherKey), equal(otherKey, compared.identityKey)];
  if (same.includes(false)) {
    throw new SafetyNumberDiffers(
      "The keys are not the same. Somebody may stand between you: do not write anything that matters, and " +
        "tell your portal.",
    );
  }
}

function scanned(code: string): readonly [unknown, unknown, Bytes, unknown, Bytes] {
  const text = code.trim();
  if (!text.startsWith(CODE_START) || text.length > CODE_CHARS) {
    throw new SafetyCodeInvalid(
      "This is no code of a safety number. Scan the one that the other person shows.",
    );
  }
  try {
    const digits = text.slice(CODE_START.length);
    if (!/^[\w-]*$/.test(digits)) throw new PackingError("another form"); // atob passes over spaces
    const base64 = digits.replaceAll("-", "+").replaceAll("_", "/");
    const values = unpack(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
    const [format, portal, user, key, other, otherKey] =
      Array.isArray(values) && values.length === 6 ? values : [];
    const keys = [key, otherKey].filter((one) => one instanceof Uint8Array && one.length === KEY_BYTES);
    if (format !== CODE_FORMAT || keys.length !== 2) throw new PackingError("another form");
    return [portal, user, keys[0] as Bytes, other, keys[1] as Bytes];
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof DOMException)) throw error;
    throw new SafetyCodeInvalid("This code of a safety number is damaged. Scan it again.");
  }
}
