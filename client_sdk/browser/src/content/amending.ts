/**
 * What becomes of a message by the amendments to it: the same on every device, in whatever order they come.
 *
 * The rules rest on three facts that all devices share: the author's user, the message's kind, and the position
 * of each amendment in the stream. So they are functions of a set, and a device may forget what does not count.
 */

import type { Edit, Reaction, Retract } from "./amendments.ts";
import { REACTIONS } from "./amendments.ts";

export type Amendment = Edit | Retract | Reaction;

export const AMENDMENT_KINDS: ReadonlySet<string> = new Set(["edit", "retract", "reaction"]);
const EDITABLE_KINDS: ReadonlySet<string> = new Set(["text"]);
/** Kinds that nobody amends: they report what happened, or are amendments themselves. */
const FIXED_KINDS: ReadonlySet<string> = new Set([
  ...AMENDMENT_KINDS,
  "receipt",
  "profile",
  "call.invite",
  "call.ended",
]);

/** One amendment by one user; `seq` 0 waits here, behind all that has a position, in the order of `order`. */
export interface Act {
  readonly seq: number;
  readonly order: number;
  readonly user: string;
  readonly what: Amendment;
}

/** What became of a message; `text` is null if it was never edited. */
export interface Amended {
  readonly retracted: boolean;
  readonly text: string | null;
  /** In the order of `REACTIONS`. */
  readonly reactions: readonly { readonly emoji: string; readonly users: readonly string[] }[];
}

/** Whether this user may do this to a message of this kind: only its author edits and retracts it. */
export function mayAmend({ user, what }: Pick<Act, "user" | "what">, author: string, kind: string): boolean {
  if (FIXED_KINDS.has(kind)) return false;
  if (what.kind === "reaction") return true;
  return user === author && (what.kind === "retract" || EDITABLE_KINDS.has(kind));
}

const isBefore = (one: Act, other: Act): boolean => {
  const [a, b] = [one.seq || Number.MAX_SAFE_INTEGER, other.seq || Number.MAX_SAFE_INTEGER];
  if (a !== b) return a < b;
  return one.seq > 0 && one.user !== other.user ? one.user < other.user : one.order < other.order;
};

/**
 * Those that still matter: of each user the newest edit, the first retraction, the last of each reaction. What is
 * dropped will never matter again.
 */
export function thatCount<A extends Act>(acts: readonly A[]): readonly A[] {
  const kept = new Map<string, A>();
  for (const act of acts) {
    const emoji = act.what.kind === "reaction" ? act.what.emoji : "";
    const slot = `${act.what.kind} ${emoji} ${act.user}`;
    const other = kept.get(slot);
    if (other === undefined || isBefore(act, other) === (act.what.kind === "retract")) kept.set(slot, act);
  }
  return acts.filter((act) => [...kept.values()].includes(act));
}

/** What these amendments make of a message of this kind by this author. */
export function amended(acts: readonly Act[], author: string, kind: string): Amended {
  const counting = thatCount(acts.filter((act) => mayAmend(act, author, kind))).toSorted((one, other) =>
    isBefore(one, other) ? -1 : 1,
  );
  if (counting.some(({ what }) => what.kind === "retract")) {
    return { retracted: true, text: null, reactions: [] };
  }
  let text: string | null = null;
  const users = new Map<string, string[]>(REACTIONS.map((emoji) => [emoji, []]));
  for (const { what, user } of counting) {
    if (what.kind === "edit") text = what.text;
    if (what.kind === "reaction" && what.on) users.get(what.emoji)?.push(user);
  }
  const reactions = [...users].filter(([, given]) => given.length > 0);
  return { retracted: false, text, reactions: reactions.map(([emoji, given]) => ({ emoji, users: given })) };
}
