/** Answers on scales as courses over time: pure, from items to points and from points to a drawing. */

import type { CheckInAnswerItem, CheckInItem, Item, Question } from "../api.ts";

export interface Point {
  readonly ms: number;
  readonly user: string;
  readonly value: number;
}

/** One question, asked once or again and again in the same words, and its answers in their order. */
export interface Course {
  readonly question: string;
  readonly low: number;
  readonly high: number;
  readonly points: readonly Point[];
}

/** More points than that are not told apart in a picture this size. */
const MOST_POINTS = 400;

const keyOf = ({ text, min, max }: Question): string => JSON.stringify([text.trim(), min ?? 1, max ?? 10]);

/** The courses of all questions on scales among the items, those answered last first. */
export function coursesOf(items: Iterable<Item>): readonly Course[] {
  const all = [...items];
  const asked = new Map(all.filter((item) => item.kind === "checkin").map((item) => [item.id, item]));
  const courses = new Map<string, Course>();
  for (const item of all) {
    if (item.kind !== "checkin.answer") continue;
    const checkIn = asked.get(item.checkIn);
    if (checkIn !== undefined) collect(courses, checkIn, item);
  }
  return [...courses.values()].sort((one, other) => last(other).ms - last(one).ms);
}

function collect(courses: Map<string, Course>, checkIn: CheckInItem, answer: CheckInAnswerItem): void {
  for (const question of checkIn.questions) {
    const value = Object.hasOwn(answer.answers, question.id) ? answer.answers[question.id] : undefined;
    if (question.answer !== "scale" || typeof value !== "number") continue;
    const key = keyOf(question);
    const { low, high, points } = courses.get(key) ?? {
      low: question.min ?? 1,
      high: question.max ?? 10,
      points: [],
    };
    const point = { ms: answer.sentMs, user: answer.sender, value: Math.min(high, Math.max(low, value)) };
    courses.set(key, { question: question.text, low, high, points: [...points, point].slice(-MOST_POINTS) });
  }
}

const last = ({ points }: Course): Point => points[points.length - 1] ?? { ms: 0, user: "", value: 0 };

/** Where each point stands in a drawing of this size; the same distance between answers that follow each other. */
export function places(course: Course, width: number, height: number): readonly { x: number; y: number }[] {
  const { points, low, high } = course;
  const from = points[0]?.ms ?? 0;
  const span = last(course).ms - from;
  return points.map(({ ms, value }, at) => ({
    x: width * (span > 0 ? (ms - from) / span : points.length > 1 ? at / (points.length - 1) : 0.5),
    y: height * (1 - (value - low) / Math.max(1, high - low)),
  }));
}

export const pathOf = (points: readonly { x: number; y: number }[]): string =>
  points.map(({ x, y }, at) => `${at === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
