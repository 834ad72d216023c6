/** A check-in in the history: a form for whom it asks, its state for who sent it. */

import { html, nothing } from "lit";
import type { CheckInItem, Question } from "../api.ts";
import { momentOf } from "./format.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

/** Up to so many steps a scale is a row of buttons; a longer one is a slider. */
const MOST_STEPS = 11;

type Answers = Readonly<Record<string, number | string>>;

export class CheckInView extends Plain {
  static override properties = {
    room: { attribute: false },
    item: { attribute: false },
    tab: { attribute: false },
    answers: { state: true },
    again: { state: true },
    busy: { state: true },
    trouble: { state: true },
  };
  declare room: Room;
  declare item: CheckInItem;
  declare tab: boolean;
  declare answers: Answers;
  declare again: boolean;
  declare busy: boolean;
  declare trouble: string;

  constructor() {
    super();
    this.answers = {};
    this.again = false;
    this.busy = false;
    this.trouble = "";
  }

  protected override followed() {
    return [this.room, this.room?.history];
  }

  protected override render() {
    const { item } = this;
    return html`<div class="checkin" part="checkin">
      <div class="kicker">${icon("checkIn")}${words.checkIn.title}</div>
      <p class="prompt" dir="auto">${item.prompt}</p>
      ${item.mine ? this.#asked() : this.#form()}
    </div>`;
  }

  #answersBy(mine: boolean) {
    const answers = [...this.room.history.items()].filter(
      (one) => one.kind === "checkin.answer" && one.checkIn === this.item.id,
    );
    return answers.filter((one) => one.mine === mine).at(-1);
  }

  /** For who sent it: what was asked, and whether it was answered. */
  #asked() {
    const answer = this.#answersBy(false);
    const now = Date.now();
    const several = this.item.questions.length > 1 || this.item.questions[0]?.text !== this.item.prompt;
    return html`${several ? html`<ul class="asked">${this.item.questions.map((one) => html`<li dir="auto">${one.text}</li>`)}</ul>` : nothing}
      <p class="hint">${
        answer === undefined
          ? words.checkIn.waiting(this.room.otherNamesWithin)
          : words.checkIn.theirAnswer(this.room.nameOf(answer.sender), momentOf(answer.sentMs, now))
      }</p>`;
  }

  #form() {
    const mine = this.#answersBy(true);
    if (this.room.state?.ended) return nothing;
    if (mine !== undefined && !this.again) {
      return html`<p class="hint">${icon("check")} ${words.checkIn.answered(momentOf(mine.sentMs, Date.now()))}</p>
        <button type="button" tabindex=${this.tab ? 0 : -1} @click=${this.#answerAgain}>${words.checkIn.answerAgain}</button>`;
    }
    return html`<form @submit=${this.#submit} novalidate>
      ${this.item.questions.map((question) => this.#question(question))}
      <p class="trouble" role="alert">${this.trouble}</p>
      <button type="submit" class="primary" tabindex=${this.tab ? 0 : -1} ?disabled=${this.busy}>${words.checkIn.answer}</button>
    </form>`;
  }

  #question(question: Question) {
    const sameAsPrompt = question.text === this.item.prompt && this.item.questions.length === 1;
    const legend = html`<legend dir="auto" class=${sameAsPrompt ? "sr" : ""}>${question.text}</legend>`;
    if (question.answer === "text") {
      return html`<fieldset>${legend}<textarea rows="2" dir="auto" maxlength="2000" aria-label=${question.text} tabindex=${this.tab ? 0 : -1}
        @input=${(event: Event) => this.#set(question, (event.target as HTMLTextAreaElement).value)}></textarea></fieldset>`;
    }
    if (question.answer === "choice") {
      return html`<fieldset>${legend}<div class="choices">${question.choices.map((choice) => this.#radio(question, choice))}</div></fieldset>`;
    }
    return html`<fieldset>${legend}${this.#scale(question)}</fieldset>`;
  }

  #scale(question: Question) {
    const low = question.min ?? 1;
    const high = question.max ?? 10;
    const hint = html`<div class="ends hint"><span>${low}</span><span>${high}</span></div>`;
    if (high - low >= MOST_STEPS) {
      const value = this.answers[question.id];
      return html`<div class="slider"><input type="range" min=${low} max=${high} step="1" tabindex=${this.tab ? 0 : -1} aria-label=${question.text}
          .value=${String(value ?? Math.round((low + high) / 2))} @input=${(event: Event) => this.#set(question, Number((event.target as HTMLInputElement).value))}>
        <output>${value ?? "–"}</output></div>${hint}`;
    }
    const steps = Array.from({ length: Math.max(0, high - low + 1) }, (_, at) => low + at);
    return html`<div class="steps">${steps.map((step) => this.#radio(question, step))}</div>`;
  }

  #radio(question: Question, value: number | string) {
    const chosen = this.answers[question.id] === value;
    return html`<label class="choice"><input type="radio" name=${`q-${this.item.questions.indexOf(question)}-${this.item.id}`} .checked=${chosen}
      tabindex=${this.tab ? 0 : -1} @change=${() => this.#set(question, value)}><span dir="auto">${value}</span></label>`;
  }

  /** Into the form that opens: what was pressed for it has gone. */
  #answerAgain = async (): Promise<void> => {
    this.again = true;
    await this.updateComplete;
    this.querySelector<HTMLElement>("form input, form textarea")?.focus();
  };

  #set(question: Question, value: number | string): void {
    this.trouble = "";
    this.answers = { ...this.answers, [question.id]: value };
  }

  #submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const given = Object.entries(this.answers).filter(
      ([, value]) => value !== "" && String(value).trim() !== "",
    );
    if (given.length === 0) {
      this.trouble = words.checkIn.unanswered;
      return;
    }
    this.busy = true;
    const sent = await this.room.attempt(() => this.room.api.answer(this.item.id, Object.fromEntries(given)));
    this.busy = false;
    if (sent === undefined) return;
    this.again = false;
    this.answers = {};
    this.closest("article")?.focus();
  };
}
