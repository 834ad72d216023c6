/** What the vault keeps of a call that is going on: a page that ends in the middle of it still says how it went. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import { pack, unpack } from "../msgpack.ts";

const FORMAT = 1;

export interface OpenCall {
  readonly call: Bytes;
  /** Who called says in the conversation how it went; who was called only hangs up. */
  readonly isCaller: boolean;
  /** The user who answered, and the device; empty: nobody yet. */
  readonly answeredBy: string;
  readonly device: Bytes | null;
}

export const OPEN_CALLS = "calling/";
export const openCallName = (engagement: string, call: Bytes): string =>
  `${OPEN_CALLS}${engagement}/${hex(call)}`;

export const serializeOpenCall = ({ call, isCaller, answeredBy, device }: OpenCall): Bytes =>
  pack([FORMAT, call, isCaller, answeredBy, device]);

/** Decode from the vault; raises RecordInvalid. */
export function parseOpenCall(data: Bytes): OpenCall {
  const values = unpack(data);
  const [format, call, isCaller, answeredBy, device] = Array.isArray(values) ? values : [];
  if (
    format !== FORMAT ||
    !(call instanceof Uint8Array) ||
    typeof answeredBy !== "string" ||
    !(device === null || device instanceof Uint8Array)
  ) {
    throw new RecordInvalid("What is stored about a call is damaged.");
  }
  return { call, isCaller: isCaller === true, answeredBy, device };
}
