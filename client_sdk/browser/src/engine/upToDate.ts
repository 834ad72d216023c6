/** An account that an earlier version made is brought up to what this one can. */

import { equal } from "../bytes.ts";
import { nextManifest } from "../identity/manifest.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import type { Account } from "./account.ts";

/**
 * The account, its device list naming every suite of this version. Only a device with the identity key signs
 * lists; another one gets the new list from it. Two such devices sign the same bytes, so that doing it at the same
 * time makes no second list of one version.
 */
export function withKnownSuites(account: Account): Account {
  const { identity, manifest } = account;
  if (KNOWN_SUITES.every((suite) => manifest.suites.includes(suite)) || identity === null) return account;
  if (!equal(identity.public, manifest.identityKey)) return account;
  const others = manifest.suites.filter((suite) => !KNOWN_SUITES.some((known) => known === suite));
  return { ...account, manifest: nextManifest(manifest, identity, { suites: [...KNOWN_SUITES, ...others] }) };
}
