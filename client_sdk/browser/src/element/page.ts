/** One page of the history; drawn only near what is in view, a space of its height otherwise. */

import type { PropertyValues } from "lit";
import { html, nothing } from "lit";
import type { Item } from "../api.ts";
import { dayOf, sameDay } from "./format.ts";
import { messageRow } from "./message.ts";
import type { Page } from "./model/history.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

/** How high a message is, until it has been drawn once. */
const GUESSED_PX = 72;

export class HistoryPage extends Plain {
  static override properties = {
    room: { attribute: false },
    page: { attribute: false },
    earlier: { attribute: false },
    later: { attribute: false },
    active: { attribute: false },
    unread: { attribute: false },
    people: { attribute: false },
    day: { attribute: false },
    live: { attribute: false },
    drawn: { attribute: false },
  };
  declare room: Room;
  declare page: Page;
  declare earlier: Item | undefined;
  declare later: Item | undefined;
  /** The item that the Tab key reaches, if it is on this page. */
  declare active: string | null;
  declare unread: string | null;
  declare people: unknown;
  /** Today: with the next day, the names of days change. */
  declare day: number;
  declare live: boolean;
  /** Whether it is drawn before it is known to be near: true for the first pages alone. */
  declare drawn: boolean;

  constructor() {
    super();
    this.live = true;
    this.drawn = true;
    this.active = null;
    this.unread = null;
  }

  protected override shouldUpdate(changed: PropertyValues): boolean {
    if (!this.hasUpdated && !this.drawn) {
      this.live = false;
      this.style.blockSize = `${this.page.items.length * GUESSED_PX}px`;
    }
    if (this.live || !changed.has("live") || !this.hasUpdated) return true;
    if (this.#hasFocus()) {
      this.live = true;
      return false;
    }
    this.style.blockSize = `${this.offsetHeight}px`;
    return true;
  }

  protected override render() {
    if (!this.live) return nothing;
    this.style.removeProperty("block-size");
    const { items } = this.page;
    return items.map((item, at) =>
      this.#row(item, items[at - 1] ?? this.earlier, items[at + 1] ?? this.later),
    );
  }

  #row(item: Item, before: Item | undefined, after: Item | undefined) {
    const newDay = before === undefined || !sameDay(before.sentMs, item.sentMs);
    return html`${newDay ? html`<div class="day"><span>${dayOf(item.sentMs, this.day)}</span></div>` : nothing}
      ${item.id === this.unread ? html`<div class="unread"><span>${words.history.unread}</span></div>` : nothing}
      ${messageRow(item, { room: this.room, before: newDay ? undefined : before, after, tab: item.id === this.active })}`;
  }

  #hasFocus(): boolean {
    const root = this.getRootNode();
    const active = root instanceof ShadowRoot ? root.activeElement : document.activeElement;
    return active !== null && this.contains(active);
  }
}
