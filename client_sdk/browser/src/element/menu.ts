/** What can be done with a message: reactions, reply, change, take back. */

import { html, nothing } from "lit";
import type { Item } from "../api.ts";
import { REACTIONS } from "../content/amendments.ts";
import type { IconName } from "./icons.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const EDGE_PX = 8;

export class MessageMenu extends Plain {
  static override properties = { room: { attribute: false }, item: { state: true } };
  declare room: Room;
  declare item: Item | undefined;
  #button: HTMLElement | undefined;

  /** Open beside the button that was pressed. */
  async openFor(item: Item, button: HTMLElement): Promise<void> {
    this.item = item;
    this.#button = button;
    await this.updateComplete;
    const menu = this.#menu;
    if (menu === null) return;
    button.scrollIntoView({ block: "nearest" });
    menu.showPopover();
    const at = button.getBoundingClientRect();
    const { width, height } = menu.getBoundingClientRect();
    const below = at.bottom + height + EDGE_PX < innerHeight;
    menu.style.insetBlockStart = `${within(below ? at.bottom + 4 : at.top - height - 4, height, innerHeight)}px`;
    menu.style.left = `${within(item.mine ? at.right - width : at.left, width, innerWidth)}px`;
    menu.querySelector<HTMLElement>("button")?.focus();
  }

  get #menu(): HTMLElement | null {
    return this.querySelector<HTMLElement>(".menu");
  }

  protected override render() {
    const { item } = this;
    return html`<div class="menu" popover="auto" role="menu" aria-label=${words.message.actions} @keydown=${this.#key}
        @toggle=${this.#toggled}>
      ${
        item === undefined
          ? nothing
          : html`<div class="menu-reactions" role="group" aria-label=${words.message.react}>
          ${REACTIONS.map((emoji) => this.#reaction(item, emoji))}
        </div>
        ${this.#entries(item)}`
      }
    </div>`;
  }

  #reaction(item: Item, emoji: string) {
    const mine = item.reactions.some(
      (one) => one.emoji === emoji && one.users.includes(this.room.relay.me.user),
    );
    return html`<button type="button" role="menuitemcheckbox" aria-checked=${mine ? "true" : "false"}
      @click=${() => this.#do(() => this.room.attempt(() => this.room.api.react(item.id, emoji, !mine)))}>${emoji}</button>`;
  }

  #entries(item: Item) {
    const { room } = this;
    const live = room.state?.ended !== true;
    const text = item.kind === "text" ? item.text : null;
    return html`${live ? this.#entry("reply", words.message.reply, () => this.#write({ replyTo: item })) : nothing}
      ${text === null ? nothing : this.#entry("file", words.message.copy, () => this.#copy(text))}
      ${live && item.mine && text !== null ? this.#entry("edit", words.message.edit, () => this.#write({ editing: item })) : nothing}
      ${live && item.mine ? this.#entry("trash", words.message.retract, () => this.#retract(item)) : nothing}`;
  }

  #entry(name: IconName, label: string, action: () => unknown) {
    return html`<button type="button" role="menuitem" @click=${() => this.#do(action)}>${icon(name)}<span>${label}</span></button>`;
  }

  #do(action: () => unknown): void {
    this.#menu?.hidePopover();
    action();
  }

  #write(writing: Room["writing"]): void {
    this.room.set({ writing });
    this.dispatchEvent(new CustomEvent("cr-write", { bubbles: true }));
  }

  async #copy(text: string): Promise<void> {
    const { room } = this;
    await room.attempt(() => navigator.clipboard.writeText(text));
    room.say({ code: "copied", message: words.message.copied });
  }

  async #retract(item: Item): Promise<void> {
    const { room } = this;
    const { retractTitle: title, retractText: text, retract: yes } = words.message;
    if (await room.ask({ title, text, yes, danger: true }))
      await room.attempt(() => room.api.retract(item.id));
  }

  #toggled = (event: Event): void => {
    const open = (event as ToggleEvent).newState === "open";
    this.#button?.setAttribute("aria-expanded", open ? "true" : "false");
    if (open) return;
    const root = this.getRootNode();
    const active = root instanceof ShadowRoot ? root.activeElement : document.activeElement;
    if (active === null || active === document.body || this.contains(active))
      this.#button?.closest("article")?.focus();
  };

  #key = (event: KeyboardEvent): void => {
    const buttons = [...this.querySelectorAll<HTMLElement>("button")];
    const at = buttons.indexOf(event.target as HTMLElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const next =
      event.key === "Home"
        ? 0
        : event.key === "End"
          ? buttons.length - 1
          : step === undefined
            ? -1
            : at + step;
    if (event.key === "Tab") this.#menu?.hidePopover();
    if (step === undefined && next === -1) return;
    event.preventDefault();
    buttons[(next + buttons.length) % buttons.length]?.focus();
  };
}

/** Where something of this length begins so that all of it is in view. */
const within = (start: number, length: number, room: number): number =>
  Math.max(EDGE_PX, Math.min(start, room - length - EDGE_PX));
