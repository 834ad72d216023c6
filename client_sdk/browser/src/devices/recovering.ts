/** Coming back on an empty device: a new identity that the recovery key signs (docs/PROTOCOL.md section 6). */

import { equal } from "../bytes.ts";
import type { Account } from "../engine/account.ts";
import { parseAccount, serializeAccount } from "../engine/account.ts";
import { KeyPair } from "../identity/keys.ts";
import type { Manifest } from "../identity/manifest.ts";
import { eraOf, lists, MAY_LINK, recoveredManifest } from "../identity/manifest.ts";
import { recoveryKey, recoverySeed } from "../identity/recovery.ts";
import { KNOWN_SUITES } from "../mls/suites.ts";
import type { Vault } from "../vault/vault.ts";
import { deviceId } from "../wire/ids.ts";
import { Restoration } from "./archive/restoring.ts";
import type { Contact } from "./contact.ts";
import { RecoveryRefused } from "./errors.ts";
import type { Arrival } from "./first.ts";
import { ACCOUNT, CONFIRMED, FIRST_DEVICE, nameWrite } from "./first.ts";

/** A recovery that is under way. */
const BEGUN = "first/recovery";
/** A later recovery outranks an earlier one by the clock alone: who has only the words knows nothing else. */
const MS_AN_ERA = 60_000n;

/**
 * This user on an empty device, in the vault when this resolves, their earlier devices shut out by the relay. The
 * words stay on paper: nothing of the seed is kept. Raises RecoveryWordsInvalid, RecoveryRefused or RelayError.
 */
export async function recover(
  arrival: Arrival,
  contact: Contact,
  typed: readonly string[],
  progress: (items: number) => Promise<unknown>,
): Promise<void> {
  const { portal, user, name, environment, vault } = arrival;
  const recovery = recoveryKey(recoverySeed(typed.join(" ")));
  const held = await contact.held();
  check(held, recovery);
  const account = (await begunBefore(vault, held, contact.device)) ?? made();
  const { manifest } = account;
  // Before the relay hears of it: cut off from here on, the same words go on with the same identity.
  await vault.write([{ name: BEGUN, value: serializeAccount(account) }]);
  // From now on it lets no earlier device in; one that does not take it cannot keep it from the conversations.
  await contact.insist({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
  const restoration = new Restoration({
    ...{ vault, contact, account, recovery, rng: environment.rng, nowMs: environment.nowMs },
    // A page that shows no progress, or fails to, loses nothing by it.
    told: (items) => void progress(items).catch(() => undefined),
  });
  // The account comes last, with the end of what was restored: a page that was closed before asks how to begin.
  await restoration.restore([
    { name: ACCOUNT, value: serializeAccount(account) },
    { name: CONFIRMED, value: Uint8Array.of(1) },
    nameWrite(account),
    ...[BEGUN, FIRST_DEVICE].map((record) => ({ name: record, value: null })),
  ]);

  function made(): Account {
    const { device } = contact;
    const identity = KeyPair.generate(environment.rng);
    const era = max(1n, BigInt(environment.nowMs()) / MS_AN_ERA, held === null ? 0n : eraOf(held) + 1n);
    const manifest = recoveredManifest({
      ...{ portal, user, era, recovery, identityKey: identity.public },
      devices: [{ deviceKey: device.public, flags: MAY_LINK }],
      suites: KNOWN_SUITES,
    });
    const whose = { portal, user, name, device, deviceId: deviceId(device.public) };
    return { ...whose, identity, manifest, recoverySeed: new Uint8Array() };
  }
}

/** The account of a recovery that was cut off, while the relay knows no later list than the one that it made. */
async function begunBefore(vault: Vault, held: Manifest | null, device: KeyPair): Promise<Account | null> {
  const stored = await vault.get(BEGUN);
  if (stored === null || held === null) return null;
  const account = parseAccount(stored);
  const same =
    equal(account.manifest.recoveryKey, held.recoveryKey) && lists(account.manifest, device.public);
  const newest = equal(account.manifest.raw, held.raw) || held.version < account.manifest.version;
  return same && newest ? account : null;
}

/** Whether the words are those of this account. */
function check(held: Manifest | null, recovery: KeyPair): void {
  if (held === null) {
    throw new RecoveryRefused(
      "The relay knows no earlier device of yours. Check whether you are logged in to your portal as the person " +
        "on the page.",
    );
  }
  if (!equal(held.recoveryKey, recovery.public)) {
    throw new RecoveryRefused(
      "These words exist, but they are not those of this account. Check each of them, and whether you are logged " +
        "in to your portal as the person on the page.",
    );
  }
}

const max = (...values: readonly bigint[]): bigint => values.reduce((most, one) => (one > most ? one : most));
