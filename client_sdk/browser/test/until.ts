/** Waiting for what comes: a busy machine is slow, and nobody waits longer than it takes. */

import { vi } from "vitest";

export const PATIENCE_MS = 20_000;

/** Wait until it holds; what it gave. */
export const until = <T>(holds: () => T | Promise<T>) => vi.waitUntil(holds, { timeout: PATIENCE_MS });

/** Wait until its assertions hold. */
export const eventually = (assert: () => void): Promise<void> => vi.waitFor(assert, { timeout: PATIENCE_MS });
