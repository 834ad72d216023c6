import { html } from "lit";
import { Dialog } from "./dialog.ts";
import { words } from "./words.ts";

/** Asks before something that cannot be undone. */
export class Confirm extends Dialog {
  protected override heading(): string {
    return this.room.question?.title ?? "";
  }

  protected override inFront(): boolean {
    return true;
  }

  protected override closed(): void {
    this.room.question?.decide(false);
  }

  protected override body() {
    const question = this.room.question;
    return html`<p dir="auto">${question?.text}</p>
      <div class="actions">
        <button type="button" class=${question?.danger ? "danger" : "primary"} @click=${() => question?.decide(true)}>${question?.yes}</button>
        <button type="button" data-first @click=${() => question?.decide(false)}>${question?.no ?? words.cancel}</button>
      </div>`;
  }
}
