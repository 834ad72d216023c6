/** What page and Worker say to each other: the page gets messages, never keys. */

import type { Person } from "./conversation.ts";
import type { Message } from "./history.ts";

export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** What the page may ask of the Worker, and what it gets. */
export interface Calls {
  start(options: { readonly url: string; readonly name: string }): {
    readonly portal: string;
    readonly user: string;
    readonly name: string;
  };
  engagements(): readonly { readonly id: string; readonly status: string }[];
  open(engagement: string): { readonly member: boolean };
  people(engagement: string): readonly Person[];
  history(engagement: string, limit: number, before: string | null): readonly Message[];
  send(engagement: string, text: string, replyTo: string | null): string;
  safetyNumber(engagement: string, user: string): string;
  verify(engagement: string, user: string, number: string): null;
  alarm(engagement: string): Failure | null;
  goOn(engagement: string): null;
  destroy(): null;
}

export type Method = keyof Calls;

export type ToWorker =
  | { readonly kind: "call"; readonly id: number; readonly method: Method; readonly args: readonly unknown[] }
  | { readonly kind: "token"; readonly id: number; readonly token: string | null };

/** Things that happen. `waiting`: another tab has this device; this one takes over when that is closed. */
export type Happening =
  | { readonly event: "waiting" }
  | { readonly event: "online" }
  | { readonly event: "offline"; readonly failure: Failure | null }
  | { readonly event: "failed"; readonly failure: Failure }
  | { readonly event: "message"; readonly engagement: string; readonly message: Message }
  | { readonly event: "changed"; readonly engagement: string }
  | { readonly event: "alarm"; readonly engagement: string; readonly failure: Failure };

export type ToPage =
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly failure: Failure }
  | { readonly kind: "token"; readonly id: number }
  | { readonly kind: "event"; readonly happening: Happening };
