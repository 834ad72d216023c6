/**
 * Strict MessagePack: bounded, consumed whole, only plain values.
 *
 * Our own, for the libraries read a float as an integer, take bad UTF-8, doubled keys and bytes that follow, and
 * lose integers beyond 2^53; members must agree on what is malformed. Integers are `number`, beyond 2^53 - 1
 * `bigint`, so that equal integers are `===`. Floats are `Float`. Maps keep their order.
 */

import type { Bytes } from "./bytes.ts";
import { isWellFormed, joined, text, utf8 } from "./bytes.ts";

/** A floating-point number, told apart from an integer. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type Int = number | bigint;
export type Value = null | boolean | Int | Float | string | Bytes | Value[] | ValueMap;
export type ValueMap = Map<string, Value>;

/** What may be packed: also plain objects, in the order of their keys, and read-only lists. */
export type Packable =
  | null
  | boolean
  | Int
  | Float
  | string
  | Bytes
  | readonly Packable[]
  | ReadonlyMap<string, Packable>
  | { readonly [key: string]: Packable };

/** Nesting of arrays and maps: our deepest body has four levels, the rest is room for later kinds. */
export const MAX_DEPTH = 8;
/** Integers of the protocol are unsigned and below 2^63 (docs/PROTOCOL.md section 1). */
export const MAX_INT = 2n ** 63n - 1n;

export type PackingReason = "malformed" | "too_deep" | "too_big";

/** The bytes are not one well-formed value within the bounds; each room raises its own error from it. */
export class PackingError extends Error {
  readonly reason: PackingReason;
  constructor(message: string, reason: PackingReason = "malformed") {
    super(message);
    this.name = "PackingError";
    this.reason = reason;
  }
}

const normal = (value: bigint): Int =>
  value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;

/** The sum, again a `number` where it can be. */
export const plus = (value: Int, more: Int): Int => normal(BigInt(value) + BigInt(more));

export interface Bounds {
  readonly maxDepth: number;
  readonly maxArray?: number;
  readonly maxMap?: number;
  /** Arrays altogether: one costs far more memory than the byte that announces it. */
  readonly maxArrays?: number;
}

/** Reads values one after the other from the front of some bytes. */
export class Reader {
  readonly #bytes: Bytes;
  readonly #view: DataView;
  readonly #bounds: Bounds;
  #at = 0;
  #arrays = 0;

  constructor(bytes: Bytes, bounds: Bounds = { maxDepth: MAX_DEPTH }) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#bounds = bounds;
  }

  get position(): number {
    return this.#at;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The next value; raises PackingError. */
  read(): Value {
    return this.#value(this.#bounds.maxDepth);
  }

  /** The length of the array that begins here; raises PackingError. */
  readArrayHeader(): number {
    const kind = this.#uint(1);
    if (kind >= 0x90 && kind <= 0x9f) return kind & 0x0f;
    if (kind === 0xdc) return this.#uint(2);
    if (kind === 0xdd) return this.#uint(4);
    throw new PackingError("not an array");
  }

  #value(depth: number): Value {
    const kind = this.#uint(1);
    if (kind <= 0x7f) return kind;
    if (kind >= 0xe0) return kind - 0x100;
    if (kind <= 0x8f) return this.#map(kind & 0x0f, depth);
    if (kind <= 0x9f) return this.#array(kind & 0x0f, depth);
    if (kind <= 0xbf) return this.#string(kind & 0x1f);
    switch (kind) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#take(this.#uint(1 << (kind - 0xc4))).slice();
      case 0xca:
        return new Float(this.#view.getFloat32(this.#skip(4)));
      case 0xcb:
        return new Float(this.#view.getFloat64(this.#skip(8)));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (kind - 0xcc));
      case 0xcf:
        return normal(this.#view.getBigUint64(this.#skip(8)));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return normal(this.#view.getBigInt64(this.#skip(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#string(this.#uint(1 << (kind - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 << (kind - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (kind - 0xde)), depth);
      default:
        throw new PackingError("a value has a type that is not used here");
    }
  }

  #array(length: number, depth: number): Value[] {
    this.#bounded(length, this.#bounds.maxArray, depth);
    if (++this.#arrays > (this.#bounds.maxArrays ?? Infinity))
      throw new PackingError("too many arrays", "too_big");
    const result: Value[] = [];
    for (let i = 0; i < length; i++) result.push(this.#value(depth - 1));
    return result;
  }

  #map(length: number, depth: number): ValueMap {
    this.#bounded(length, this.#bounds.maxMap, depth);
    const result: ValueMap = new Map();
    for (let i = 0; i < length; i++) {
      const key = this.#value(0);
      if (typeof key !== "string") throw new PackingError("a map has a key that is not a string");
      if (result.has(key)) throw new PackingError("a map has the same key twice");
      result.set(key, this.#value(depth - 1));
    }
    return result;
  }

  #bounded(length: number, most: number | undefined, depth: number): void {
    if (depth === 0) throw new PackingError("nested too deeply", "too_deep");
    if (length > (most ?? this.#bytes.length - this.#at)) throw new PackingError("longer than its bound");
  }

  #string(length: number): string {
    try {
      return text(this.#take(length));
    } catch (error) {
      if (error instanceof PackingError) throw error;
      throw new PackingError("a string is not UTF-8");
    }
  }

  #take(length: number): Bytes {
    const start = this.#skip(length);
    return this.#bytes.subarray(start, start + length);
  }

  #uint(size: number): number {
    const at = this.#skip(size);
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #skip(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw new PackingError("it ends too early");
    this.#at = start + length;
    return start;
  }
}

/** The one value that these bytes are; raises PackingError for anything else, bytes that follow included. */
export function unpack(bytes: Bytes, bounds?: Bounds): Value {
  const reader = new Reader(bytes, bounds);
  const value = reader.read();
  if (!reader.atEnd) throw new PackingError("bytes follow the value");
  return value;
}

/** Encode in the shortest forms; raises PackingError for a lone surrogate or an integer beyond 64 bits. */
export function pack(value: Packable): Bytes {
  const parts: Bytes[] = [];
  write(value, parts);
  return joined(parts);
}

function write(value: Packable, parts: Bytes[]): void {
  if (value === null) parts.push(Uint8Array.of(0xc0));
  else if (typeof value === "boolean") parts.push(Uint8Array.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "number" || typeof value === "bigint") parts.push(packedInt(value));
  else if (typeof value === "string") writeString(value, parts);
  else if (value instanceof Uint8Array) parts.push(header(value.length, [0xc4, 0xc5, 0xc6]), value);
  else if (value instanceof Float) parts.push(packedFloat(value.value));
  else if (Array.isArray(value)) writeArray(value, parts);
  else writeMap(value instanceof Map ? [...value] : Object.entries(value), parts);
}

function writeArray(values: readonly Packable[], parts: Bytes[]): void {
  const size = values.length;
  parts.push(size < 16 ? Uint8Array.of(0x90 | size) : header(size, [null, 0xdc, 0xdd]));
  for (const value of values) write(value, parts);
}

function writeMap(entries: readonly (readonly [string, Packable])[], parts: Bytes[]): void {
  const size = entries.length;
  parts.push(size < 16 ? Uint8Array.of(0x80 | size) : header(size, [null, 0xde, 0xdf]));
  for (const [key, value] of entries) {
    writeString(key, parts);
    write(value, parts);
  }
}

function writeString(value: string, parts: Bytes[]): void {
  if (!isWellFormed(value)) throw new PackingError("a string holds half a character");
  const bytes = utf8(value);
  parts.push(
    bytes.length < 32 ? Uint8Array.of(0xa0 | bytes.length) : header(bytes.length, [0xd9, 0xda, 0xdb]),
    bytes,
  );
}

/** A length with the first of these type bytes whose 1, 2 or 4 bytes hold it. */
function header(length: number, kinds: readonly [number | null, number, number]): Bytes {
  if (kinds[0] !== null && length < 0x100) return Uint8Array.of(kinds[0], length);
  if (length < 0x1_0000) return Uint8Array.of(kinds[1], length >> 8, length & 0xff);
  const bytes = new Uint8Array(5);
  bytes[0] = kinds[2];
  new DataView(bytes.buffer).setUint32(1, length);
  return bytes;
}

function packedInt(value: Int): Bytes {
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new PackingError("not a whole number");
  const big = BigInt(value);
  if (big >= -32n && big < 0x80n) return Uint8Array.of(Number(big) & 0xff);
  const sizes = big < 0n ? SIGNED : UNSIGNED;
  const found = sizes.find(([bits]) => (big < 0n ? big >= -(2n ** (bits - 1n)) : big < 2n ** bits));
  if (found === undefined) throw new PackingError("an integer beyond 64 bits");
  const [bits, kind] = found;
  const bytes = new Uint8Array(1 + Number(bits) / 8);
  bytes[0] = kind;
  let rest = BigInt.asUintN(Number(bits), big);
  for (let i = bytes.length - 1; i > 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

const UNSIGNED: readonly (readonly [bigint, number])[] = [
  [8n, 0xcc],
  [16n, 0xcd],
  [32n, 0xce],
  [64n, 0xcf],
];
const SIGNED: readonly (readonly [bigint, number])[] = [
  [8n, 0xd0],
  [16n, 0xd1],
  [32n, 0xd2],
  [64n, 0xd3],
];

function packedFloat(value: number): Bytes {
  const bytes = new Uint8Array(9);
  bytes[0] = 0xcb;
  new DataView(bytes.buffer).setFloat64(1, value);
  return bytes;
}
