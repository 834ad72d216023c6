/** Adding a device of one's own: its twelve words or its code, then its name, then the history moves. */

import { html, nothing } from "lit";
import type { Newcomer } from "../api.ts";
import { Dialog } from "./dialog.ts";
import { shownName } from "./format.ts";
import { icon } from "./icons.ts";
import { canScan } from "./scanner.ts";
import { words } from "./words.ts";

const text = words.devices;
const WORDS = 12;

type Step = "words" | "looking" | "found" | "moving" | "added" | "refused";

export class AddDevice extends Dialog {
  static override properties = {
    ...Dialog.properties,
    step: { state: true },
    typed: { state: true },
    scan: { state: true },
    scanner: { state: true },
    percent: { state: true },
    mayLink: { state: true },
  };
  declare step: Step;
  declare typed: string;
  declare scan: boolean;
  declare scanner: boolean;
  declare percent: number;
  declare mayLink: boolean;
  #newcomer: Newcomer = { id: "", name: "" };

  constructor() {
    super();
    this.step = "words";
    this.typed = "";
    this.scan = false;
    this.scanner = false;
    this.percent = 0;
    this.mayLink = true;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void canScan().then((can) => {
      this.scanner = can;
    });
  }

  protected override heading(): string {
    return this.step === "found" ? text.foundTitle(shownName(this.#newcomer.name)) : text.addTitle;
  }

  protected override closed(): void {
    if (this.step === "found") void this.room.attempt(() => this.room.relay.refuseNewcomer(this.#newcomer));
    super.closed();
  }

  get #count(): number {
    return this.typed.trim() === "" ? 0 : this.typed.trim().split(/\s+/u).length;
  }

  protected override body() {
    const { step } = this;
    if (step === "looking") return html`<p role="status" class="busy">${text.looking}</p>`;
    if (step === "found") return this.#found();
    if (step === "moving") return this.#moving();
    if (step === "words") return this.#words();
    const sentence = step === "added" ? text.added(shownName(this.#newcomer.name)) : text.refused;
    return html`<p role="status" dir="auto">${sentence}</p><div class="actions"><button type="button" class="primary" @click=${() => this.closed()}>${words.done}</button></div>`;
  }

  #words() {
    return html`<p>${text.addText}</p>
      ${this.scan ? html`<cr-scanner @scanned=${(event: CustomEvent<string>) => this.#find(event.detail)}></cr-scanner>` : nothing}
      <form @submit=${(event: SubmitEvent) => this.#submit(event)}>
        <label class="field">${text.wordsLabel}
          <textarea rows="3" data-first autocomplete="off" autocapitalize="none" spellcheck="false" .value=${this.typed} aria-describedby="words-hint"
            @input=${(event: Event) => (this.typed = (event.target as HTMLTextAreaElement).value)}></textarea></label>
        <p id="words-hint" class="hint">${text.wordsHint(this.#count)}</p>
        <div class="actions"><button type="submit" class="primary" ?disabled=${this.#count !== WORDS}>${text.find}</button>
          ${this.scanner && !this.scan ? html`<button type="button" @click=${() => (this.scan = true)}>${icon("camera")}${text.scan}</button>` : nothing}</div>
      </form>`;
  }

  #found() {
    const name = shownName(this.#newcomer.name);
    return html`<p>${text.foundText}</p>
      <label class="switch"><input type="checkbox" .checked=${this.mayLink} @change=${(event: Event) => (this.mayLink = (event.target as HTMLInputElement).checked)}><span>${text.letLink}</span></label>
      <div class="actions"><button type="button" class="primary" @click=${this.#link}><span dir="auto">${text.confirm(name)}</span></button>
        <button type="button" @click=${this.#refuse}>${text.refuse}</button></div>`;
  }

  #moving() {
    return html`<p role="status">${text.moving}</p><progress max="100" value=${this.percent} aria-label=${text.moving}></progress>
      <p class="hint">${text.movingShare(this.percent)}</p>`;
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    void this.#find(this.typed.trim().toLowerCase().split(/\s+/u).join(" "));
  }

  async #find(shown: string): Promise<void> {
    this.step = "looking";
    const found = await this.room.attempt(() => this.room.relay.findNewcomer(shown));
    if (found === undefined) {
      this.step = "words";
      this.scan = false;
      return;
    }
    this.#newcomer = found;
    if (this.isConnected) this.step = "found";
    else await this.room.attempt(() => this.room.relay.refuseNewcomer(found));
  }

  #link = async (): Promise<void> => {
    this.step = "moving";
    const progress = (done: number, of: number): void => {
      this.percent = of > 0 ? Math.min(100, Math.floor((done / of) * 100)) : 100;
    };
    const { mayLink } = this;
    const linked = await this.room.attempt(async () => {
      await this.room.relay.linkNewcomer(this.#newcomer, { mayLink, progress });
      return true;
    });
    this.step = linked ? "added" : "words";
    await this.room.refresh();
  };

  #refuse = async (): Promise<void> => {
    this.step = "refused";
    await this.room.attempt(() => this.room.relay.refuseNewcomer(this.#newcomer));
  };
}
