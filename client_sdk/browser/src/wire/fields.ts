/** Single fields of frames: each reads what MessagePack gave into a typed value; all raise WireError. */

import type { Bytes } from "../bytes.ts";
import type { Packable, Value } from "../msgpack.ts";
import { WireError } from "./errors.ts";

/** How one field is read and written; what is written is not checked again. */
export interface Field<T> {
  read(value: Value): T;
  write(value: T): Packable;
}

export type Of<F> = F extends Field<infer T> ? T : never;

const malformed = (detail: string): WireError => new WireError("malformed", detail);

/** A field whose value is packed as it is. */
export const plain = <T extends Packable>(read: (value: Value) => T): Field<T> => ({
  read,
  write: (value) => value,
});

/** Beyond 2^53 - 1 nothing of a relay's is real: no stream, time or counter gets there. */
const integer = (least: number, detail: string) =>
  plain((value) => {
    if (typeof value === "number" && value >= least) return value;
    throw malformed(detail);
  });

export const uint = integer(0, "an unsigned integer was due");
export const positive = integer(1, "a positive integer was due");

export const boolean = plain((value) => {
  if (typeof value === "boolean") return value;
  throw malformed("a boolean was due");
});

/** What an entry is to the relay: 0 a message, 1 a commit. */
export type EntryKind = 0 | 1;
export const MESSAGE: EntryKind = 0;
export const COMMIT: EntryKind = 1;

export const entryKind = plain((value): EntryKind => {
  if (value === 0 || value === 1) return value;
  throw malformed("an entry kind was due");
});

export const binary = (longest: number): Field<Bytes> =>
  plain((value) => {
    if (!(value instanceof Uint8Array)) throw malformed("bytes were due");
    if (value.length > longest) throw new WireError("too_big", "bytes beyond their bound");
    return value;
  });

export const fixed = (length: number): Field<Bytes> =>
  plain((value) => {
    if (value instanceof Uint8Array && value.length === length) return value;
    throw malformed("bytes of a fixed length were due");
  });

/** A string of at most so many characters (code points, as the relay counts them). */
export const text = (longest: number): Field<string> =>
  plain((value) => {
    if (typeof value !== "string") throw malformed("a string was due");
    if (value.length > longest && [...value].length > longest) {
      throw new WireError("too_big", "a string beyond its bound");
    }
    return value;
  });

export const oneOf = <const T extends string>(...choices: readonly T[]): Field<T> =>
  plain((value) => {
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw malformed("a string outside its list");
    return found;
  });

/** A field that one of the id parsers reads. */
export const id = <T extends Packable>(parse: (value: unknown) => T): Field<T> => plain(parse);

export const optional = <T>(field: Field<T>): Field<T | null> => ({
  read: (value) => (value === null ? null : field.read(value)),
  write: (value) => (value === null ? null : field.write(value)),
});

export const many = <T>(field: Field<T>, most: number, least = 0): Field<readonly T[]> => ({
  read: (value) => {
    if (!Array.isArray(value)) throw malformed("an array was due");
    if (value.length > most) throw new WireError("too_big", "an array beyond its bound");
    if (value.length < least) throw malformed("an array with too few elements");
    return value.map((element) => field.read(element));
  },
  write: (values) => values.map((value) => field.write(value)),
});

export type Struct<S> = { readonly [K in keyof S]: Of<S[K]> };

/** An array with exactly these fields, in this order, as an object. */
export function record<S extends Readonly<Record<string, unknown>>>(shape: S): Field<Struct<S>> {
  const fields = Object.entries(shape) as [string, Field<unknown>][];
  return {
    read: (value) => {
      if (!Array.isArray(value)) throw malformed("an array was due");
      if (value.length !== fields.length) throw malformed("a wrong number of fields");
      const entries = fields.map(([name, field], i) => [name, field.read(value[i] ?? null)]);
      return Object.fromEntries(entries) as Struct<S>;
    },
    write: (struct) => fields.map(([name, field]) => field.write(struct[name as keyof S])),
  };
}
