/** A link that goes on after this device has its account: what it still waits for. */

import type { Bytes } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { Vault, Write } from "../vault/vault.ts";

const FORMAT = 1;
const ARRIVAL = "arrival";

/** `until` is in Unix seconds: what the other device leaves at the relay is kept no longer. */
export interface ArrivalRecord {
  readonly secret: Bytes;
  readonly name: string;
  readonly until: number;
}

export const arrivalWrite = (record: ArrivalRecord | null): Write => ({
  name: ARRIVAL,
  value: record && pack([FORMAT, record.secret, record.name, record.until]),
});

/** The link that this device is in; null if there is none. Raises RecordInvalid. */
export async function readArrival(vault: Vault): Promise<ArrivalRecord | null> {
  const data = await vault.get(ARRIVAL);
  if (data === null) return null;
  try {
    const values = unpack(data);
    const [format, secret, name, until] = Array.isArray(values) ? values : [];
    if (
      format === FORMAT &&
      secret instanceof Uint8Array &&
      typeof name === "string" &&
      typeof until === "number"
    ) {
      return { secret, name, until };
    }
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
  }
  throw new RecordInvalid("What this browser stored about its linking is damaged. Link it anew.");
}
