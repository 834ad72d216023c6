/** A file that a person chose, read piece by piece. */

import { SourceUnreadable } from "../attachments/errors.ts";
import type { ReadAt } from "../attachments/sealing.ts";
import type { Bytes } from "../bytes.ts";

/** Read at once: asking the browser for each chunk would take longer than sealing it. */
const PIECE_BYTES = 1024 * 1024;

/** Reads a file in order; raises SourceUnreadable if the browser cannot, or it is another file by now. */
export function reading(file: Blob): ReadAt {
  let [start, piece]: [number, Bytes] = [0, new Uint8Array()];
  return async (at, length) => {
    if (at < start || at + length > start + piece.length) {
      start = at;
      piece = await bytesOf(file.slice(at, at + Math.max(length, PIECE_BYTES)));
    }
    return piece.subarray(at - start, at - start + length);
  };
}

async function bytesOf(piece: Blob): Promise<Bytes> {
  try {
    return new Uint8Array(await piece.arrayBuffer());
  } catch {
    throw new SourceUnreadable(
      "This file cannot be read: it was moved, changed or deleted meanwhile, or the browser may not read it. " +
        "Choose it again.",
    );
  }
}
