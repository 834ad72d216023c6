/**
 * A conversation's history as a sealed file that another device of the same person takes in (docs/PROTOCOL.md 6.1).
 *
 * Inside is a run of records, the oldest items first. It is sealed as it is written and opened as it is read:
 *
 *     header (24 bytes) || { length of the chunk: u32 || chunk } ...
 *
 * Each chunk is one of libsodium's secretstream and holds whole records; the last one carries the FINAL tag and
 * zeros, which hide the exact size.
 */

import type { ReadAt, Sink } from "../attachments/sealing.ts";
import type { Bytes } from "../bytes.ts";
import { concat, joined, u32 } from "../bytes.ts";
import { paddedLength } from "../content/padding.ts";
import { sodium } from "../crypto.ts";
import type { Packable, Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { LinkTampered } from "./errors.ts";

export const HANDOVER_KEY_BYTES = 32;
const HEADER_BYTES = 24;
const TAG_BYTES = 17;
const TAG_MESSAGE = 0;
const TAG_FINAL = 3;
const LENGTH_BYTES = 4;
/** A chunk is full at this; its last record may go beyond. */
const CHUNK_BYTES = 64 * 1024;
/** An item of the history is at most 1 MiB; the rest is room for what is around it. */
const LARGEST_CHUNK = 1280 * 1024;
const MOST_PADDING = 1024 * 1024;

type State = Parameters<typeof sodium.crypto_secretstream_xchacha20poly1305_push>[0];

/** Collects records into chunks and seals them; call `finish` at the end. */
export class HistorySealing {
  readonly #sink: Sink;
  readonly #state: State;
  readonly #header: Bytes;
  #chunk: Bytes[] = [];
  #held = 0;
  #written = 0;

  constructor(key: Bytes, sink: Sink) {
    const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
    [this.#state, this.#header, this.#sink] = [state, header, sink];
  }

  async add(record: readonly Packable[]): Promise<void> {
    const packed = pack(record);
    this.#chunk.push(u32(packed.length), packed);
    this.#held += LENGTH_BYTES + packed.length;
    if (this.#held >= CHUNK_BYTES) await this.#push(TAG_MESSAGE);
  }

  /** Seal what is left; the size of the whole. */
  async finish(): Promise<number> {
    await this.#push(TAG_MESSAGE);
    const whole = this.#written + LENGTH_BYTES + TAG_BYTES;
    const padding = paddedLength(whole) - whole;
    const rest = (MOST_PADDING - (whole % MOST_PADDING)) % MOST_PADDING;
    this.#chunk.push(new Uint8Array(padding <= MOST_PADDING ? padding : rest));
    await this.#push(TAG_FINAL);
    return this.#written;
  }

  async #push(tag: number): Promise<void> {
    const plain = joined(this.#chunk);
    const sealed = sodium.crypto_secretstream_xchacha20poly1305_push(this.#state, plain, null, tag);
    const head = this.#written === 0 ? [this.#header] : [];
    const piece = concat(...head, u32(sealed.length), sealed);
    [this.#chunk, this.#held] = [[], 0];
    this.#written += piece.length;
    await this.#sink(piece);
  }
}

/** The records of a sealed history; ends only when the whole of it was what was sealed. Raises LinkTampered. */
export async function* openHistory(
  key: Bytes,
  read: ReadAt,
  size: number,
): AsyncGenerator<readonly Value[], void> {
  let at = 0;
  const next = async (length: number): Promise<Bytes> => {
    const piece = at + length <= size ? await read(at, length) : new Uint8Array();
    if (piece.length !== length) throw broken();
    at += length;
    return piece;
  };
  const header = await next(HEADER_BYTES);
  const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(header, key);
  while (true) {
    const length = number32(await next(LENGTH_BYTES));
    if (length < TAG_BYTES || length > LARGEST_CHUNK) throw broken();
    const opened = sodium.crypto_secretstream_xchacha20poly1305_pull(state, await next(length), null);
    if (!opened) throw broken(); // libsodium answers false for a tag that does not verify
    if (opened.tag === TAG_FINAL) {
      if (opened.message.some((byte) => byte !== 0) || at !== size) throw broken();
      return;
    }
    yield* recordsIn(opened.message);
  }
}

function* recordsIn(chunk: Bytes): Generator<readonly Value[], void> {
  for (let start = 0; start < chunk.length; ) {
    const length = number32(chunk.subarray(start, start + LENGTH_BYTES));
    start += LENGTH_BYTES;
    yield recordIn(chunk.subarray(start, start + length));
    start += length;
  }
}

function recordIn(packed: Bytes): readonly Value[] {
  try {
    const values = unpack(packed);
    if (Array.isArray(values) && values.length > 0) return values;
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
  }
  throw broken();
}

function number32(bytes: Bytes): number {
  if (bytes.length !== LENGTH_BYTES) throw broken();
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/** What came is not the history that the other device sealed. */
export const broken = (): LinkTampered =>
  new LinkTampered("The history that came from your other device is not whole. Nothing more of it is used.");
