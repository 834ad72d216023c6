/** Making sure that somebody is who they say: numbers to compare, or codes to scan. */

import type { TemplateResult } from "lit";
import { html, nothing } from "lit";
import { Dialog } from "./dialog.ts";
import { digitGroups } from "./format.ts";
import { qrCode } from "./qr.ts";
import { canScan } from "./scanner.ts";
import { words } from "./words.ts";

const text = words.verify;

type Way = "numbers" | "show" | "scan";
const WAYS: readonly Way[] = ["numbers", "show", "scan"];

export class VerifyDialog extends Dialog {
  static override properties = {
    ...Dialog.properties,
    way: { state: true },
    number: { state: true },
    code: { state: true },
    scanner: { state: true },
    outcome: { state: true },
  };
  declare way: Way;
  declare number: string;
  declare code: string;
  declare scanner: boolean;
  declare outcome: "verified" | "differ" | null;

  constructor() {
    super();
    this.way = "numbers";
    this.number = "";
    this.code = "";
    this.scanner = false;
    this.outcome = null;
  }

  get #user(): string {
    return this.room.open?.what === "verify" ? this.room.open.user : "";
  }

  get #name(): string {
    return this.room.nameOf(this.#user);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const user = this.#user;
    void this.room.attempt(async () => {
      this.scanner = await canScan();
      this.number = await this.room.api.safetyNumber(user);
      this.code = await this.room.api.verificationCode(user);
    });
  }

  protected override heading(): string {
    if (this.outcome === "verified") return text.done(this.#name);
    return this.outcome === "differ" ? text.differTitle : text.title(this.#name);
  }

  protected override body(): TemplateResult {
    const done = html`<div class="actions"><button type="button" class="primary" @click=${() => this.closed()}>${words.done}</button></div>`;
    if (this.outcome === "verified") return html`<p>${text.doneText}</p>${done}`;
    if (this.outcome === "differ")
      return html`<p role="alert" dir="auto">${text.differText(this.#name)}</p>${done}`;
    return html`<p class="hint" dir="auto">${text.intro(this.#name)}</p>
      <div class="tabs" role="tablist" aria-label=${text.how} @keydown=${this.#key}>
        ${WAYS.map(
          (
            way,
          ) => html`<button type="button" role="tab" id="way-${way}" aria-selected=${this.way === way ? "true" : "false"}
          aria-controls="way" tabindex=${this.way === way ? 0 : -1} @click=${() => (this.way = way)}>${text[way]}</button>`,
        )}
      </div>
      <div id="way" role="tabpanel" aria-labelledby="way-${this.way}">
        ${this.way === "numbers" ? this.#numbers() : this.way === "show" ? this.#show() : this.#scan()}
      </div>`;
  }

  #numbers() {
    return html`<p dir="auto">${text.numbersHow(this.#name)}</p>
      ${numberOf(text.theirs(this.#name), this.number)}${numberOf(text.mine, this.room.relay.me.safetyNumber)}
      <div class="actions">
        <button type="button" class="primary" ?disabled=${this.number === ""} @click=${this.#same}>${text.same}</button>
        <button type="button" class="danger-quiet" @click=${() => (this.outcome = "differ")}>${text.differ}</button>
      </div>`;
  }

  #show() {
    return html`<p dir="auto">${text.showHow(this.#name)}</p>${this.code === "" ? nothing : qrCode(this.code, text.qr)}`;
  }

  #scan() {
    if (!this.scanner) return html`<p>${text.noScanner}</p>`;
    return html`<p dir="auto">${text.scanHow(this.#name)}</p>
      <cr-scanner @scanned=${(event: CustomEvent<string>) => this.#verify(() => this.room.api.verifyScanned(this.#user, event.detail))}></cr-scanner>`;
  }

  #same = (): Promise<void> => this.#verify(() => this.room.api.verify(this.#user, this.number));

  async #verify(action: () => Promise<void>): Promise<void> {
    const done = await this.room.attempt(async () => {
      await action();
      return true;
    });
    if (done) this.outcome = "verified";
    await this.room.refresh();
  }

  #key = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.way = WAYS[(WAYS.indexOf(this.way) + step + WAYS.length) % WAYS.length] ?? "numbers";
    void this.updateComplete.then(() => this.querySelector<HTMLElement>(`#way-${this.way}`)?.focus());
  };
}

/** Digits in groups of five, which a screen reader reads one by one. */
const numberOf = (
  label: string,
  number: string,
) => html`<div class="number-block"><h3 dir="auto">${label}</h3>
  <p class="digits" dir="ltr"><span class="sr">${[...number].join(" ")}</span>${digitGroups(number).map((group) => html`<span aria-hidden="true">${group}</span>`)}</p></div>`;
