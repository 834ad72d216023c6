/** Stable error codes of the protocol (docs/PROTOCOL.md section 2.3) and the error of every parser here. */

import { CoachRelayError } from "../errors.ts";

/** Codes after which the connection ends. */
export const ENDING_CODES = [
  "unsupported_version",
  "malformed",
  "too_big",
  "too_deep",
  "out_of_order",
  "token_invalid",
  "token_expired",
  "token_revoked",
  "signature_invalid",
  "device_revoked",
  "device_limit",
  "device_foreign",
  "quota_exceeded",
  "handshake_timeout",
  "idle_timeout",
  "slow_reader",
  "replaced",
  "draining",
] as const;

/** Codes of an append's refusal, or of one frame's. */
export const STAYING_CODES = [
  "unknown_frame",
  "rate_limited",
  "not_found",
  "internal",
  "store_unavailable",
  "store_full",
  "stale",
  "ahead",
  "counter_gap",
  "duplicate",
  "conflict",
  "not_member",
  "not_on_roster",
  "too_many_devices",
  "ended",
  "entry_too_big",
  "bundle_invalid",
  "blob_not_found",
] as const;

export type ErrorCode = (typeof ENDING_CODES)[number] | (typeof STAYING_CODES)[number];

/** What a peer sent breaks the protocol. The message is a fixed phrase: it never repeats what was sent. */
export class WireError extends CoachRelayError {
  readonly code: ErrorCode;
  override readonly fault = "remote";

  constructor(code: ErrorCode, detail: string) {
    super(detail);
    this.code = code;
  }
}
