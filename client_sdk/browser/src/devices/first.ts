/** How a browser that has no device of its user yet begins. */

import type { Notice } from "../api.ts";
import type { Bytes } from "../bytes.ts";
import { utf8 } from "../bytes.ts";
import type { Account } from "../engine/account.ts";
import { createAccount, parseAccount, serializeAccount } from "../engine/account.ts";
import type { Environment } from "../environment.ts";
import type { CoachRelayError } from "../errors.ts";
import { RecordInvalid, UsageError } from "../errors.ts";
import { KeyPair } from "../identity/keys.ts";
import type { RelayAddress } from "../transport/address.ts";
import type { Vault, Write } from "../vault/vault.ts";
import type { PortalId, UserId } from "../wire/ids.ts";
import { deviceName } from "../wire/ids.ts";
import { beLinked } from "./arriving.ts";
import { Contact } from "./contact.ts";
import { DeviceError } from "./errors.ts";
import { browserName, usableName } from "./names.ts";
import { recover } from "./recovering.ts";
import { deviceNameRecord } from "./told.ts";

export const ACCOUNT = "account";
/** That the relay holds our list, or that this person knows that it holds another one. */
export const CONFIRMED = "meta/confirmed";
/** The key of a device that has no account yet. */
export const FIRST_DEVICE = "first/device";
/** A recovery that is under way. */
export const RECOVERY_BEGUN = "first/recovery";
/** What is over as soon as there is an account, however it came about. */
export const FIRST_RECORDS = [FIRST_DEVICE, RECOVERY_BEGUN];

/** What there is before there is a device. */
export interface Arrival {
  readonly portal: PortalId;
  readonly user: UserId;
  /** What this person wants to be called. */
  readonly name: string;
  /** Whether the page gave `firstUse`, and may be asked. */
  readonly asks: boolean;
  readonly vault: Vault;
  readonly environment: Environment;
  readonly address: RelayAddress;
  readonly token: () => Promise<string>;
  /** There is no connection, and why; it is tried again. */
  offline?(error: CoachRelayError): void;
  /** Ask the page; its answers come from `firstUseAnswers` in page.ts. */
  ask(question: string, ...args: readonly unknown[]): Promise<unknown>;
}

/** How the person wants to begin, as it comes from the page. */
export type Beginning =
  | { readonly kind: "new" }
  | { readonly kind: "link"; readonly deviceName: string }
  | { readonly kind: "recover"; readonly words: readonly string[]; readonly unchecked: boolean };

/** The account of this device, in the vault when this resolves; raises CoachRelayError. */
export async function firstAccount(arrival: Arrival): Promise<Account> {
  if (!arrival.asks) return begin(arrival, KeyPair.generate(arrival.environment.rng), false);
  const contact = new Contact(arrival, await firstDevice(arrival));
  return contact.during(async () => {
    await contact.untilOnline();
    const elsewhere = (await contact.held()) !== null;
    for (let failure: Notice | null = null; ; ) {
      const chosen = (await arrival.ask("firstUse", { elsewhere, failure })) as Beginning;
      try {
        return await begun(arrival, contact, chosen, elsewhere);
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
        // Mistyped words, a time that has run out: the person reads why, and chooses again.
        failure = { code: error.code, message: error.message };
      }
    }
  });
}

async function begun(
  arrival: Arrival,
  contact: Contact,
  chosen: Beginning,
  elsewhere: boolean,
): Promise<Account> {
  const { vault, ask } = arrival;
  if (chosen.kind === "new") return begin(arrival, contact.device, elsewhere);
  if (chosen.kind === "link") {
    await beLinked(arrival, contact, chosen.deviceName, (shown) => ask("firstUseShow", shown));
  } else if (chosen.kind === "recover") {
    await recover(arrival, contact, chosen, (items) => ask("firstUseProgress", items, 0));
  } else throw new UsageError("This is none of the ways to begin.");
  const stored = await vault.get(ACCOUNT);
  if (stored === null) throw new RecordInvalid("This device was set up, and nothing of it is stored.");
  return parseAccount(stored);
}

/** A new identity; `anew`: this person knows that the others have to let it in. */
async function begin(arrival: Arrival, device: KeyPair, anew: boolean): Promise<Account> {
  const { vault, portal, user, name, environment } = arrival;
  const account = createAccount(portal, user, name, environment.rng, device);
  await vault.write([
    { name: ACCOUNT, value: serializeAccount(account) },
    nameWrite(account),
    ...(anew ? [{ name: CONFIRMED, value: Uint8Array.of(1) }] : []),
    ...FIRST_RECORDS.map((record) => ({ name: record, value: null })),
  ]);
  return account;
}

/** What this device is called among its person's own, until they say otherwise. */
export const nameWrite = ({ deviceId }: Account): Write => ({
  name: deviceNameRecord(deviceName(deviceId)),
  value: utf8(usableName(browserName(globalThis.navigator?.userAgent ?? ""))),
});

/** The same at every attempt, so that one that was cut off takes no second place among the user's devices. */
async function firstDevice({ vault, environment }: Arrival): Promise<KeyPair> {
  const stored = await vault.get(FIRST_DEVICE);
  if (stored !== null) return new KeyPair(stored);
  const made: Bytes = environment.rng(32);
  await vault.write([{ name: FIRST_DEVICE, value: made }]);
  return new KeyPair(made);
}
