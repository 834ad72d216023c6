/** Coming back on an empty device: a new identity that the recovery key signs (docs/PROTOCOL.md section 6). */

import { equal } from "../bytes.ts";
import type { Account } from "../engine/account.ts";
import { parseAccount, serializeAccount } from "../engine/account.ts";
import { KeyPair } from "../identity/keys.ts";
import type { Manifest } from "../identity/manifest.ts";
import { eraAt, eraCounts, eraOf, lists, MAY_LINK, recoveredManifest } from "../identity/manifest.ts";
import { recoveryKey, recoverySeed } from "../identity/recovery.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import type { Vault } from "../vault/vault.ts";
import { deviceId } from "../wire/ids.ts";
import { Restoration } from "./archive/restoring.ts";
import type { Contact } from "./contact.ts";
import { earlierLists } from "./earlier.ts";
import { RecoveryRefused } from "./errors.ts";
import type { Arrival } from "./first.ts";
import { ACCOUNT, CONFIRMED, FIRST_RECORDS, nameWrite, RECOVERY_BEGUN } from "./first.ts";

/**
 * This user on an empty device, in the vault when this resolves, their earlier devices shut out by the relay. The
 * words stay on paper: nothing of the seed is kept. Raises RecoveryWordsInvalid, RecoveryRefused or RelayError.
 */
export async function recover(
  arrival: Arrival,
  contact: Contact,
  { words, unchecked }: { readonly words: readonly string[]; readonly unchecked: boolean },
  progress: (items: number) => Promise<unknown>,
): Promise<void> {
  const { portal, user, name, environment, vault } = arrival;
  const recovery = recoveryKey(recoverySeed(words.join(" ")));
  const listed = await contact.insist({ frame: "ListEngagements" }, "Engagements");
  const engagements = listed.engagements.filter(({ status }) => status === "active");
  const found = await earlierLists(contact, { portal, user }, engagements);
  const fitting = found.filter((one) => equal(one.recoveryKey, recovery.public));
  const clock = max(1n, eraAt(environment.nowMs()));
  const counting = fitting.filter((one) => eraCounts(one, clock));
  const account = (await begunBefore(vault, counting, recovery, contact.device)) ?? made();
  const { manifest } = account;
  // Before the relay hears of it: cut off from here on, the same words go on with the same identity.
  await vault.write([{ name: RECOVERY_BEGUN, value: serializeAccount(account) }]);
  // From now on it lets no earlier device in; one that does not take it cannot keep it from the conversations.
  await contact.insist({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
  const restoration = new Restoration({
    ...{ vault, contact, account, recovery, rng: environment.rng, nowMs: environment.nowMs },
    // A page that shows no progress, or fails to, loses nothing by it.
    told: (items) => void progress(items).catch(() => undefined),
  });
  // The account comes last, with the end of what was restored: a page that was closed before asks how to begin.
  await restoration.restore(engagements, [
    { name: ACCOUNT, value: serializeAccount(account) },
    { name: CONFIRMED, value: Uint8Array.of(1) },
    nameWrite(account),
    ...FIRST_RECORDS.map((record) => ({ name: record, value: null })),
  ]);

  function made(): Account {
    if (fitting.length === 0 && !unchecked) throw new RecoveryRefused(found.length > 0 ? OTHER : UNKNOWN);
    const { device } = contact;
    const identity = KeyPair.generate(environment.rng);
    const era = max(clock, ...counting.map((one) => eraOf(one) + 1n));
    const manifest = recoveredManifest({
      ...{ portal, user, era, recovery, identityKey: identity.public },
      devices: [{ deviceKey: device.public, flags: MAY_LINK }],
      suites: KNOWN_SUITES,
    });
    const whose = { portal, user, name, device, deviceId: deviceId(device.public) };
    return { ...whose, identity, manifest, recoverySeed: new Uint8Array() };
  }
}

/** The account of a recovery by these words that was cut off, while no later list is found than the one it made. */
async function begunBefore(
  vault: Vault,
  counting: readonly Manifest[],
  recovery: KeyPair,
  device: KeyPair,
): Promise<Account | null> {
  const stored = await vault.get(RECOVERY_BEGUN);
  if (stored === null) return null;
  const account = parseAccount(stored);
  const { manifest } = account;
  const same = equal(manifest.recoveryKey, recovery.public) && lists(manifest, device.public);
  const newest = counting.every((one) => equal(one.raw, manifest.raw) || one.version < manifest.version);
  return same && newest ? account : null;
}

const UNKNOWN =
  "The relay knows no earlier device of yours. Check whether you are logged in to your portal as the person on the page.";
const OTHER =
  "These words exist, but they are not those of this account. Check each of them, and whether you are logged in to " +
  "your portal as the person on the page.";

const max = (...values: readonly bigint[]): bigint => values.reduce((most, one) => (one > most ? one : most));
