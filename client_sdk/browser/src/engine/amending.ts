/** Edits, retractions and reactions on their way into the history (docs/PROTOCOL.md 9.1). */

import { hex, unhex } from "../bytes.ts";
import type { Amendment } from "../content/amending.ts";
import { amended, mayAmend, thatCount } from "../content/amending.ts";
import { retract } from "../content/amendments.ts";
import { UsageError } from "../errors.ts";
import type { Stored, StoredAct } from "./history.ts";
import { parseActs, serializeActs, storedKind } from "./history.ts";
import { waitingName } from "./sending.ts";
import type { Work } from "./work.ts";

/**
 * Amendments to messages that are not here: what comes while a history is on its way to a new device. A member
 * who floods displaces only what nobody can see.
 */
const MOST_HELD = 256;

const isAbout = (act: StoredAct): string => hex(act.what.message);

const WRONG: Readonly<Record<Amendment["kind"], string>> = {
  edit: "Only a text of yours can be changed.",
  retract: "Only what you said can be taken back.",
  reaction: "There is no reacting to this.",
};

/** Whether this person may do this to that item; raises UsageError. */
export function checkAmendable(target: Stored | null, what: Amendment, user: string): void {
  if (target === null || target.notice !== null) {
    throw new UsageError("There is no such message in the history.");
  }
  if (target.envelope === null) {
    throw new UsageError("This message was taken back: nothing more can be done with it.");
  }
  if (!mayAmend({ user, what }, target.user, storedKind(target))) throw new UsageError(WRONG[what.kind]);
}

/** An amendment has its position: do as it says. */
export async function take(work: Work, act: StoredAct): Promise<void> {
  if ((await work.find(act.id)) !== null) return; // another message has this id: nobody takes its place
  const target = await work.find(isAbout(act));
  if (target === null) {
    await hold(work, act);
    return;
  }
  const kind = storedKind(target);
  if (target.notice !== null || !mayAmend(act, target.user, kind)) return;
  const other = target.acts.find((one) => one.id === act.id);
  if (other !== undefined && other.user !== act.user) return;
  const acts = [...target.acts.filter((one) => one.id !== act.id), act];
  work.set(settled({ ...target, acts }));
}

/** An amendment stands elsewhere in the stream now. */
export async function move(work: Work, id: string, about: string, seq: number): Promise<void> {
  const target = await work.find(about);
  const act = (target?.acts ?? (await heldActs(work))).find((one) => one.id === id);
  if (act === undefined) return;
  if (target === null) await hold(work, { ...act, seq });
  else await take(work, { ...act, seq });
}

/** The relay lost an amendment: what it did stays done, but whatever the stream has behind `seq` counts for more. */
export async function fallBack(work: Work, id: string, about: string, seq: number): Promise<void> {
  const target = await work.find(about);
  if (target === null) return;
  const at = (act: StoredAct) => Math.max(1, Math.min(act.seq, seq));
  const acts = target.acts.map((act) => (act.id === id ? { ...act, seq: at(act) } : act));
  work.set({ ...target, acts });
}

/** A message whose author has taken it back, if it is one that can be. */
export function erased(target: Stored): Stored {
  const act = { user: target.user, what: retract(unhex(target.id)) };
  const may = target.notice === null && mayAmend(act, target.user, storedKind(target));
  return may ? settled({ ...target, envelope: null }) : target;
}

/** A message of ours that waits is amended here, before the amendment has a position. */
export async function note(work: Work, act: StoredAct): Promise<void> {
  const target = await work.find(isAbout(act));
  if (target !== null) work.set({ ...target, acts: [...target.acts, act] });
}

/** An amendment of ours can never be sent: it did not happen. */
export async function withdraw(work: Work, id: string, about: string): Promise<void> {
  const target = await work.find(about);
  if (target !== null) work.set({ ...target, acts: target.acts.filter((act) => act.id !== id) });
}

/** A message has come; if amendments to it came before, they count now. */
export async function arrived(work: Work, id: string): Promise<void> {
  const held = await heldActs(work);
  const its = held.filter((act) => isAbout(act) === id);
  if (its.length === 0) return;
  putHeld(
    work,
    held.filter((act) => isAbout(act) !== id),
  );
  for (const act of its) await take(work, act);
}

/** The message as its placed amendments say; those that do not count are forgotten, as is what they replace. */
function settled(target: Stored): Stored {
  const kind = storedKind(target);
  const mine = target.acts.filter((act) => act.seq === 0);
  const placed = thatCount(target.acts.filter((act) => act.seq > 0 && mayAmend(act, target.user, kind)));
  const became = amended(placed, target.user, kind);
  if (became.retracted || target.envelope === null) {
    return { ...target, envelope: null, acts: placed.filter(({ what }) => what.kind === "retract") };
  }
  const { content } = target.envelope;
  const acts = [...placed, ...mine];
  if (became.text === null || content.kind !== "text") return { ...target, acts };
  // The earlier words are gone; what a later version added to the text gives way if it has to.
  const text = { ...content, text: became.text };
  return { ...target, acts, envelope: { ...target.envelope, content: text } };
}

/** Drop a message of ours that has never left this device, as if unsaid; false if it may have. */
export async function takeBack(work: Work, id: string): Promise<boolean> {
  const { box, rejoinedAt, reoffers } = work.state;
  const found = await work.find(id);
  const item = box.items.find((one) => hex(one.id) === id);
  if (found === null || item === undefined || item.counter > 0 || found.seq > 0) return false;
  // It is said again after a rejoin: some may have it. The rejoin's second is kept, and all of that second counts.
  if (found.sentMs < (rejoinedAt + 1) * 1000) return false;
  if (reoffers.includes(id) || (await work.wasEncrypted(item.id))) return false;
  const gone = new Set([id, ...found.acts.map((act) => act.id)]);
  const kept = box.items.filter((one) => !gone.has(hex(one.id)));
  work.change({ box: box.keeping(kept) });
  for (const one of box.items) if (gone.has(hex(one.id))) work.put(waitingName(work, one.id), null);
  work.erase(found);
  return true;
}

const heldName = (work: Work): string => `held/${work.engagement}`;

async function heldActs(work: Work): Promise<readonly StoredAct[]> {
  const data = await work.read(heldName(work));
  return data === null ? [] : parseActs(data);
}

const putHeld = (work: Work, acts: readonly StoredAct[]): void =>
  work.put(heldName(work), acts.length === 0 ? null : serializeActs(acts));

async function hold(work: Work, act: StoredAct): Promise<void> {
  const others = (await heldActs(work)).filter((one) => one.id !== act.id);
  putHeld(work, [...others, act].slice(-MOST_HELD));
}
