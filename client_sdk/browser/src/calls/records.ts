/** What the vault keeps of a call that is going on: a page that ends in the middle of it still says how it went. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import { RecordInvalid } from "../errors.ts";
import type { Value } from "../msgpack.ts";
import { pack, unpack } from "../msgpack.ts";

const FORMAT = 1;

export interface OpenCall {
  readonly call: Bytes;
  /** Who called says in the conversation how it went; who was called only hangs up. */
  readonly isCaller: boolean;
  /** The user who answered, and the device; empty: nobody yet. */
  readonly answeredBy: string;
  readonly device: Bytes | null;
  /** Since it was connected: what a page needs that returns to it. */
  readonly standing: Standing | null;
}

export interface Standing {
  /** The newest. */
  readonly attempt: number;
  readonly connectedAt: number;
  readonly kinds: readonly Media[];
  readonly peer: Bytes;
  readonly groupId: Bytes;
}

export const OPEN_CALLS = "calling/";
export const openCallName = (engagement: string, call: Bytes): string =>
  `${OPEN_CALLS}${engagement}/${hex(call)}`;

export const serializeOpenCall = ({ call, isCaller, answeredBy, device, standing }: OpenCall): Bytes =>
  pack([FORMAT, call, isCaller, answeredBy, device, standing && packed(standing)]);

const packed = ({ attempt, connectedAt, kinds, peer, groupId }: Standing) =>
  [attempt, connectedAt, [...kinds], peer, groupId] as const;

/** Decode from the vault; raises RecordInvalid. */
export function parseOpenCall(data: Bytes): OpenCall {
  const values = unpack(data);
  const [format, call, isCaller, answeredBy, device, standing = null] = Array.isArray(values) ? values : [];
  if (
    format !== FORMAT ||
    !(call instanceof Uint8Array) ||
    typeof answeredBy !== "string" ||
    !(device === null || device instanceof Uint8Array)
  ) {
    throw new RecordInvalid("What is stored about a call is damaged.");
  }
  return { call, isCaller: isCaller === true, answeredBy, device, standing: parseStanding(standing) };
}

/** An older program has not written it: nobody returns to that call. */
function parseStanding(value: Value): Standing | null {
  const [attempt, connectedAt, kinds, peer, groupId] = Array.isArray(value) ? value : [];
  if (typeof attempt !== "number" || typeof connectedAt !== "number" || !Array.isArray(kinds)) return null;
  if (!(peer instanceof Uint8Array) || !(groupId instanceof Uint8Array)) return null;
  return {
    attempt,
    connectedAt,
    kinds: kinds.includes("video") ? ["audio", "video"] : ["audio"],
    peer,
    groupId,
  };
}
