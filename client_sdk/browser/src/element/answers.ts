/** Answers to a check-in, with the course of earlier ones beside each number. */

import { html, nothing, svg } from "lit";
import type { CheckInAnswerItem, Question } from "../api.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { written } from "./text.ts";
import type { Course } from "./trends.ts";
import { coursesOf, pathOf, places } from "./trends.ts";
import { words } from "./words.ts";

const WIDTH = 96;
const HEIGHT = 26;
const SHOWN = 12;

export class AnswersView extends Plain {
  static override properties = {
    room: { attribute: false },
    item: { attribute: false },
    tab: { attribute: false },
  };
  declare room: Room;
  declare item: CheckInAnswerItem;
  declare tab: boolean;

  protected override followed() {
    return [this.room?.history];
  }

  protected override render() {
    const { item, room } = this;
    const quoted = room.history.quote(item.checkIn);
    const checkIn = quoted?.kind === "checkin" ? quoted : undefined;
    const title =
      checkIn === undefined ? words.checkIn.answersUnknown : words.checkIn.answersTo(checkIn.prompt);
    const questions = checkIn?.questions ?? [];
    const courses = questions.some((one) => one.answer === "scale") ? coursesOf(room.history.items()) : [];
    return html`<div class="checkin answers" part="answers">
      <div class="kicker">${icon("checkIn")}<span dir="auto">${title}</span></div>
      <dl>${Object.entries(item.answers).map(([id, value]) =>
        this.#answer(
          questions.find((one) => one.id === id),
          value,
          courses,
          questions.length,
        ),
      )}</dl>
      ${
        courses.length === 0
          ? nothing
          : html`<button type="button" class="link" tabindex=${this.tab ? 0 : -1}
        @click=${() => room.set({ open: { what: "trend" } })}>${icon("trend")}${words.checkIn.overTime}</button>`
      }
    </div>`;
  }

  #answer(question: Question | undefined, value: number | string, courses: readonly Course[], of: number) {
    const course = courses.find((one) => one.question === question?.text);
    const said =
      typeof value === "number"
        ? html`<span class="number">${value}${question?.max == null ? nothing : html`<small> / ${question.max}</small>`}</span>`
        : written(value, this.tab);
    return html`<div class="answer"><dt dir="auto" class=${of > 1 || question?.text === undefined ? "" : "sr"}>${question?.text ?? words.checkIn.title}</dt>
      <dd>${said}${course !== undefined && typeof value === "number" ? this.#spark(course) : nothing}</dd></div>`;
  }

  /** The course up to this answer. */
  #spark(course: Course) {
    const points = course.points
      .filter(({ ms, user }) => user === this.item.sender && ms <= this.item.sentMs)
      .slice(-SHOWN);
    const [first, end] = [points[0], points.at(-1)];
    if (points.length < 2 || first === undefined || end === undefined) return nothing;
    const drawn = places({ ...course, points }, WIDTH - 8, HEIGHT - 8).map(({ x, y }) => ({
      x: x + 4,
      y: y + 4,
    }));
    const tip = drawn.at(-1) ?? { x: 0, y: 0 };
    return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" width=${WIDTH} height=${HEIGHT} role="img"
      aria-label=${words.trend.spark(points.length, first.value, end.value)}>
      ${svg`<path d=${pathOf(drawn)}></path><circle cx=${tip.x} cy=${tip.y} r="3"></circle>`}</svg>`;
  }
}
