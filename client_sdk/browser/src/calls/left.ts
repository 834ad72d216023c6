/** The call that was going on in this tab when its page was left: a reload finds it here, another tab does not. */

import { RETURN_MS } from "./states.ts";
import type { LeftCall } from "./told.ts";

const KEY = "coach-relay/left/";

export function noteLeft(engagement: string, left: LeftCall): void {
  try {
    sessionStorage.setItem(KEY + engagement, JSON.stringify([left.call, left.leftMs]));
  } catch {
    // A browser that keeps nothing for the tab: the call ends when the page is opened again.
  }
}

/** It is told once. */
export function takeLeft(engagement: string): LeftCall | null {
  try {
    const [call, leftMs] = JSON.parse(sessionStorage.getItem(KEY + engagement) ?? "[]") as unknown[];
    sessionStorage.removeItem(KEY + engagement);
    if (typeof call !== "string" || typeof leftMs !== "number") return null;
    return Date.now() - leftMs < RETURN_MS ? { call, leftMs } : null;
  } catch {
    return null;
  }
}
