/** When to say that messages have arrived, if nothing else is being said (docs/PROTOCOL.md section 9). */

/** At most one receipt in five seconds: soon enough for a person, too rare to tell the relay their habits. */
export const INTERVAL_MS = 5000;

/** Whether a receipt is owed in one conversation, and when one was last sent; times in milliseconds. */
export interface Receipts {
  readonly owed: boolean;
  readonly lastMs: number | null;
}

export const NO_RECEIPTS: Receipts = { owed: false, lastMs: null };

/** A peer's message was stored; a receipt is never owed for a receipt. */
export const received = (receipts: Receipts, isReceipt: boolean): Receipts =>
  isReceipt ? receipts : { ...receipts, owed: true };

/** Some message of ours was encrypted, and attested everything: no receipt is owed any more. */
export const sent = (receipts: Receipts): Receipts => ({ ...receipts, owed: false });

/** A receipt was encrypted. */
export const receiptSent = (nowMs: number): Receipts => ({ owed: false, lastMs: nowMs });

/** When a receipt is to be sent: a time not before `nowMs`; null if none is owed. */
export function dueMs({ owed, lastMs }: Receipts, nowMs: number): number | null {
  if (!owed) return null;
  if (lastMs === null || lastMs > nowMs) return nowMs; // a clock that was set back must not silence us
  return Math.max(nowMs, lastMs + INTERVAL_MS);
}
