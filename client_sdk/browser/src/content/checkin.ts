/** Check-ins: structured messages between sessions, and their answers. */

import type { Bytes } from "../bytes.ts";
import { AnswerInvalid, ContentInvalid } from "../errors.ts";
import type { Packable, Value } from "../msgpack.ts";
import type { Extra } from "./checks.ts";
import { checkBytes, checkExtra, checkInt, checkName, checkText, Fields } from "./checks.ts";

/** A prompt or a question is a few sentences; whoever needs more sends a text or a file. */
const PROMPT_BYTES = 2 * 1024;
/** One written answer: about four printed pages. */
const ANSWER_BYTES = 8 * 1024;
/** More than anybody answers on a phone. */
const MOST_QUESTIONS = 20;
const MOST_CHOICES = 20;
/** Scales run within 0 to 100: finer ones measure nothing. */
const SCALE_HIGH = 100;
const QUESTION_ID_BYTES = 64;
const ID_BYTES = 16;

export type AnswerType = "scale" | "choice" | "text";

/** One question: on a scale (`min` to `max`, 1 to 10 unless given), by choice, or in words. */
export interface Question {
  readonly id: string;
  readonly text: string;
  readonly answer: AnswerType;
  readonly min: number | null;
  readonly max: number | null;
  readonly choices: readonly string[];
  readonly extra: Extra;
}

/** A prompt with up to 20 questions. */
export interface CheckIn {
  readonly kind: "checkin";
  readonly prompt: string;
  readonly questions: readonly Question[];
  readonly extra: Extra;
}

/** Answers to a check-in: `checkin` is that message's id, `answers` go by question id. */
export interface CheckInAnswer {
  readonly kind: "checkin.answer";
  readonly checkin: Bytes;
  readonly answers: ReadonlyMap<string, number | string>;
  readonly extra: Extra;
}

interface Asked {
  readonly id: string;
  readonly text: string;
  readonly answer?: unknown;
  readonly min?: unknown;
  readonly max?: unknown;
  readonly choices?: unknown;
  readonly extra?: Extra;
}

/** A question; raises ContentInvalid. */
export function question(asked: Asked): Question {
  const id = checkName("A question's id", asked.id, QUESTION_ID_BYTES);
  const text = checkText("A question", asked.text, PROMPT_BYTES);
  const answer = asked.answer ?? "scale";
  if (answer !== "scale" && answer !== "choice" && answer !== "text") {
    throw new ContentInvalid('A question is answered by "scale", "choice" or "text".');
  }
  const choices = checkChoices(answer, asked.choices ?? []);
  const extra = checkExtra(asked.extra, ["id", "text", "answer", "min", "max", "choices"]);
  return { id, text, answer, ...checkScale(answer, asked.min ?? null, asked.max ?? null), choices, extra };
}

function checkScale(answer: AnswerType, min: unknown, max: unknown) {
  if (answer !== "scale") {
    if (min !== null || max !== null) throw new ContentInvalid("Only a question on a scale has min and max.");
    return { min: null, max: null };
  }
  const low = checkInt("A scale's low end", min ?? 1, 0, SCALE_HIGH);
  return { min: low, max: checkInt("A scale's high end", max ?? 10, low + 1, SCALE_HIGH) };
}

function checkChoices(answer: AnswerType, given: unknown): readonly string[] {
  if (!Array.isArray(given)) throw new ContentInvalid("The choices of a question are a list of texts.");
  const choices = given.map((choice: unknown) => checkName("A choice", choice));
  if (answer !== "choice" && choices.length > 0) {
    throw new ContentInvalid("Only a question answered by choice has choices.");
  }
  const different = new Set(choices).size === choices.length;
  if (answer === "choice" && !(different && choices.length >= 2 && choices.length <= MOST_CHOICES)) {
    throw new ContentInvalid(`A question by choice has 2 to ${MOST_CHOICES} different choices.`);
  }
  return choices;
}

/** A check-in. A prompt alone asks one question on a scale from 1 to 10; raises ContentInvalid. */
export function checkIn(prompt: string, questions: readonly Question[] = [], extra?: Extra): CheckIn {
  checkText("The prompt", prompt, PROMPT_BYTES);
  const asked = questions.length > 0 ? questions : [question({ id: "1", text: prompt })];
  if (asked.length > MOST_QUESTIONS) {
    throw new ContentInvalid(`A check-in has at most ${MOST_QUESTIONS} questions. Send two.`);
  }
  if (new Set(asked.map((one) => one.id)).size !== asked.length) {
    throw new ContentInvalid("Two questions of a check-in have the same id.");
  }
  return { kind: "checkin", prompt, questions: asked, extra: checkExtra(extra, ["prompt", "questions"]) };
}

/** The answers to a check-in; raises ContentInvalid. Whether they fit is for `checkAnswers` to say. */
export function checkInAnswer(
  checkin: Bytes,
  answers: ReadonlyMap<string, unknown>,
  extra?: Extra,
): CheckInAnswer {
  checkBytes("The check-in's id", checkin, ID_BYTES);
  if (answers.size < 1 || answers.size > MOST_QUESTIONS) {
    throw new ContentInvalid(`The answers to a check-in are a map with 1 to ${MOST_QUESTIONS} entries.`);
  }
  const checked = new Map<string, number | string>();
  for (const [id, value] of answers) {
    checkName("A question's id", id, QUESTION_ID_BYTES);
    const isText = typeof value === "string";
    checked.set(
      id,
      isText ? checkText("An answer", value, ANSWER_BYTES) : checkInt("An answer", value, 0, SCALE_HIGH),
    );
  }
  return {
    kind: "checkin.answer",
    checkin,
    answers: checked,
    extra: checkExtra(extra, ["checkin", "answers"]),
  };
}

/** Whether every answer fits its question (range, one of the choices, words); raises AnswerInvalid. */
export function checkAnswers(asked: CheckIn, given: CheckInAnswer): void {
  for (const [id, value] of given.answers) {
    const found = asked.questions.find((one) => one.id === id);
    if (found === undefined) throw new AnswerInvalid("The check-in has no such question. Answer its own.");
    checkAnswer(found, value);
  }
}

function checkAnswer(asked: Question, value: number | string): void {
  if (asked.answer === "scale") {
    const fits = typeof value === "number" && value >= (asked.min ?? 1) && value <= (asked.max ?? 10);
    if (!fits) throw new AnswerInvalid(`Answer with a whole number from ${asked.min} to ${asked.max}.`);
  } else if (typeof value !== "string") {
    throw new AnswerInvalid("This question is answered in words.");
  } else if (asked.answer === "choice" && !asked.choices.includes(value)) {
    throw new AnswerInvalid("This question is answered by one of its choices. Pick one.");
  }
}

export function checkInBody({ prompt, questions, extra }: CheckIn): ReadonlyMap<string, Packable> {
  return new Map<string, Packable>([
    ["prompt", prompt],
    ["questions", questions.map(questionBody)],
    ...extra,
  ]);
}

function questionBody({ extra, ...asked }: Question): ReadonlyMap<string, Packable> {
  const { id, text, answer, min, max, choices } = asked;
  return new Map<string, Packable>([...Object.entries({ id, text, answer, min, max, choices }), ...extra]);
}

export function checkInFrom(body: Value): CheckIn {
  const fields = new Fields(body, "A check-in");
  const questions = fields.takeList("questions");
  if (questions.length === 0) throw new ContentInvalid("A check-in has no question.");
  if (questions.length > MOST_QUESTIONS) throw new ContentInvalid("A check-in has too many questions.");
  const prompt = checkText("The prompt", fields.take("prompt"), PROMPT_BYTES);
  return checkIn(prompt, questions.map(questionFrom), fields.rest());
}

function questionFrom(value: Value): Question {
  const fields = new Fields(value, "A question");
  return question({
    id: checkName("A question's id", fields.take("id"), QUESTION_ID_BYTES),
    text: checkText("A question", fields.take("text"), PROMPT_BYTES),
    // Present and nil is not absent: an answer type of nil is refused.
    answer: fields.take("answer") ?? "nil",
    min: fields.takeOr("min", null),
    max: fields.takeOr("max", null),
    choices: fields.takeOr("choices", []) ?? "nil",
    extra: fields.rest(),
  });
}

export function checkInAnswerBody({ checkin, answers, extra }: CheckInAnswer): ReadonlyMap<string, Packable> {
  return new Map<string, Packable>([["checkin", checkin], ["answers", answers], ...extra]);
}

export function checkInAnswerFrom(body: Value): CheckInAnswer {
  const fields = new Fields(body, "An answer to a check-in");
  const checkin = checkBytes("The check-in's id", fields.take("checkin"), ID_BYTES);
  const answers = fields.take("answers");
  if (!(answers instanceof Map)) throw new ContentInvalid("The answers to a check-in are a map.");
  return checkInAnswer(checkin, answers, fields.rest());
}
