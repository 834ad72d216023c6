/** What an item of the history says, in one line of plain text. */

import type { CallEndedItem, Item } from "../../api.ts";
import { lengthOf, shownName } from "../format.ts";
import { words } from "../words.ts";
import type { Room } from "./room.ts";

const NOTES: ReadonlySet<Item["kind"]> = new Set(["profile", "call.invite", "call.ended", "gap"]);

/** Whether nobody says it: calls, names, gaps. */
export const isNote = ({ kind }: Item): boolean => NOTES.has(kind);

/** An item in one line of plain text. */
export function summary(room: Room, item: Item): string {
  const name = room.nameOf(item.sender);
  switch (item.kind) {
    case "text":
    case "gap":
    case "unknown":
      return item.text;
    case "file":
      return item.name;
    case "checkin":
      return `${words.checkIn.title}: ${item.prompt}`;
    case "checkin.answer":
      return words.checkIn.answersUnknown;
    case "call.invite":
      return words.call.invited(name);
    case "call.ended":
      return item.missed ? words.call.missed(name) : outcomeOf(item.outcome);
    case "profile":
      return words.message.profile(shownName(item.name));
    case "retracted":
      return words.message.retracted(name);
  }
}

/** How a call went; a name that is none, from whoever made it up, is just "ended". */
export const outcomeOf = (outcome: string): string =>
  Object.entries(words.call.outcomes).find(([name]) => name === outcome)?.[1] ?? words.call.rangOut;

/** A note as it stands in the history. */
export function note(item: Item, room: Room): string {
  if (item.kind === "call.ended") return callText(item, room);
  if (item.kind === "call.invite" && item.mine) return words.call.invitedMine;
  return summary(room, item);
}

function callText(item: CallEndedItem, room: Room): string {
  if (item.missed) return words.call.missed(room.nameOf(item.sender));
  const outcome = outcomeOf(item.outcome);
  return item.outcome === "answered" ? `${outcome}, ${lengthOf(item.seconds)}` : outcome;
}

/** What is read aloud when it comes. */
export function announcement(room: Room, item: Item): string {
  if (isNote(item)) return note(item, room);
  const said = summary(room, item);
  const namesWho = item.sender === "" || item.kind === "retracted";
  return namesWho ? said : words.history.newsFrom(room.nameOf(item.sender), said);
}
