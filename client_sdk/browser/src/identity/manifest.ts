/**
 * Manifests: which devices are a user's, signed by that user (docs/PROTOCOL.md section 6). Bytes from a peer
 * become a `Manifest` only by `verifyManifest`.
 */

import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { sha256 } from "../crypto.ts";
import { ManifestInvalid, SignatureInvalid, UsageError } from "../errors.ts";
import type { Int, Value } from "../msgpack.ts";
import { MAX_INT, PackingError, pack, plus, unpack } from "../msgpack.ts";
import { WireError } from "../wire/errors.ts";
import type { DeviceId, PortalId, UserId } from "../wire/ids.ts";
import { deviceId, label, parsePortalId, parseUserId } from "../wire/ids.ts";
import { MAX_DEVICES_PER_USER } from "../wire/limits.ts";
import { KEY_BYTES, type KeyPair, SIGNATURE_BYTES, verifySignature } from "./keys.ts";

const FORMAT = 1;
const HASH_BYTES = 32;
/** Eight devices and sixteen suites stay below 800; the rest is room for later fields of a format 2. */
const MANIFEST_BYTES = 2048;
const MOST_SUITES = 16;
const ERA_BITS = 32n;
const NO_PREVIOUS = new Uint8Array(HASH_BYTES);
/** Who has only the recovery words does not know the list before. */
const UNSEEN = new Uint8Array(HASH_BYTES).fill(0xff);
const NAME = "manifest";

/** Which key signed. */
export const IDENTITY = 0;
export const RECOVERY = 1;
export type Signer = typeof IDENTITY | typeof RECOVERY;

/** The device holds the identity key and may link other devices. */
export const MAY_LINK = 1;

/** One device of a user: its Ed25519 public key and flags, of which unknown bits are kept. */
export interface ManifestDevice {
  readonly deviceKey: Bytes;
  readonly flags: Int;
}

interface Body {
  readonly portal: PortalId;
  readonly user: UserId;
  /** From 1; members of both SDKs must agree on it, so it may be beyond 2^53. */
  readonly version: Int;
  readonly identityKey: Bytes;
  readonly recoveryKey: Bytes;
  readonly devices: readonly ManifestDevice[];
  readonly suites: readonly number[];
  readonly previous: Bytes;
}

declare const verified: unique symbol;

/** A manifest whose signature holds. Made by `verifyManifest` and by signing, nowhere else. */
export interface Manifest extends Body {
  readonly [verified]: true;
  readonly raw: Bytes;
  readonly signer: Signer;
}

/** H(label("manifest") || manifest), which the next version names. */
export const manifestHash = (manifest: Manifest): Bytes => sha256(label(NAME), manifest.raw);

/**
 * How the recovery key ranks a list: one of a higher era overrides every one of a lower era. Only the recovery key
 * begins another, so that nobody who got hold of the identity key can sign a version that it could not surpass.
 */
export const eraOf = (manifest: Manifest): bigint => BigInt(manifest.version) >> ERA_BITS;

/** A later recovery outranks an earlier one by the clock alone: who has only the words knows nothing else. */
const MS_AN_ERA = 60_000n;
/**
 * How far ahead of the clock (minutes) an era counts that only an identity key signed: half of all eras, for whatever
 * clock was wrong. Without a bound a thief signs the last era there is, which nothing surpasses; bound to the clock,
 * each theft moves the eras no further than the next recovery can go.
 */
const ERAS_AHEAD = 2n ** 30n;

/** The era that a recovery begins at this time. */
export const eraAt = (nowMs: number): bigint => BigInt(Math.floor(nowMs)) / MS_AN_ERA;

/** Whether a list may outrank another one at the time of this era, or somebody be met by it first. */
export const eraCounts = (manifest: Manifest, present: bigint): boolean =>
  manifest.signer === RECOVERY || eraOf(manifest) <= present + ERAS_AHEAD;

/** Whether a device with this key is the user's. */
export const lists = (manifest: Manifest, deviceKey: Bytes): boolean =>
  manifest.devices.some((device) => equal(device.deviceKey, deviceKey));

export const devicesOf = (manifest: Manifest): readonly DeviceId[] =>
  manifest.devices.map((device) => deviceId(device.deviceKey));

/**
 * Parse, and verify the signature under the key that the manifest names for its signer; raises ManifestInvalid.
 *
 * This shows that whoever holds that key listed these devices; whose key it is, the participants of the
 * conversation and the trust records say.
 */
export function verifyManifest(raw: Bytes): Manifest {
  if (raw.length > MANIFEST_BYTES) throw invalid(`it is longer than ${MANIFEST_BYTES} bytes`);
  const [data, signer, signature] = list(unpacked(raw), 3, "envelope");
  if (!(data instanceof Uint8Array) || (signer !== IDENTITY && signer !== RECOVERY)) {
    throw invalid("its fields have the wrong types");
  }
  const body = parseBody(data);
  if ((body.version === 1) !== equal(body.previous, NO_PREVIOUS)) {
    throw invalid("its version and its predecessor do not fit");
  }
  const key = signer === IDENTITY ? body.identityKey : body.recoveryKey;
  try {
    verifySignature(key, NAME, data, bytes(signature, SIGNATURE_BYTES));
  } catch (error) {
    if (!(error instanceof SignatureInvalid)) throw error;
    throw invalid("its signature does not verify");
  }
  return { ...body, raw, signer } as Manifest;
}

export interface FirstManifest {
  readonly portal: PortalId;
  readonly user: UserId;
  readonly identity: KeyPair;
  readonly recoveryKey: Bytes;
  readonly devices: readonly ManifestDevice[];
  readonly suites: readonly number[];
}

/** Sign a user's first manifest with the identity key. */
export function firstManifest({ identity, ...given }: FirstManifest): Manifest {
  const body = { ...given, version: 1, identityKey: identity.public, previous: NO_PREVIOUS };
  return signed(body, IDENTITY, identity);
}

export interface RecoveredManifest extends Omit<FirstManifest, "identity" | "recoveryKey"> {
  readonly era: bigint;
  readonly recovery: KeyPair;
  readonly identityKey: Bytes;
}

/**
 * Sign a list with the recovery key alone, that begins an era and names a new identity key. It needs nothing that
 * was lost; everybody accepts it in the place of any list of a lower era that names the same recovery key.
 */
export function recoveredManifest({ era, recovery, ...given }: RecoveredManifest): Manifest {
  const version = plus((era << ERA_BITS) as Int, 1);
  const body = { ...given, version, recoveryKey: recovery.public, previous: UNSEEN };
  return signed(body, RECOVERY, recovery);
}

export interface ManifestChanges {
  readonly devices?: readonly ManifestDevice[];
  readonly suites?: readonly number[];
  readonly identityKey?: Bytes;
}

/**
 * Sign the next version with the identity key, or with the recovery key; raises UsageError for a third one.
 * Only the recovery key may name a new identity key.
 */
export function nextManifest(previous: Manifest, key: KeyPair, changes: ManifestChanges): Manifest {
  const recovers = equal(key.public, previous.recoveryKey);
  if (!recovers && !equal(key.public, previous.identityKey)) {
    throw new UsageError("This key is neither the identity key nor the recovery key of the manifest before.");
  }
  const { portal, user, recoveryKey } = previous;
  const body: Body = {
    portal,
    user,
    recoveryKey,
    version: plus(previous.version, 1),
    identityKey: changes.identityKey ?? previous.identityKey,
    devices: changes.devices ?? previous.devices,
    suites: changes.suites ?? previous.suites,
    previous: manifestHash(previous),
  };
  if (!recovers && !equal(body.identityKey, previous.identityKey)) {
    throw new UsageError("Only the recovery key may name a new identity key. Use the recovery kit.");
  }
  return signed(body, recovers ? RECOVERY : IDENTITY, key);
}

/**
 * Whether `next` may take the place of `old`; raises ManifestInvalid.
 *
 * The same manifest may. A higher version may if it is the same user's and was signed by the identity key
 * without touching either key, or by the same recovery key; the directly next version must name `old` as its
 * predecessor (versions in between need not have been seen).
 */
export function checkSuccessor(old: Manifest, next: Manifest): void {
  if (equal(next.raw, old.raw)) return;
  if (next.portal !== old.portal || next.user !== old.user) {
    throw invalid("it belongs to another user than the one before");
  }
  if (next.version <= old.version) throw invalid("its version is not above the one before");
  if (!equal(next.recoveryKey, old.recoveryKey)) {
    throw invalid("it changes the recovery key, which nothing may");
  }
  if (next.signer === IDENTITY && !equal(next.identityKey, old.identityKey)) {
    throw invalid("it changes the identity key without the recovery key");
  }
  if (next.signer === IDENTITY && eraOf(next) !== eraOf(old)) {
    throw invalid("it begins another era without the recovery key");
  }
  if (next.version === plus(old.version, 1) && !equal(next.previous, manifestHash(old))) {
    throw invalid("it does not continue the one before");
  }
}

/** Sign, and read it back as a peer would: what would be refused there is refused here. */
function signed(body: Body, signer: Signer, key: KeyPair): Manifest {
  const devices = body.devices.map((device) => [device.deviceKey, device.flags] as const);
  const { portal, user, version, identityKey, recoveryKey, suites, previous } = body;
  const data = pack([FORMAT, portal, user, version, identityKey, recoveryKey, devices, suites, previous]);
  try {
    return verifyManifest(pack([data, signer, key.sign(NAME, data)]));
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    throw new UsageError(`This manifest would be refused by everybody: ${error.message}`);
  }
}

function parseBody(data: Bytes): Body {
  const [format, portal, user, version, identityKey, recoveryKey, devices, suites, previous] = list(
    unpacked(data),
    9,
    "body",
  );
  if (format !== FORMAT) throw invalid("its format is not 1");
  return {
    ...ids(portal, user),
    version: uint(version, 1),
    identityKey: bytes(identityKey, KEY_BYTES),
    recoveryKey: bytes(recoveryKey, KEY_BYTES),
    devices: parseDevices(devices),
    suites: parseSuites(suites),
    previous: bytes(previous, HASH_BYTES),
  };
}

function ids(portal: Value | undefined, user: Value | undefined) {
  try {
    return { portal: parsePortalId(portal), user: parseUserId(user) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw invalid("its portal or user is no id");
  }
}

function parseDevices(value: Value | undefined): readonly ManifestDevice[] {
  if (!Array.isArray(value) || value.length > MAX_DEVICES_PER_USER) {
    throw invalid(`it has not 0 to ${MAX_DEVICES_PER_USER} devices`);
  }
  const devices = value.map((item) => {
    const [deviceKey, flags] = list(item, 2, "device");
    return { deviceKey: bytes(deviceKey, KEY_BYTES), flags: uint(flags, 0) };
  });
  const twice = devices.some((one, at) =>
    devices.slice(0, at).some((o) => equal(o.deviceKey, one.deviceKey)),
  );
  if (twice) throw invalid("it lists a device twice");
  return devices;
}

function parseSuites(value: Value | undefined): readonly number[] {
  if (!Array.isArray(value) || value.length > MOST_SUITES) {
    throw invalid(`it lists more than ${MOST_SUITES} suites`);
  }
  const suites = value.map((item) => Number(uint(item, 1, 0xffff)));
  if (new Set(suites).size !== suites.length) throw invalid("it lists a suite twice");
  return suites;
}

const invalid = (reason: string): ManifestInvalid =>
  new ManifestInvalid(
    `A device list is not valid: ${reason}. It is not used; ask its owner to update the app.`,
  );

function unpacked(data: Bytes): Value {
  try {
    return unpack(data);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw invalid("it is not well-formed");
  }
}

function list(value: Value | undefined, length: number, what: string): readonly Value[] {
  if (!Array.isArray(value) || value.length !== length) throw invalid(`its ${what} has not ${length} fields`);
  return value;
}

function bytes(value: Value | undefined, length: number): Bytes {
  if (!(value instanceof Uint8Array) || value.length !== length)
    throw invalid(`a field is not ${length} bytes`);
  return value;
}

function uint(value: Value | undefined, low: number, high: Int = MAX_INT): Int {
  const isInt = typeof value === "number" || typeof value === "bigint";
  if (!isInt || value < low || value > high) throw invalid("a number is out of range");
  return value;
}
