/** Our key packages: made, stored before they are published, found when a Welcome names one. */

import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import type { KeyPackageBundle } from "../mls/keyPackages.ts";
import { makeKeyPackage, packOffer, readKeyPackage } from "../mls/keyPackages.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import { pack, unpack } from "../msgpack.ts";
import type { Link } from "../transport/link.ts";
import type { Vault } from "../vault/vault.ts";
import type { Account } from "./account.ts";

const SINGLE_USE = 10; // enough for as many new conversations between two visits of this device
const LOW = 5;
const LAST_RESORT = "meta/last-resort";

/** What is written so that all are published anew: the relay may have others than we know. */
export const FORGOTTEN = [{ name: LAST_RESORT, value: null }] as const;

/** Publish what the relay lacks, of whose single-use offers so many are left. */
export async function publish(
  vault: Vault,
  link: Link,
  account: Account,
  left: number,
  nowMs: number,
): Promise<void> {
  const lasts = await isGood(vault, account);
  if (lasts && left > LOW) return;
  const lastResort = lasts ? null : await make(vault, account, nowMs, true);
  const packages: Bytes[] = [];
  // One of last resort takes the place of all that the relay has.
  for (let i = lasts ? left : 0; i < SINGLE_USE; i++)
    packages.push((await make(vault, account, nowMs, false)).offer);
  const question = { frame: "PublishKeyPackages", packages, lastResort: lastResort?.offer ?? null } as const;
  await link.ask(question, "Published");
  if (lastResort !== null) await vault.write([{ name: LAST_RESORT, value: lastResort.first }]);
}

/** Whether the offer of last resort is there still, with our newest device list. */
async function isGood(vault: Vault, account: Account): Promise<boolean> {
  const kept = await vault.get(LAST_RESORT);
  const found = kept && (await findKeyPackage(vault, kept));
  if (!found) return false;
  const { leafNode } = readKeyPackage(found.bundle.message);
  const identity = leafNode.credential.credentialType === "basic" ? leafNode.credential.identity : null;
  return identity !== null && equal(identity, account.manifest.raw);
}

/** One offer: a package for each suite of this version, stored before anybody sees it. */
async function make(vault: Vault, account: Account, nowMs: number, lastResort: boolean) {
  const seconds = Math.floor(nowMs / 1000);
  const bundles: KeyPackageBundle[] = [];
  for (const suite of KNOWN_SUITES.filter((known) => account.manifest.suites.includes(known))) {
    bundles.push(await makeKeyPackage(suite, account.device, account.manifest, seconds, lastResort));
  }
  const offer = bundles.map((bundle) => bundle.ref);
  await vault.write(
    bundles.map(({ suite, ref, message, initKey, encryptionKey }) => ({
      name: `kp/${hex(ref)}`,
      value: pack([suite, ref, message, initKey, encryptionKey, offer]),
    })),
  );
  return { offer: packOffer(bundles), first: offer[0] ?? new Uint8Array() };
}

/** Our key package with this reference, and the names of the records of its whole offer. */
export async function findKeyPackage(vault: Vault, wanted: Bytes) {
  const stored = await vault.get(`kp/${hex(wanted)}`);
  if (stored === null) return null;
  const values = unpack(stored);
  const [number, ref, message, initKey, encryptionKey, refs] = Array.isArray(values) ? values : [];
  const suite = KNOWN_SUITES.find((known) => known === number);
  const typed = [ref, message, initKey, encryptionKey].every((value) => value instanceof Uint8Array);
  if (suite === undefined || !typed || !Array.isArray(refs)) {
    throw new RecordInvalid("A stored key package is damaged. Set this browser up anew.");
  }
  const bundle = { suite, ref, message, initKey, encryptionKey } as KeyPackageBundle;
  return { bundle, offer: refs.map((one) => `kp/${hex(one as Bytes)}`) };
}
