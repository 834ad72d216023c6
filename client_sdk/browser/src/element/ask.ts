/** Making a check-in. */

import { html, nothing } from "lit";
import type { Question } from "../api.ts";
import { Dialog } from "./dialog.ts";
import { icon } from "./icons.ts";
import { words } from "./words.ts";

const MOST_QUESTIONS = 20;
const MOST_CHOICES = 20;
const SCALE_HIGH = 100;
const TEXT_LENGTH = 500;

interface Draft {
  readonly key: number;
  readonly text: string;
  readonly answer: Question["answer"];
  readonly min: number;
  readonly max: number;
  readonly choices: string;
}

const blank = (key: number): Draft => ({ key, text: "", answer: "scale", min: 1, max: 10, choices: "" });

export class AskDialog extends Dialog {
  static override properties = {
    ...Dialog.properties,
    prompt: { state: true },
    drafts: { state: true },
    trouble: { state: true },
    busy: { state: true },
  };
  declare prompt: string;
  declare drafts: readonly Draft[];
  declare trouble: string;
  declare busy: boolean;

  constructor() {
    super();
    this.prompt = "";
    this.drafts = [blank(1)];
    this.trouble = "";
    this.busy = false;
  }

  protected override heading(): string {
    return words.checkIn.compose;
  }

  protected override body() {
    return html`<form class="ask" @submit=${this.#submit} novalidate>
      <p class="hint">${words.checkIn.composeText}</p>
      <label class="field">${words.checkIn.prompt}
        <input type="text" data-first dir="auto" maxlength=${TEXT_LENGTH} placeholder=${words.checkIn.promptHint} .value=${this.prompt}
          @input=${(event: Event) => (this.prompt = typedIn(event))}></label>
      ${this.drafts.map((draft, at) => this.#question(draft, at))}
      ${this.drafts.length >= MOST_QUESTIONS ? nothing : html`<button type="button" @click=${this.#add}>${icon("plus")}${words.checkIn.addQuestion}</button>`}
      <p class="trouble" role="alert">${this.trouble}</p>
      <div class="actions"><button type="submit" class="primary" ?disabled=${this.busy}>${words.checkIn.send}</button>
        <button type="button" @click=${() => this.closed()}>${words.cancel}</button></div>
    </form>`;
  }

  #question(draft: Draft, at: number) {
    const kinds = Object.entries(words.checkIn.kinds);
    const number = (
      name: "min" | "max",
    ) => html`<label>${name === "min" ? words.checkIn.from : words.checkIn.to}
      <input type="number" min="0" max=${SCALE_HIGH} .value=${String(draft[name])} @input=${(event: Event) => this.#change(draft, { [name]: Math.round(Number(typedIn(event))) })}></label>`;
    return html`<fieldset class="question"><legend>${words.checkIn.question(at + 1)}</legend>
      ${
        this.drafts.length < 2
          ? nothing
          : html`<button type="button" class="quiet round remove" aria-label=${words.checkIn.removeQuestion(at + 1)}
        @click=${() => (this.drafts = this.drafts.filter((one) => one !== draft))}>${icon("trash")}</button>`
      }
      <label class="field">${words.checkIn.questionText}
        <input type="text" dir="auto" maxlength=${TEXT_LENGTH} .value=${draft.text} placeholder=${at === 0 ? this.prompt : ""}
          @input=${(event: Event) => this.#change(draft, { text: typedIn(event) })}></label>
      <label class="field">${words.checkIn.kind}
        <select @change=${(event: Event) => this.#change(draft, { answer: typedIn(event) as Draft["answer"] })}>
          ${kinds.map(([kind, label]) => html`<option value=${kind} ?selected=${draft.answer === kind}>${label}</option>`)}
        </select></label>
      ${draft.answer === "scale" ? html`<div class="pair">${number("min")}${number("max")}</div>` : nothing}
      ${
        draft.answer === "choice"
          ? html`<label class="field">${words.checkIn.choices}<textarea rows="4" dir="auto" .value=${draft.choices}
        @input=${(event: Event) => this.#change(draft, { choices: typedIn(event) })}></textarea></label>`
          : nothing
      }
    </fieldset>`;
  }

  #change(draft: Draft, change: Partial<Draft>): void {
    this.trouble = "";
    this.drafts = this.drafts.map((one) => (one.key === draft.key ? { ...one, ...change } : one));
  }

  #add = (): void => {
    this.drafts = [...this.drafts, blank(Math.max(...this.drafts.map(({ key }) => key)) + 1)];
  };

  #submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    this.trouble = this.#wrong();
    if (this.trouble !== "" || this.busy) return;
    this.busy = true;
    const questions = this.drafts.map((draft, at) => questionOf(draft, at, this.prompt.trim()));
    const sent = await this.room.attempt(() => this.room.api.checkIn(this.prompt.trim(), questions));
    this.busy = false;
    if (sent !== undefined) this.closed();
  };

  #wrong(): string {
    if (this.prompt.trim() === "") return words.checkIn.badPrompt;
    for (const [at, draft] of this.drafts.entries()) {
      const { answer, min, max, text } = draft;
      const only = this.drafts.length === 1;
      if (text.trim() === "" && !only) return words.checkIn.badQuestion(at + 1);
      if (answer === "scale" && !(min >= 0 && max > min && max <= SCALE_HIGH))
        return words.checkIn.badScale(at + 1);
      const choices = choicesOf(draft);
      const fits =
        choices.length >= 2 && choices.length <= MOST_CHOICES && new Set(choices).size === choices.length;
      if (answer === "choice" && !fits) return words.checkIn.badChoices(at + 1);
    }
    return "";
  }
}

const typedIn = (event: Event): string => (event.target as HTMLInputElement).value;

const choicesOf = ({ choices }: Draft): readonly string[] =>
  choices
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");

function questionOf(draft: Draft, at: number, prompt: string): Question {
  const { answer, min, max } = draft;
  const scale = answer === "scale" ? { min, max } : { min: null, max: null };
  const choices = answer === "choice" ? choicesOf(draft) : [];
  return { id: String(at + 1), text: draft.text.trim() || prompt, answer, ...scale, choices };
}
