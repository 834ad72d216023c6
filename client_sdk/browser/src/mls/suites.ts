/**
 * The suites of conversations, on ts-mls with what it needs repaired (docs/MLS.md): X-Wing under the number of the
 * range for private use, `external_pub` as a vector, signatures by libsodium, which refuses what noble lets pass.
 * The other repairs are patches of the package (patches/, applied after each install).
 */

import type { Ciphersuite, CiphersuiteImpl, CiphersuiteName } from "ts-mls";
import { getCiphersuiteFromName, getCiphersuiteImpl, nobleCryptoProvider } from "ts-mls";
import type { Bytes } from "../bytes.ts";
import { ed25519Sign, ed25519Verifies } from "../crypto.ts";
import { UsageError } from "../errors.ts";

export const SUITE_3 = 0x0003;
export const SUITE_XWING = 0xf00e;
/** What this SDK speaks, the stronger first. */
export const KNOWN_SUITES = [SUITE_XWING, SUITE_3] as const;
export type SuiteId = (typeof KNOWN_SUITES)[number];

/** ts-mls writes a suite it has no name for as its number. */
const XWING_NAME = String(SUITE_XWING) as CiphersuiteName;
const NAMES: Readonly<Record<SuiteId, CiphersuiteName>> = {
  [SUITE_XWING]: XWING_NAME,
  [SUITE_3]: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
};
const KEY_LENGTHS: Readonly<Record<SuiteId, number>> = { [SUITE_XWING]: 1216, [SUITE_3]: 32 };

export const suiteName = (suite: SuiteId): CiphersuiteName => NAMES[suite];

/** The suite with this name of ts-mls; undefined if it is not one of ours. */
export const suiteOfName = (name: string): SuiteId | undefined =>
  KNOWN_SUITES.find((id) => NAMES[id] === name);

const implementations = new Map<SuiteId, Promise<CiphersuiteImpl>>();

/** The suite's primitives. */
export function implementation(suite: SuiteId): Promise<CiphersuiteImpl> {
  const known = implementations.get(suite) ?? make(suite);
  implementations.set(suite, known);
  return known;
}

async function make(suite: SuiteId): Promise<CiphersuiteImpl> {
  const base = await getCiphersuiteImpl(described(suite), nobleCryptoProvider);
  const hpke = {
    ...base.hpke,
    importPublicKey: (key: Bytes) => base.hpke.importPublicKey(withoutHeader(key, KEY_LENGTHS[suite])),
  };
  const signature = {
    ...base.signature,
    sign: async (key: Bytes, message: Bytes) => ed25519Sign(key, message),
    verify: async (key: Bytes, message: Bytes, signed: Bytes) => ed25519Verifies(key, message, signed),
  };
  return { ...base, hpke, signature, name: NAMES[suite] };
}

function described(suite: SuiteId): Ciphersuite {
  if (suite === SUITE_3) return getCiphersuiteFromName(NAMES[suite]);
  return { ...getCiphersuiteFromName("MLS_256_XWING_CHACHA20POLY1305_SHA512_Ed25519"), name: XWING_NAME };
}

/** `HPKEPublicKey external_pub<V>` (RFC 9420 section 12.4.3.2): its length in front, as a shortest varint. */
export const withHeader = (key: Bytes): Bytes => Uint8Array.from([...header(key.length), ...key]);

const header = (length: number): readonly number[] =>
  length < 64 ? [length] : [0x40 | (length >> 8), length & 0xff];

/** A key as ts-mls gives it to HPKE: bare, or (from `external_pub`) with its length in front. */
function withoutHeader(key: Bytes, length: number): Bytes {
  if (key.length === length) return key;
  const start = header(length);
  const fits = key.length === length + start.length && start.every((byte, at) => key[at] === byte);
  if (!fits) throw new UsageError("A public key has another length than its suite's.");
  return key.subarray(start.length);
}

/** Whether a conversation may move to this suite from that one. */
export function isStronger(suite: number, than: number): boolean {
  const order: readonly number[] = KNOWN_SUITES;
  return order.includes(suite) && order.includes(than) && order.indexOf(suite) < order.indexOf(than);
}
