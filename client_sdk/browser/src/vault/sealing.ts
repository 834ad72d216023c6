/** Records are sealed under a WebCrypto key that cannot be taken out of the browser. */

import type { Bytes } from "../bytes.ts";
import { concat, utf8 } from "../bytes.ts";
import { VaultCorrupt } from "../errors.ts";

const NONCE_BYTES = 12;
const ALGORITHM = "AES-GCM";

type Buffers = Uint8Array<ArrayBuffer>;

/** A fresh key: IndexedDB stores it, no script gets its bytes. */
export const newVaultKey = (): Promise<CryptoKey> =>
  crypto.subtle.generateKey({ name: ALGORITHM, length: 256 }, false, ["encrypt", "decrypt"]);

/** The record sealed; it opens under its own name alone. */
export async function sealRecord(key: CryptoKey, name: string, plain: Bytes): Promise<Bytes> {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt(
    { name: ALGORITHM, iv, additionalData: utf8(name) as Buffers },
    key,
    plain as Buffers,
  );
  return concat(iv, new Uint8Array(sealed));
}

/** The record; raises VaultCorrupt. */
export async function openRecord(key: CryptoKey, name: string, sealed: Bytes): Promise<Bytes> {
  const iv = sealed.slice(0, NONCE_BYTES) as Buffers;
  const additionalData = utf8(name) as Buffers;
  try {
    const body = sealed.slice(NONCE_BYTES) as Buffers;
    return new Uint8Array(await crypto.subtle.decrypt({ name: ALGORITHM, iv, additionalData }, key, body));
  } catch {
    throw new VaultCorrupt(
      "What this browser stored is damaged: nothing of it is used. Set this browser up anew.",
    );
  }
}
