/** Who this device is: its key, its user's identity, and the signed list that says so. */

import type { Bytes, Rng } from "../bytes.ts";
import { AccessRefused, RecordInvalid } from "../errors.ts";
import { KeyPair } from "../identity/keys.ts";
import type { Manifest } from "../identity/manifest.ts";
import { firstManifest, MAY_LINK, verifyManifest } from "../identity/manifest.ts";
import { recoveryKey, SEED_BYTES } from "../identity/recovery.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import { pack, unpack } from "../msgpack.ts";
import { NOT_SIGNED_IN } from "../transport/refusals.ts";
import type { DeviceId, PortalId, UserId } from "../wire/ids.ts";
import { deviceId, parsePortalId, parseUserId } from "../wire/ids.ts";

const FORMAT = 1;

/**
 * This device and its user. `identity` is on devices that may link others alone; `recoverySeed` is what the
 * recovery kit is made of, empty once that is printed, and on devices that were linked.
 */
export interface Account {
  readonly portal: PortalId;
  readonly user: UserId;
  readonly name: string;
  readonly device: KeyPair;
  readonly deviceId: DeviceId;
  readonly identity: KeyPair | null;
  readonly recoverySeed: Bytes;
  readonly manifest: Manifest;
}

/** A new user of a portal, on their first device. */
export function createAccount(
  portal: PortalId,
  user: UserId,
  name: string,
  rng: Rng,
  device: KeyPair = KeyPair.generate(rng),
): Account {
  const identity = KeyPair.generate(rng);
  const recoverySeed = rng(SEED_BYTES);
  const manifest = firstManifest({
    portal,
    user,
    identity,
    recoveryKey: recoveryKey(recoverySeed).public,
    devices: [{ deviceKey: device.public, flags: MAY_LINK }],
    suites: KNOWN_SUITES,
  });
  return { portal, user, name, device, deviceId: deviceId(device.public), identity, recoverySeed, manifest };
}

/** Encode for the vault. */
export const serializeAccount = (account: Account): Bytes =>
  pack([
    FORMAT,
    account.name,
    account.device.unsafeSeed(),
    account.identity?.unsafeSeed() ?? new Uint8Array(),
    account.recoverySeed,
    account.manifest.raw,
  ]);

/** Decode from the vault; raises RecordInvalid. */
export function parseAccount(data: Bytes): Account {
  const values = unpack(data);
  const [format, name, device, identity, recoverySeed, raw] = Array.isArray(values) ? values : [];
  const typed = [device, identity, recoverySeed, raw].every((value) => value instanceof Uint8Array);
  if (format !== FORMAT || typeof name !== "string" || !typed) {
    throw new RecordInvalid("The stored account is damaged. Set this browser up anew.");
  }
  const manifest = verifyManifest(raw as Bytes);
  const pair = new KeyPair(device as Bytes);
  return {
    portal: manifest.portal,
    user: manifest.user,
    name,
    device: pair,
    deviceId: deviceId(pair.public),
    identity: (identity as Bytes).length === 0 ? null : new KeyPair(identity as Bytes),
    recoverySeed: recoverySeed as Bytes,
    manifest,
  };
}

/** The portal and user that an access token names; the relay, not this device, verifies it. */
export function tokenSubject(token: string): { readonly portal: PortalId; readonly user: UserId } {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims: unknown = JSON.parse(atob(payload));
    const { iss, sub } = claims as { readonly iss: unknown; readonly sub: unknown };
    return { portal: parsePortalId(iss), user: parseUserId(sub) };
  } catch {
    throw new AccessRefused(NOT_SIGNED_IN, "token_invalid");
  }
}
