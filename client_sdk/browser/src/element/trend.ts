/** Check-ins over time: a picture for each question, drawn here, and the same as a table. */

import { html, nothing, svg } from "lit";
import type { Item } from "../api.ts";
import { Dialog } from "./dialog.ts";
import { dateOf, momentOf } from "./format.ts";
import type { Course } from "./trends.ts";
import { coursesOf, pathOf, places } from "./trends.ts";
import { words } from "./words.ts";

const MOST_WIDTH = 560;
/** What a dialog has beside its picture. */
const MARGINS = 72;
const HEIGHT = 180;
const LEFT = 34;
const BELOW = 26;
const PAD = 10;
/** How much of the history is looked through: two years of daily check-ins among other things. */
const MOST_ITEMS = 5000;
const AT_ONCE = 500;

export class TrendDialog extends Dialog {
  static override properties = { ...Dialog.properties, courses: { state: true }, partial: { state: true } };
  declare courses: readonly Course[] | undefined;
  declare partial: boolean;
  /** Drawn as wide as there is room, so that its numbers stay as large as other text. */
  get #width(): number {
    return Math.max(240, Math.min(MOST_WIDTH, innerWidth - MARGINS));
  }

  protected override wide(): boolean {
    return true;
  }

  protected override heading(): string {
    return words.trend.title;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    addEventListener("resize", this.#turned);
    void this.room.attempt(() => this.#load());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener("resize", this.#turned);
  }

  #turned = (): void => this.requestUpdate();

  async #load(): Promise<void> {
    let items: readonly Item[] = [];
    for (let full = true; full && items.length < MOST_ITEMS; ) {
      const before = items[0]?.id;
      const page = await this.room.api.history({
        limit: AT_ONCE,
        ...(before === undefined ? {} : { before }),
      });
      full = page.length === AT_ONCE;
      items = [...page, ...items];
      this.partial = full;
    }
    this.courses = coursesOf(items);
  }

  protected override body() {
    if (this.courses === undefined) return html`<p class="hint" role="status">${words.history.loading}</p>`;
    if (this.courses.length === 0) return html`<p>${words.trend.none}</p>`;
    return html`${this.courses.map((course, at) => this.#course(course, at))}
      ${this.partial ? html`<p class="hint">${words.trend.partial}</p>` : nothing}`;
  }

  #course(course: Course, at: number) {
    const { question, low, high, points } = course;
    const first = points[0]?.value ?? low;
    const last = points.at(-1)?.value ?? low;
    return html`<section class="course" aria-labelledby="course-${at}">
      <h3 id="course-${at}" dir="auto">${question}</h3>
      <svg class="chart" viewBox="0 0 ${this.#width} ${HEIGHT}" role="img" aria-label=${words.trend.summary(question, points.length, first, last, low, high)}>
        ${this.#axes(course)}${this.#lines(course)}
      </svg>
      ${this.#legend(course)}
      <details><summary>${words.trend.table}</summary>${this.#table(course)}</details>
    </section>`;
  }

  #axes({ low, high, points }: Course) {
    const bottom = HEIGHT - BELOW;
    const y = (share: number) => PAD + (bottom - PAD) * (1 - share);
    const middle = Math.round((low + high) / 2);
    const levels = [low, middle, high].map((value) => ({
      value,
      at: y((value - low) / Math.max(1, high - low)),
    }));
    return svg`${levels.map(
      ({ value, at }) => svg`<line x1=${LEFT} x2=${this.#width - PAD} y1=${at} y2=${at}></line>
        <text x=${LEFT - 8} y=${at + 4} text-anchor="end">${value}</text>`,
    )}
      <text x=${LEFT} y=${HEIGHT - 6}>${dateOf(points[0]?.ms ?? 0)}</text>
      ${points.length < 2 ? nothing : svg`<text x=${this.#width - PAD} y=${HEIGHT - 6} text-anchor="end">${dateOf(points.at(-1)?.ms ?? 0)}</text>`}`;
  }

  /** One line a person, each with a form of point of its own: colour alone tells nobody enough. */
  #lines(course: Course) {
    const where = places(course, this.#width - LEFT - 2 * PAD, HEIGHT - BELOW - PAD).map(({ x, y }) => ({
      x: x + LEFT + PAD / 2,
      y: y + PAD,
    }));
    return svg`${usersOf(course).map((user, line) => {
      const own = where.filter((_, at) => course.points[at]?.user === user);
      return svg`<g class="line-${line % 3}"><path d=${pathOf(own)}></path>${own.map(({ x, y }) =>
        line % 2 === 0
          ? svg`<circle cx=${x} cy=${y} r="4"></circle>`
          : svg`<rect x=${x - 4} y=${y - 4} width="8" height="8"></rect>`,
      )}</g>`;
    })}`;
  }

  #legend(course: Course) {
    const users = usersOf(course);
    if (users.length < 2) return nothing;
    return html`<ul class="legend">${users.map(
      (user, line) =>
        html`<li class="line-${line % 3}"><svg viewBox="0 0 12 12" aria-hidden="true">${
          line % 2 === 0
            ? svg`<circle cx="6" cy="6" r="4"></circle>`
            : svg`<rect x="2" y="2" width="8" height="8"></rect>`
        }</svg><bdi>${this.room.nameOf(user)}</bdi></li>`,
    )}</ul>`;
  }

  #table({ points }: Course) {
    const now = Date.now();
    return html`<table><thead><tr><th scope="col">${words.trend.when}</th><th scope="col">${words.trend.who}</th><th scope="col">${words.trend.value}</th></tr></thead>
      <tbody>${points.map(({ ms, user, value }) => html`<tr><td>${momentOf(ms, now)}</td><td><bdi>${this.room.nameOf(user)}</bdi></td><td>${value}</td></tr>`)}</tbody></table>`;
  }
}

const usersOf = ({ points }: Course): readonly string[] => [...new Set(points.map(({ user }) => user))];
