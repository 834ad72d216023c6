/** How a browser that has no device of its user yet begins. */

import type { Account } from "../engine/account.ts";
import { createAccount, serializeAccount } from "../engine/account.ts";
import type { Environment } from "../environment.ts";
import type { RelayAddress } from "../transport/address.ts";
import type { Vault } from "../vault/vault.ts";
import type { PortalId, UserId } from "../wire/ids.ts";

export const ACCOUNT = "account";

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
  /** Ask the page; its answers come from `firstUseAnswers` in page.ts. */
  ask(question: string, ...args: readonly unknown[]): Promise<unknown>;
}

/** The account of this device, in the vault when this resolves. */
export async function firstAccount({ vault, portal, user, name, environment }: Arrival): Promise<Account> {
  const account = createAccount(portal, user, name, environment.rng);
  await vault.write([{ name: ACCOUNT, value: serializeAccount(account) }]);
  return account;
}
