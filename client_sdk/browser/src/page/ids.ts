/** Ids that the page gives. */

import { hex } from "../bytes.ts";

const ID_BYTES = 16;

/** Of a message: asking twice says it once. */
export const freshId = (): string => hex(crypto.getRandomValues(new Uint8Array(ID_BYTES)));
