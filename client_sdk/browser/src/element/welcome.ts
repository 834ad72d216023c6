/** Before there is a relay: opening, the choice at first use, linking and recovering. */

import type { PropertyValues, TemplateResult } from "lit";
import { html, LitElement, nothing } from "lit";
import type { FirstUse, Notice } from "../api.ts";
import { browserName } from "../devices/names.ts";
import { shownName } from "./format.ts";
import type { IconName } from "./icons.ts";
import { icon } from "./icons.ts";
import { qrCode } from "./qr.ts";
import { styles } from "./styles/index.ts";
import { words } from "./words.ts";

const text = words.welcome;
const WORDS = 12;
const REFUSED = "recovery_refused";
const NAME_LENGTH = 60;

type Step = "opening" | "choice" | "name" | "link" | "recover" | "busy" | "neither" | "failed";

export class CoachRelayWelcome extends LitElement {
  static override styles = styles;
  static override properties = {
    step: { state: true },
    elsewhere: { state: true },
    code: { state: true },
    percent: { state: true },
    typed: { state: true },
    trouble: { state: true },
    notice: { state: true },
  };
  declare again: () => void;
  declare step: Step;
  declare elsewhere: boolean;
  declare code: { readonly words: readonly string[]; readonly qr: string } | null;
  declare percent: number | null;
  declare typed: string;
  declare trouble: string;
  declare notice: Notice | null;
  #decide: (use: FirstUse) => void = () => undefined;
  #busyText: string = words.opening;

  constructor() {
    super();
    this.step = "opening";
    this.elsewhere = false;
    this.code = null;
    this.percent = null;
    this.typed = "";
    this.trouble = "";
    this.notice = null;
  }

  /** Ask; `failure` says why what was chosen before did not work. */
  firstUse(known: { readonly elsewhere: boolean; readonly failure?: Notice | null }): Promise<FirstUse> {
    this.elsewhere = known.elsewhere;
    this.notice = known.failure ?? null;
    this.code = null;
    this.percent = null;
    this.step = "choice";
    return new Promise((resolve) => {
      this.#decide = resolve;
    });
  }

  failed(notice: Notice): void {
    this.notice = notice;
    this.step = "failed";
  }

  protected override render() {
    return html`<div class="app welcome" part="app"><div class="welcome-box" part="welcome">${this.#step()}</div></div>`;
  }

  protected override updated(changed: PropertyValues): void {
    const before: Step | undefined = changed.get("step");
    if (before === undefined) return;
    // At the beginning the person is elsewhere in the page around this, which their focus would scroll.
    if (before === "opening" && !document.hasFocus()) return;
    const at = (name: string) => this.renderRoot.querySelector<HTMLElement>(name);
    (at("[data-first]") ?? at("h1"))?.focus();
  }

  #step(): TemplateResult {
    switch (this.step) {
      case "opening":
      case "busy":
        return this.#busy();
      case "choice":
        return this.#choice();
      case "name":
        return this.#name();
      case "link":
        return this.#link();
      case "recover":
        return this.#recover();
      case "neither":
        return html`<h1 tabindex="-1">${text.neitherTitle}</h1><p>${text.neitherText}</p>${this.#back()}`;
      case "failed":
        return this.#failed();
    }
  }

  #failed() {
    // Another tab has the device: nothing is wrong, and nothing helps but closing it.
    const waits = this.notice?.code === "waiting";
    return html`<h1 tabindex="-1">${waits ? text.waitingTitle : text.failedTitle}</h1><p role="alert" dir="auto">${this.notice?.message}</p>
      ${waits ? nothing : html`<div class="actions"><button type="button" class="primary" @click=${() => this.again()}>${text.again}</button></div>`}`;
  }

  #busy() {
    const moving = this.percent;
    return html`<div class="badge">${icon("lock")}</div><div role="status"><h1 class="small" tabindex="-1">${this.#busyText}</h1></div>
      ${moving === null ? html`<div class="bar" aria-hidden="true"></div>` : html`<progress max="100" value=${moving} aria-label=${this.#busyText}></progress><p class="hint">${text.movingShare(moving)}</p>`}`;
  }

  #choice() {
    const offer = (sign: IconName, title: string, about: string, action: () => void, first: boolean) =>
      html`<button type="button" class="offer ${first ? "first" : ""}" @click=${action}>${icon(sign)}<span><strong>${title}</strong><span>${about}</span></span></button>`;
    return html`<div class="badge">${icon("lock")}</div><h1 tabindex="-1">${text.title}</h1>
      ${this.notice === null ? nothing : html`<p class="trouble" role="alert" dir="auto">${this.notice.message}</p>`}
      <p>${this.elsewhere ? text.leadElsewhere : text.lead}</p>
      <div class="offers">
        ${this.elsewhere ? nothing : offer("plus", text.new, text.newText, this.#new, true)}
        ${offer("device", text.link, text.linkText, () => (this.step = "name"), this.elsewhere)}
        ${offer("file", text.recover, text.recoverText, () => (this.step = "recover"), false)}
      </div>
      ${this.elsewhere ? html`<button type="button" class="link" @click=${() => (this.step = "neither")}>${text.neither}</button>` : nothing}`;
  }

  #name() {
    return html`<form @submit=${this.#startLink}><h1 tabindex="-1">${text.link}</h1>
      <label class="field">${text.deviceName}<input type="text" name="name" data-first dir="auto" required maxlength=${NAME_LENGTH} .value=${browserName(navigator.userAgent)} aria-describedby="name-hint"></label>
      <p id="name-hint" class="hint">${text.deviceNameHint}</p>
      <div class="actions"><button type="submit" class="primary">${text.showCode}</button>${this.#backButton()}</div></form>`;
  }

  #link() {
    const { code } = this;
    return html`<h1 tabindex="-1">${text.linkTitle}</h1><p>${text.linkHow}</p>
      ${
        code === null
          ? html`<div class="bar" aria-hidden="true"></div>`
          : html`<div class="link-code">${qrCode(code.qr, text.qr)}
        <ol class="kit-words" dir="ltr">${code.words.map((word) => html`<li>${word}</li>`)}</ol></div>`
      }
      <p class="hint" role="status">${text.linkWait}</p>`;
  }

  #recover() {
    const count = this.#words().length;
    return html`<form @submit=${this.#startRecovery}><h1 tabindex="-1">${text.recoverTitle}</h1>
      <label class="field"><span class="sr">${text.recoverTitle}</span><textarea rows="4" data-first autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="recover-hint"
        .value=${this.typed} @input=${(event: Event) => (this.typed = (event.target as HTMLTextAreaElement).value)}></textarea></label>
      <p id="recover-hint" class="hint">${text.recoverHint(count)}</p><p class="trouble" role="alert">${this.trouble}</p>
      ${this.notice?.code === REFUSED ? this.#sure() : nothing}
      <div class="actions"><button type="submit" class="primary">${text.recoverGo}</button>${this.#backButton()}</div></form>`;
  }

  /** After the relay showed no device that belongs to the words: a person may be surer than the relay. */
  #sure = () =>
    html`<label class="switch"><input type="checkbox" name="sure" aria-describedby="sure-hint"><span>${text.recoverSure}</span></label><p id="sure-hint" class="hint">${text.recoverSureHint}</p>`;

  #back = () => html`<div class="actions">${this.#backButton()}</div>`;
  #backButton = () =>
    html`<button type="button" @click=${() => (this.step = "choice")}>${words.back}</button>`;
  #words = (): readonly string[] => this.typed.toLowerCase().match(/\p{L}+/gu) ?? [];

  #new = (): void => {
    this.#wait(text.newGo);
    this.#decide({ kind: "new" });
  };

  #startLink = (event: SubmitEvent): void => {
    event.preventDefault();
    const name = String(new FormData(event.target as HTMLFormElement).get("name") ?? "").trim();
    if (name === "") return;
    this.step = "link";
    const show = (code: { readonly words: readonly string[]; readonly qr: string }): void => {
      this.code = code;
    };
    this.#decide({
      kind: "link",
      deviceName: shownName(name),
      show,
      progress: (done, of) => this.#moved(text.moving, done, of),
    });
  };

  #startRecovery = (event: SubmitEvent): void => {
    event.preventDefault();
    const typed = this.#words();
    if (typed.length !== WORDS) {
      this.trouble = text.recoverBad;
      return;
    }
    const unchecked = new FormData(event.target as HTMLFormElement).has("sure");
    this.#wait(text.recovering);
    this.#decide({
      kind: "recover",
      words: typed,
      unchecked,
      progress: (done, of) => this.#moved(text.recovering, done, of),
    });
  };

  #wait(sentence: string): void {
    this.#busyText = sentence;
    this.typed = "";
    this.step = "busy";
  }

  #moved(sentence: string, done: number, of: number): void {
    this.#wait(sentence);
    this.percent = of > 0 ? Math.min(100, Math.floor((done / of) * 100)) : 100;
  }
}
