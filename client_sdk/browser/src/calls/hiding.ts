/** A person's wish that calls hide their network address: kept in this browser, for all its tabs. */

import type { Me } from "../api.ts";
import { CallNotPossible } from "./errors.ts";

const key = ({ portal, user }: Me): string => `coach-relay/hides-address/${portal}/${user}`;

export function hidesAddress(me: Me): boolean {
  try {
    return localStorage.getItem(key(me)) !== null;
  } catch {
    return false; // storage is forbidden here: then there never was a wish
  }
}

/** Raises CallNotPossible where the browser keeps nothing: nobody is to rely on what is forgotten. */
export function setHidesAddress(me: Me, on: boolean): void {
  try {
    if (on) localStorage.setItem(key(me), "yes");
    else localStorage.removeItem(key(me));
  } catch {
    throw new CallNotPossible(
      "This browser does not keep the choice, so it holds not even for the next call.",
    );
  }
}
