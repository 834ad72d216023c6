/** Values as JSON: bytes, maps, floats and integers beyond 2^53 are tagged, so that nothing is lost. */

import { hex, unhex } from "../src/bytes.ts";
import type { Packable, Value } from "../src/msgpack.ts";
import { Float } from "../src/msgpack.ts";

export type Json = null | boolean | number | string | Json[] | { [tag: string]: Json };

export function plain(value: Packable | undefined): Json {
  if (value instanceof Uint8Array) return { hex: hex(value) };
  if (value instanceof Float) return { float: value.value };
  if (typeof value === "bigint") return { int: String(value) };
  if (value instanceof Map) return { map: [...value].map(([key, item]) => [key, plain(item)]) };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") return plain(Object.values(value));
  return value ?? null;
}

export function whole(value: Json): Value {
  if (Array.isArray(value)) return value.map(whole);
  if (value === null || typeof value !== "object") return value;
  const [tag, inner] = Object.entries(value)[0] ?? [];
  if (tag === "hex") return unhex(String(inner));
  if (tag === "float") return new Float(Number(inner));
  if (tag === "int") return BigInt(String(inner));
  const entries = inner as [string, Json][];
  return new Map(entries.map(([key, item]) => [key, whole(item)]));
}

export const base64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

export const fromBase64 = (data: string): Uint8Array =>
  Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
