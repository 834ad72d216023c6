/** Files, in the Worker: sealing, uploading and downloading go on here, also when the page is reloaded. */

import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";

/** What the page may ask about files. */
export type FileCalls = Record<never, never>;

export const filesPart = (_engine: Engine): Part<FileCalls> => ({ methods: {}, listening: {} });
