/** Key packages: by them others add this device while it is away (RFC 9420 section 10, docs/PROTOCOL.md 4). */

import type { KeyPackage, PrivateKeyPackage } from "ts-mls";
import { decodeMlsMessage, encodeMlsMessage, generateKeyPackageWithKey } from "ts-mls";
import { makeKeyPackageRef, verifyKeyPackage } from "ts-mls/keyPackage.js";
import { verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { CredentialRefused } from "../errors.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { Manifest } from "../identity/manifest.ts";
import { manifestOf } from "../identity/membership.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { DeviceId, PortalId } from "../wire/ids.ts";
import { deviceId } from "../wire/ids.ts";
import { CAPABILITIES, identityOf, LAST_RESORT, lifetime, MOST_LIFETIME_SECONDS } from "./config.ts";
import { GroupRefused } from "./errors.ts";
import type { SuiteId } from "./suites.ts";
import { implementation, suiteOfName } from "./suites.ts";

const MOST_OFFERED = 16;

/** A key package with its private keys; `ref` names it in a Welcome. */
export interface KeyPackageBundle {
  readonly suite: SuiteId;
  readonly ref: Bytes;
  readonly message: Bytes;
  readonly initKey: Bytes;
  readonly encryptionKey: Bytes;
}

/** A fresh key package of this device. */
export async function makeKeyPackage(
  suite: SuiteId,
  device: KeyPair,
  manifest: Manifest,
  nowSeconds: number,
  lastResort: boolean,
): Promise<KeyPackageBundle> {
  const cs = await implementation(suite);
  const made = await generateKeyPackageWithKey(
    { credentialType: "basic", identity: manifest.raw },
    CAPABILITIES,
    lifetime(nowSeconds),
    lastResort ? [{ extensionType: LAST_RESORT, extensionData: new Uint8Array() }] : [],
    { signKey: device.unsafeSeed(), publicKey: device.public },
    cs,
  );
  const keyPackage = made.publicPackage;
  return {
    suite,
    ref: await makeKeyPackageRef(keyPackage, cs.hash),
    message: encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage }),
    initKey: made.privatePackage.initPrivateKey,
    encryptionKey: made.privatePackage.hpkePrivateKey,
  };
}

/** One offer as it is published: `msgpack([MLSMessage, ...])`. */
export const packOffer = (bundles: readonly KeyPackageBundle[]): Bytes =>
  pack(bundles.map((bundle) => bundle.message));

/** The key package in an MLSMessage; raises GroupRefused. */
export function readKeyPackage(message: Bytes): KeyPackage {
  const found = decoded(message);
  if (found.wireformat !== "mls_key_package") throw new GroupRefused("It is no key package.");
  return found.keyPackage;
}

/** The private keys, as ts-mls takes them. */
export const privateParts = (bundle: KeyPackageBundle, device: KeyPair): PrivateKeyPackage => ({
  initPrivateKey: bundle.initKey,
  hpkePrivateKey: bundle.encryptionKey,
  signaturePrivateKey: device.unsafeSeed(),
});

/** One MLSMessage and nothing else; raises GroupRefused. */
export function decoded(message: Bytes) {
  let found: ReturnType<typeof decodeMlsMessage>;
  try {
    found = decodeMlsMessage(message, 0);
  } catch {
    found = undefined; // ts-mls throws what its readers meet: a range, a type; all of it is malformed
  }
  if (found === undefined || found[1] !== message.length) throw new GroupRefused("It is no MLS message.");
  return found[0];
}

/** A waiting device's key package, checked: it may be added. */
export interface Candidate {
  readonly keyPackage: KeyPackage;
  readonly manifest: Manifest;
  readonly device: DeviceId;
  readonly deviceKey: Bytes;
}

/** The packages of one offer, by their suites, and the device list that all of them carry. */
export interface OfferedPackages {
  readonly bySuite: ReadonlyMap<SuiteId, KeyPackage>;
  readonly manifest: Manifest;
  readonly deviceKey: Bytes;
}

/** What the relay gave for a device; raises GroupRefused or CredentialRefused. */
export function readOffered(offer: Bytes, device: DeviceId, portal: PortalId): OfferedPackages {
  const packages = offered(offer).map(readKeyPackage);
  const leaves = packages.map((found) => found.leafNode);
  if (!leaves.every((leaf) => isOf(leaf.signaturePublicKey, device))) {
    throw new CredentialRefused("The relay gave something else than key packages of the device asked for.");
  }
  const manifests = leaves.map((leaf) => manifestOf(identityOf(leaf.credential), leaf.signaturePublicKey));
  const [manifest, [leaf]] = [manifests[0], leaves];
  if (manifest === undefined || leaf === undefined) throw new CredentialRefused("An offer is empty.");
  if (!manifests.every((one) => equal(one.raw, manifest.raw))) {
    throw new CredentialRefused("The relay gave key packages that were not offered together.");
  }
  if (manifest.portal !== portal) throw new CredentialRefused("A device of another portal is not let in.");
  const bySuite = new Map<SuiteId, KeyPackage>();
  for (const found of packages) {
    const suite = suiteOfName(found.cipherSuite);
    if (suite !== undefined) bySuite.set(suite, found);
  }
  return { bySuite, manifest, deviceKey: leaf.signaturePublicKey };
}

const isOf = (key: Bytes, device: DeviceId): boolean => key.length === 32 && equal(deviceId(key), device);

/** The package of this suite, verified; raises GroupRefused. */
export async function checkPackage(
  { bySuite, manifest, deviceKey }: OfferedPackages,
  device: DeviceId,
  suite: SuiteId,
  nowSeconds: number,
): Promise<Candidate> {
  const keyPackage = bySuite.get(suite);
  if (keyPackage === undefined) throw new GroupRefused("A device has no key package of this suite.");
  await verify(keyPackage, suite, nowSeconds);
  return { keyPackage, manifest, device, deviceKey };
}

async function verify(found: KeyPackage, suite: SuiteId, nowSeconds: number): Promise<void> {
  const cs = await implementation(suite);
  const { leafNode } = found;
  if (leafNode.leafNodeSource !== "key_package") throw new GroupRefused("A leaf is not a key package's.");
  const { notBefore, notAfter } = leafNode.lifetime;
  const now = BigInt(nowSeconds);
  if (notAfter - notBefore > MOST_LIFETIME_SECONDS || notBefore > now || notAfter < now) {
    throw new GroupRefused("A key package is not of the present, or is to be valid for too long.");
  }
  const signed = await verifyLeafNodeSignatureKeyPackage(leafNode, cs.signature);
  if (!signed || !(await verifyKeyPackage(found, cs.signature))) {
    throw new GroupRefused("A key package's signature does not verify.");
  }
}

function offered(offer: Bytes): readonly Bytes[] {
  if (offer[0] === 0) return [offer]; // an MLSMessage alone: an offer for one suite
  let values: Value = null;
  try {
    values = unpack(offer);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
  }
  const listed = Array.isArray(values) ? values : [];
  const found = listed.filter((value) => value instanceof Uint8Array);
  if (found.length < 1 || found.length !== listed.length || found.length > MOST_OFFERED) {
    throw new GroupRefused("The relay gave something that is no offer of key packages.");
  }
  return found;
}
