/** The libsodium that is delivered: what it keeps does what the whole of it does; the rest is gone. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import whole from "libsodium-wrappers";
import { afterAll, expect, test } from "vitest";
// @ts-expect-error: a plain script, without types
import { fewerFunctions, fewerWrappers } from "../../scripts/sodium.mjs";
// @ts-expect-error: a plain script, without types
import { pruned } from "../../scripts/wasm.mjs";

const modules = new URL("../../node_modules/", import.meta.url);
const source = (name: string) =>
  readFile(fileURLToPath(new URL(`${name}/dist/modules-esm/${name}.mjs`, modules)), "utf8");

const folder = await mkdtemp(join(tmpdir(), "sodium-"));
afterAll(() => rm(folder, { recursive: true }));
const [wrappers, code] = await Promise.all([source("libsodium-wrappers"), source("libsodium")]);
const wrapped: string = fewerWrappers(wrappers);
const short: string = fewerFunctions(code, wrapped);
await writeFile(join(folder, "libsodium.mjs"), short);
await writeFile(join(folder, "wrappers.mjs"), wrapped.replace('from"libsodium"', 'from"./libsodium.mjs"'));
const address = pathToFileURL(join(folder, "wrappers.mjs")).href;
const { default: small }: { default: typeof whole } = await import(/* @vite-ignore */ address);
await Promise.all([whole.ready, small.ready]);

const hex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const some = (length: number, first: number) =>
  Uint8Array.from({ length }, (_, at) => (first + at * 7) & 0xff);

test("it signs and verifies as RFC 8032 says, and refuses what is changed", () => {
  const seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const { privateKey, publicKey } = small.crypto_sign_seed_keypair(seed);
  expect(publicKey).toEqual(hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
  const signature = small.crypto_sign_detached(hex("72"), privateKey);
  expect(signature).toEqual(
    hex(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
  );
  expect(small.crypto_sign_verify_detached(signature, hex("72"), publicKey)).toBe(true);
  expect(small.crypto_sign_verify_detached(signature, hex("73"), publicKey)).toBe(false);
  // A public key of small order.
  expect(small.crypto_sign_verify_detached(signature, hex("72"), new Uint8Array(32))).toBe(false);
});

test("it agrees with the whole of libsodium", () => {
  const [seed, key, nonce] = [some(32, 1), some(32, 5), some(24, 9)];
  const pair = whole.crypto_sign_seed_keypair(seed);
  for (const of of [
    (sodium: typeof whole) => sodium.crypto_sign_ed25519_pk_to_curve25519(pair.publicKey),
    (sodium: typeof whole) => sodium.crypto_sign_ed25519_sk_to_curve25519(pair.privateKey),
    (sodium: typeof whole) => sodium.crypto_scalarmult_base(seed),
    (sodium: typeof whole) => sodium.crypto_scalarmult(seed, whole.crypto_scalarmult_base(key)),
    ...[0, 1, 63, 64, 65, 1000, 70_000].map(
      (length) => (sodium: typeof whole) =>
        sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(some(length, 3), some(17, 4), null, nonce, key),
    ),
  ]) {
    expect(of(small)).toEqual(of(whole));
  }
  const sealed = whole.crypto_aead_xchacha20poly1305_ietf_encrypt("said", "about", null, nonce, key);
  const open = (bytes: Uint8Array) =>
    small.crypto_aead_xchacha20poly1305_ietf_decrypt(null, bytes, "about", nonce, key);
  expect(new TextDecoder().decode(open(sealed))).toBe("said");
  sealed[0] = (sealed[0] ?? 0) ^ 1;
  expect(() => open(sealed)).toThrow();
  expect(() => small.crypto_scalarmult(seed, new Uint8Array(32))).toThrow();
});

test("it seals streams that the whole opens, and opens its", () => {
  const key = some(32, 2);
  for (const [sealing, opening] of [
    [small, whole],
    [whole, small],
  ] as const) {
    const { state, header } = sealing.crypto_secretstream_xchacha20poly1305_init_push(key);
    const parts = [0, 1, 65_536].map((length) =>
      sealing.crypto_secretstream_xchacha20poly1305_push(state, some(length, 8), some(3, 1), 0),
    );
    const other = opening.crypto_secretstream_xchacha20poly1305_init_pull(header, key);
    const opened = parts.map((part) =>
      opening.crypto_secretstream_xchacha20poly1305_pull(other, part, some(3, 1)),
    );
    expect(opened.map((one) => (one ? one.message.length : one))).toEqual([0, 1, 65_536]);
    const again = opening.crypto_secretstream_xchacha20poly1305_init_pull(header, key);
    expect(opening.crypto_secretstream_xchacha20poly1305_pull(again, parts[1] ?? key, null)).toBe(false);
  }
});

test("what nothing calls is gone, and it is much smaller", () => {
  expect("crypto_pwhash" in small).toBe(false);
  expect("crypto_box_easy" in small).toBe(false);
  expect(short.length).toBeLessThan(code.length / 2);
});

test("a module that the pruning does not know ends the build", () => {
  // One function of the type [] -> [], exported as "a"; its body is the instruction 0xfd (vectors), then `end`.
  const module = Uint8Array.of(
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...[1, 4, 1, 0x60, 0, 0],
    ...[2, 1, 0],
    ...[3, 2, 1, 0],
    ...[7, 5, 1, 1, 97, 0, 0],
    ...[9, 1, 0],
    ...[10, 5, 1, 3, 0, 0xfd, 0x0b],
  );
  expect(() => pruned(module, () => true)).toThrow("0xfd");
  expect([...pruned(module, () => false)].slice(-5)).toEqual([1, 3, 0, 0, 11]);
});
