/** Calls, in the Worker: what is said about them in the conversation; sound and picture are the page's. */

import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";

/** What the page may ask about calls. */
export type CallCalls = Record<never, never>;

export const callsPart = (_engine: Engine): Part<CallCalls> => ({ methods: {}, listening: {} });
