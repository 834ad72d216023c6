/** Identifiers of the protocol (docs/PROTOCOL.md section 1): their types, and parsers that raise WireError. */

import type { Bytes } from "../bytes.ts";
import { concat, hex, utf8 } from "../bytes.ts";
import { sha256 } from "../crypto.ts";
import { WireError } from "./errors.ts";
import { DEVICE_ID_BYTES, DEVICE_KEY_BYTES } from "./limits.ts";

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

export type PortalId = Branded<string, "portal">;
export type UserId = Branded<string, "user">;
/** Also the id of the engagement's stream. */
export type EngagementId = Branded<string, "engagement">;
export type BlobId = Branded<string, "blob">;
/** 16 bytes; `deviceName` gives what maps and sets can hold. */
export type DeviceId = Branded<Bytes, "device">;

export const ROLES = ["coach", "client", "team-member", "supervisor"] as const;
export type Role = (typeof ROLES)[number];

// 22 characters carry 132 bits: the last has its four low bits zero, so that an id has one spelling.
const RANDOM_128 = "[A-Za-z0-9_-]{21}[AQgw]";
const PORTAL = /^[a-z][a-z0-9-]{0,31}$/;
const USER = /^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,63}$/;
const ENGAGEMENT = new RegExp(`^eng_${RANDOM_128}$`);
const BLOB = new RegExp(`^${RANDOM_128}$`);

function matching<Id extends string>(pattern: RegExp, what: string): (value: unknown) => Id {
  return (value) => {
    if (typeof value === "string" && pattern.test(value)) return value as Id;
    throw new WireError("malformed", `not a ${what} id`);
  };
}

export const parsePortalId = matching<PortalId>(PORTAL, "portal");
export const parseUserId = matching<UserId>(USER, "user");
export const parseEngagementId = matching<EngagementId>(ENGAGEMENT, "engagement");
export const parseBlobId = matching<BlobId>(BLOB, "blob");

export function parseDeviceId(value: unknown): DeviceId {
  if (value instanceof Uint8Array && value.length === DEVICE_ID_BYTES) return value as DeviceId;
  throw new WireError("malformed", "not a device id");
}

export function parseRole(value: unknown): Role {
  const role = ROLES.find((known) => known === value);
  if (role === undefined) throw new WireError("malformed", "not a role");
  return role;
}

/** What everything that this protocol signs or hashes begins with: `coach-relay/1 NAME`, a zero byte. */
export const label = (name: string): Bytes => concat(utf8(`coach-relay/1 ${name}`), Uint8Array.of(0));

/** The id of the device with this Ed25519 public key; raises WireError on another length than 32. */
export function deviceId(deviceKey: Bytes): DeviceId {
  if (deviceKey.length !== DEVICE_KEY_BYTES) throw new WireError("malformed", "not a device key");
  return sha256(label("device"), deviceKey).slice(0, DEVICE_ID_BYTES) as DeviceId;
}

/** A device id as a string of hexadecimal digits, for maps, sets and people. */
export const deviceName = (device: DeviceId): string => hex(device);
