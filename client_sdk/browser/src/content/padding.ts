/** How long a padded message is, so that its length tells little (docs/PROTOCOL.md section 7). */

import { UsageError } from "../errors.ts";

/** Every short message looks alike: a yes, a no and a receipt have one length. */
const SHORTEST = 256;

/** 256 up to 256, above that Padmé (Nikitin and others, PETS 2019): at most 12 % longer. */
export function paddedLength(n: number): number {
  if (!Number.isSafeInteger(n) || n < 0) throw new UsageError("a length is a whole number from 0");
  if (n <= SHORTEST) return SHORTEST;
  const exponent = bitLength(n) - 1;
  const step = 2 ** (exponent - bitLength(exponent));
  return Math.ceil(n / step) * step;
}

/** Exact also beyond 32 bits, where Math.log2 is not. */
const bitLength = (n: number): number => n.toString(2).length;
