/** Safety numbers: 30 digits for each identity key, for two people to compare (docs/PROTOCOL.md section 6). */

import type { Bytes } from "../bytes.ts";
import { concat } from "../bytes.ts";
import { sha512 } from "../crypto.ts";
import { UsageError } from "../errors.ts";
import { pack } from "../msgpack.ts";
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

/** Both people's numbers as both of them see them: the lower first, in groups of five digits. */
export const shownTogether = (one: string, other: string): string =>
  ([one, other].sort().join("").match(/.{5}/g) ?? []).join(" ");
