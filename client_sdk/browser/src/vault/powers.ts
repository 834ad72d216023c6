/** What a browser must have before it can keep a device: without it nothing begins, and why is said. */

import { VaultUnavailable } from "../errors.ts";

/** The parts of a Worker's or a page's global scope that a device cannot do without. */
export interface Powers {
  readonly isSecureContext: boolean;
  readonly indexedDB?: unknown;
  readonly BroadcastChannel?: unknown;
  readonly crypto?: { readonly subtle?: unknown };
  readonly navigator?: { readonly locks?: unknown };
}

/** Whether keys can be kept here, and by one tab at a time; raises VaultUnavailable. */
export function checkPowers(has: Powers): void {
  if (!has.isSecureContext || has.crypto?.subtle === undefined) {
    throw new VaultUnavailable(
      "The browser keeps no keys for this page, because it was not loaded over a secure connection. Open it with " +
        "https:// in front of its address; if it has none, tell whoever runs the portal.",
    );
  }
  if (has.indexedDB === undefined) {
    throw new VaultUnavailable("This browser does not let the page store anything. Allow site data for it.");
  }
  // Without locks two tabs would use one device's keys twice, each for itself.
  if (has.navigator?.locks === undefined || has.BroadcastChannel === undefined) {
    throw new VaultUnavailable(
      "This browser is too old to keep a conversation's keys safe. Bring it up to date, or use another one.",
    );
  }
}
