/** That a person wants to be reminded of their recovery kit later: for a week, in this browser. */

import type { Me } from "../../api.ts";

const WEEK_MS = 7 * 24 * 3600 * 1000;

const key = ({ portal, user }: Me): string => `coach-relay/kit-later/${portal}/${user}`;

/** Whether they said so within the last week; where the browser keeps nothing, they are asked each time. */
export function isLater(me: Me, nowMs: number): boolean {
  try {
    const said = Number(localStorage.getItem(key(me)) ?? Number.NaN);
    return nowMs - said < WEEK_MS;
  } catch {
    return false; // storage is forbidden here
  }
}

export function rememberLater(me: Me, nowMs: number): void {
  try {
    localStorage.setItem(key(me), String(nowMs));
  } catch {
    // Storage is forbidden here: they are asked at the next time.
  }
}
