/** One item of the history, as templates; what it says is bound as text and never as markup. */

import { html, nothing } from "lit";
import type { Item, TextItem } from "../api.ts";
import { REACTIONS } from "../content/amendments.ts";
import { excerpt, isoOf, sameDay, timeOf } from "./format.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { isNote, note, summary } from "./model/sentences.ts";
import { written } from "./text.ts";
import { words } from "./words.ts";

/** Messages of one person within this time stand together. */
const TOGETHER_MS = 5 * 60_000;

export interface Around {
  readonly room: Room;
  readonly before: Item | undefined;
  readonly after: Item | undefined;
  /** It is the one that the Tab key reaches. */
  readonly tab: boolean;
}

export function messageRow(item: Item, around: Around) {
  // An invitation is no longer shown once it is said how the call went.
  if (item.kind === "call.invite" && around.room.history.callOver(item.call)) return nothing;
  return isNote(item) ? noteRow(item, around) : bubble(item, around);
}

const together = (one: Item | undefined, other: Item): boolean =>
  one !== undefined &&
  !isNote(one) &&
  one.sender === other.sender &&
  Math.abs(other.sentMs - one.sentMs) < TOGETHER_MS &&
  sameDay(one.sentMs, other.sentMs);

/** Of two people, the one on the other side needs no name over each message: it stands above them all. */
const isTheOther = ({ sender }: Item, { others }: Room): boolean =>
  others.length === 1 && others[0]?.user === sender;

function bubble(item: Item, around: Around) {
  const { room, tab } = around;
  const first = !together(around.before, item);
  const last = !(around.after !== undefined && together(item, around.after));
  const name = room.nameOf(item.sender);
  const shape = `${item.mine ? "mine" : "theirs"}${first ? " first" : ""}${last ? " last" : ""}`;
  return html`<article class="message ${shape}" part="message ${item.mine ? "message-mine" : "message-theirs"}"
      data-id=${item.id} tabindex=${tab ? 0 : -1} aria-label=${words.message.from(name, timeOf(item.sentMs))}>
    ${first && !item.mine && !isTheOther(item, room) ? html`<div class="sender" aria-hidden="true"><bdi>${name}</bdi></div>` : nothing}
    <div class="line">
      <div class="bubble ${item.kind === "retracted" ? "gone" : ""}" part="bubble">
        ${item.kind === "text" && item.replyTo !== null ? quote(item, around) : nothing}
        ${said(item, around)}
        <div class="meta">
          ${item.edited ? html`<span>${words.message.edited}</span>` : nothing}
          <time datetime=${isoOf(item.sentMs)}>${timeOf(item.sentMs)}</time>
          ${item.mine && item.kind !== "retracted" ? mark(item) : nothing}
        </div>
      </div>
      ${item.kind === "retracted" ? nothing : moreButton(item, name, tab)}
    </div>
    ${reactions(item, around)}
  </article>`;
}

function said(item: Item, { room, tab }: Around) {
  switch (item.kind) {
    case "text":
      return written(item.text, tab);
    case "file":
      return html`<cr-file .room=${room} .item=${item} .tab=${tab}></cr-file>`;
    case "checkin":
      return html`<cr-check-in .room=${room} .item=${item} .tab=${tab}></cr-check-in>`;
    case "checkin.answer":
      return html`<cr-answers .room=${room} .item=${item} .tab=${tab}></cr-answers>`;
    case "retracted":
      return html`<p class="written">${item.mine ? words.message.retractedMine : words.message.retracted(room.nameOf(item.sender))}</p>`;
    case "unknown":
      return html`${item.text === "" ? nothing : written(item.text, tab)}
        <p class="hint">${item.critical ? words.message.critical : words.message.unknown}</p>`;
    default:
      return nothing;
  }
}

const mark = (item: Item) =>
  html`<span class="mark ${item.state}">${icon(item.state)}<span class="sr">${words.message.states[item.state]}</span></span>`;

const moreButton = (item: Item, name: string, tab: boolean) =>
  html`<button type="button" class="more quiet round" data-menu=${item.id} tabindex=${tab ? 0 : -1} aria-haspopup="menu"
    aria-label=${words.message.more(name, timeOf(item.sentMs))}>${icon("more")}</button>`;

function quote(item: TextItem, { room, tab }: Around) {
  const quoted = item.replyTo === null ? null : room.history.quote(item.replyTo);
  const name = quoted ? room.nameOf(quoted.sender) : words.someone;
  const text = quoted ? excerpt(summary(room, quoted)) : words.message.quoteGone;
  return html`<button type="button" class="quote" tabindex=${tab ? 0 : -1} data-jump=${item.replyTo ?? ""}
    aria-label=${words.message.jumpTo(name, text)}>
    ${quoted ? html`<strong><bdi>${name}</bdi></strong>` : nothing} <span dir="auto">${text}</span>
  </button>`;
}

function reactions(item: Item, { room, tab }: Around) {
  const known = item.reactions.filter(({ emoji, users }) => users.length > 0 && isReaction(emoji));
  if (known.length === 0) return nothing;
  const me = room.relay.me.user;
  return html`<div class="reactions">${known.map(({ emoji, users }) => {
    const mine = users.includes(me);
    const names = users.map((user) => room.nameOf(user)).join(", ");
    return html`<button type="button" class="reaction" aria-pressed=${mine ? "true" : "false"} tabindex=${tab ? 0 : -1}
      aria-label=${words.message.reaction(users.length > 1 ? `${emoji} ${users.length}` : emoji, names, mine)}
      @click=${() => room.attempt(() => room.api.react(item.id, emoji, !mine))}>
      <span aria-hidden="true">${emoji}${users.length > 1 ? html` <b>${users.length}</b>` : nothing}</span></button>`;
  })}</div>`;
}

export const isReaction = (emoji: string): boolean => REACTIONS.some((one) => one === emoji);

/** What is not said by anybody: calls, names, gaps. */
function noteRow(item: Item, { room, tab }: Around) {
  const text = excerpt(note(item, room), 600);
  const missed = item.kind === "call.ended" && item.missed;
  return html`<article class="note ${item.kind === "gap" ? "gap" : ""} ${missed ? "missed" : ""}" data-id=${item.id} tabindex=${tab ? 0 : -1}
      aria-label=${text.slice(0, 200)}>
    ${item.kind === "gap" ? icon("gap") : item.kind.startsWith("call") ? icon("phone") : nothing}
    <span dir="auto">${text}</span>
    <time datetime=${isoOf(item.sentMs)}>${timeOf(item.sentMs)}</time>
    ${missed ? html`<button type="button" class="link" tabindex=${tab ? 0 : -1} @click=${() => room.startCall(false)}>${words.call.callBack}</button>` : nothing}
  </article>`;
}
