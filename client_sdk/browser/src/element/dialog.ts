/** A dialog: keeps the focus inside, Escape closes it, and the focus goes back to where it was. */

import type { TemplateResult } from "lit";
import { html, nothing } from "lit";
import { focusLost } from "./focus.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { toast } from "./toast.ts";
import { words } from "./words.ts";

export abstract class Dialog extends Plain {
  static override properties = { room: { attribute: false } };
  declare room: Room;
  #before: HTMLElement | null = null;

  protected abstract heading(): string;
  protected abstract body(): TemplateResult;
  protected wide(): boolean {
    return false;
  }

  /** A question stands before whatever else is open. */
  protected inFront(): boolean {
    return this.room.question === null;
  }

  /** What closing does; the element is taken away by it. */
  protected closed(): void {
    this.room.set({ open: null });
  }

  protected override followed() {
    return [this.room];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const root = this.getRootNode();
    const active = root instanceof ShadowRoot ? root.activeElement : document.activeElement;
    this.#before = active instanceof HTMLElement ? active : null;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    const before = this.#before;
    queueMicrotask(() => before?.isConnected && before.focus());
  }

  protected override firstUpdated(): void {
    const dialog = this.querySelector("dialog");
    if (dialog !== null && !dialog.open) dialog.showModal();
    this.toFirst();
  }

  /** What had the focus may have gone with what was shown before. */
  protected override updated(): void {
    if (focusLost(this)) this.toFirst();
  }

  protected toFirst(): void {
    (this.querySelector<HTMLElement>("[data-first]") ?? this.querySelector<HTMLElement>("h2"))?.focus();
  }

  protected override render() {
    return html`<dialog class=${this.wide() ? "wide" : ""} part="dialog" aria-labelledby="dialog-title"
        @cancel=${this.#cancel} @close=${() => this.closed()}>
      <div class="dialog-head">
        <h2 id="dialog-title" tabindex="-1" dir="auto">${this.heading()}</h2>
        <button type="button" class="quiet round" aria-label=${words.close} @click=${() => this.closed()}>${icon("close")}</button>
      </div>
      <div class="dialog-body">${this.#ring()}${this.body()}<div class="within" role="alert">${toast(this.room)}</div></div>
    </dialog>`;
  }

  /** It is answered here: nothing outside the dialog that is in front can be reached. */
  #ring() {
    const { ring } = this.room;
    return ring === null || !this.inFront()
      ? nothing
      : html`<cr-ring .room=${this.room} .ring=${ring}></cr-ring>`;
  }

  #cancel = (event: Event): void => {
    event.preventDefault();
    this.closed();
  };
}
