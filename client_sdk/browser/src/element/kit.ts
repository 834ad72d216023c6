/** The recovery kit: why, its words on a page, and two of them typed back. */

import type { TemplateResult } from "lit";
import { html, nothing } from "lit";
import type { RecoveryKit } from "../api.ts";
import { Dialog } from "./dialog.ts";
import { icon } from "./icons.ts";
import { rememberLater } from "./model/later.ts";
import { words } from "./words.ts";

const text = words.kit;

export class KitDialog extends Dialog {
  static override properties = {
    ...Dialog.properties,
    step: { state: true },
    kit: { state: true },
    trouble: { state: true },
  };
  declare step: "why" | "words" | "check" | "done";
  declare kit: RecoveryKit | null;
  declare trouble: string;

  constructor() {
    super();
    this.step = "why";
    this.kit = null;
    this.trouble = "";
  }

  protected override heading(): string {
    return this.step === "done" ? text.doneTitle : text.title;
  }

  protected override closed(): void {
    this.kit = null;
    if (this.room.kitDue) rememberLater(this.room.relay.me, Date.now());
    this.room.set({ open: null, kitLater: true });
  }

  protected override body(): TemplateResult {
    const { step } = this;
    return step === "why"
      ? this.#why()
      : step === "words"
        ? this.#words()
        : step === "check"
          ? this.#check()
          : this.#done();
  }

  #why() {
    return html`<p>${text.why}</p><div class="actions">
      <button type="button" class="primary" @click=${this.#make}>${text.make}</button>
      <button type="button" @click=${() => this.closed()}>${text.later}</button></div>`;
  }

  #words() {
    return html`<p>${text.show}</p>
      <ol class="kit-words" aria-label=${text.words} dir="ltr">${this.kit?.words.map((word) => html`<li>${word}</li>`)}</ol>
      <pre class="kit-page" aria-hidden="true">${this.kit?.text}</pre>
      <div class="actions"><button type="button" class="primary" @click=${() => this.#to("check")}>${text.wrote}</button>
        <button type="button" @click=${() => window.print()}>${icon("save")}${text.print}</button></div>`;
  }

  #check() {
    return html`<form @submit=${this.#submit}><p>${text.ask}</p>
      ${this.kit?.asked.map(
        (at, first) => html`<label class="field">${text.word(at)}
        <input type="text" name=${String(at)} autocomplete="off" autocapitalize="none" spellcheck="false" ?data-first=${first === 0} required></label>`,
      )}
      <p class="trouble" role="alert">${this.trouble}</p>
      <div class="actions"><button type="submit" class="primary">${text.check}</button>
        <button type="button" @click=${() => this.#to("words")}>${text.again}</button></div></form>`;
  }

  #done() {
    return html`<p role="status">${text.done}</p><div class="actions"><button type="button" class="primary" @click=${() => this.closed()}>${words.done}</button></div>
      ${nothing}`;
  }

  #to(step: KitDialog["step"]): void {
    this.step = step;
    this.trouble = "";
    void this.updateComplete.then(() => this.toFirst());
  }

  #make = async (): Promise<void> => {
    const kit = await this.room.attempt(() => this.room.relay.recoveryKit());
    if (kit === undefined) return;
    this.kit = kit;
    this.#to("words");
  };

  #submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const { kit } = this;
    if (kit === null) return;
    const typed = Object.fromEntries(
      [...new FormData(event.target as HTMLFormElement)].map(([at, word]) => [
        Number(at),
        String(word).trim().toLowerCase(),
      ]),
    );
    if (kit.asked.some((at) => typed[at] !== kit.words[at - 1])) {
      this.trouble = text.wrong;
      return;
    }
    const made = await this.room.attempt(() => this.room.relay.kitMade(typed).then(() => true));
    if (!made) return;
    this.kit = null;
    this.room.set({ kitDue: false });
    this.#to("done");
  };
}
