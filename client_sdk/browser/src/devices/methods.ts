/** A person's own devices, in the Worker: linking, removing, the recovery kit and archive. */

import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";

/** What the page may ask about devices. */
export type DeviceCalls = Record<never, never>;

export const devicesPart = (_engine: Engine): Part<DeviceCalls> => ({ methods: {}, listening: {} });
