/** What the transfers need of the engine. */

import type { Transfer } from "../api.ts";
import type { Granted } from "../attachments/retrying.ts";
import type { Spools } from "../attachments/spool.ts";
import type { Bytes } from "../bytes.ts";
import type { File as Named } from "../content/messages.ts";
import type { Environment } from "../environment.ts";
import type { Vault, Write } from "../vault/vault.ts";

export interface FilesHost {
  readonly vault: Pick<Vault, "get" | "scan" | "write">;
  readonly environment: Environment;
  readonly spools: Spools;
  /** A token for the blobs of an engagement; raises RelayError. */
  access(engagement: string): Promise<Granted>;
  /** Queue the message about a file under this id, and write this, in one step. */
  say(engagement: string, file: Named, id: Bytes, writes: readonly Write[]): Promise<void>;
  /** Whether there is a message of this id. */
  said(engagement: string, id: string): Promise<boolean>;
  /** What the message about a file says; raises UsageError if it is about none. */
  fileIn(engagement: string, id: string): Promise<Named>;
  /** Resolves when the relay is there again, or after so many milliseconds, or when `signal` is aborted. */
  connectionOr(ms: number, signal: AbortSignal): Promise<void>;
  tell(transfer: Transfer): void;
}

/** After attempts that moved nothing. */
export const RETRY_MS = 10_000;
/** At once: more only make each other slower, and the relay takes four. */
export const MAX_TRANSFERS = 2;
