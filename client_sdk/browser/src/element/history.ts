/** The history: scrolls through any number of messages, stays where it is when older ones come, follows the newest. */

import type { PropertyValues } from "lit";
import { html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { icon } from "./icons.ts";
import type { MessageMenu } from "./menu.ts";
import type { Page } from "./model/history.ts";
import type { Room } from "./model/room.ts";
import type { HistoryPage } from "./page.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

/** So close to the end, the history follows what comes. */
const NEAR_END_PX = 48;
/** So close to the beginning of what is loaded, the messages before it are asked for. */
const NEAR_START_PX = 1200;
/** How far around the view messages are drawn. */
const DRAWN_AROUND = "1600px 0px";
/** Pages that are drawn at once; those that come later are drawn as they come near. */
const DRAWN_AT_ONCE = 6;
/** So long a frame draws pages that have come near; the next frame goes on. */
const DRAWING_MS = 6;
const HIGHLIGHT_MS = 1600;

export class HistoryView extends Plain {
  static override properties = {
    room: { attribute: false },
    active: { state: true },
    stuck: { state: true },
    unseen: { state: true },
  };
  declare room: Room;
  declare active: string | null;
  /** At the end: what comes is shown at once. */
  declare stuck: boolean;
  declare unseen: number;
  #anchor: { element: Element; top: number } | null = null;
  #placed = false;
  #placing = false;
  #known = new Set<string>();
  #near: IntersectionObserver | undefined;
  #observed = new WeakSet<Element>();
  /** Pages that have come near and wait to be drawn. */
  readonly #waiting = new Set<HistoryPage>();
  #size: ResizeObserver | undefined;
  #markedSeq = 0;
  #heights = "";

  constructor() {
    super();
    this.active = null;
    this.stuck = true;
    this.unseen = 0;
  }

  protected override followed() {
    return [this.room, this.room?.history];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("visibilitychange", this.#visible);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("visibilitychange", this.#visible);
    this.#near?.disconnect();
    this.#size?.disconnect();
    this.#near = undefined;
    this.#waiting.clear();
  }

  protected override render() {
    const { history, typing } = this.room;
    const { pages } = history;
    if (history.loaded && pages.length === 0) return this.#empty();
    const active =
      this.active !== null && history.find(this.active) ? this.active : (history.last?.id ?? null);
    return html`<div class="scroller" role="feed" part="history" aria-label=${words.history.label} aria-describedby="history-keys"
        aria-busy=${history.loading === null ? "false" : "true"}
        @scroll=${this.#scrolled} @keydown=${this.#key} @click=${this.#click} @focusin=${this.#focused}>
      <div class="content">
        <p class="edge">${history.complete ? words.history.beginning : words.history.loading}</p>
        ${repeat(
          pages,
          ({ key }) => key,
          (page, at) => this.#page(page, at, active),
        )}
      </div>
    </div>
    <p id="history-keys" hidden>${words.history.keys}</p>
    <div class="sr" role="status">${this.room.typingSaid}</div>
    <div class="typing" part="typing" aria-hidden="true">
      ${
        typing.length === 0
          ? nothing
          : html`<span class="dots"><i></i><i></i><i></i></span>
        <span dir="auto">${this.room.whoTypes}</span>`
      }
    </div>
    ${this.stuck ? nothing : this.#jumpButton()}
    <cr-menu .room=${this.room}></cr-menu>`;
  }

  #empty() {
    const say = this.room.state?.member === false ? words.history.emptyOutside : words.history.emptyText;
    return html`<div class="empty" part="empty">
      <div class="badge">${icon("lock")}</div>
      <h2>${words.history.emptyTitle}</h2>
      <p dir="auto">${say(this.room.otherNamesWithin)}</p>
    </div>`;
  }

  #page(page: Page, at: number, active: string | null) {
    const { history } = this.room;
    const { pages, unread } = history;
    const has = (id: string | null) => (id !== null && history.pageOf(id) === page.key ? id : null);
    return html`<cr-page .room=${this.room} .page=${page} .earlier=${pages[at - 1]?.items.at(-1)}
      .later=${pages[at + 1]?.items[0]} .active=${has(active)} .unread=${has(unread)} .people=${this.room.people}
      .drawn=${pages.length <= DRAWN_AT_ONCE} .day=${new Date().setHours(12, 0, 0, 0)}></cr-page>`;
  }

  #jumpButton() {
    const label = this.unseen > 0 ? words.history.jumpNew(this.unseen) : words.history.jump;
    return html`<button type="button" class="jump" part="jump" aria-label=${label} @click=${() => this.toEnd()}>
      ${icon("down")}${this.unseen > 0 ? html`<span>${label}</span>` : nothing}</button>`;
  }

  protected override willUpdate(changed: PropertyValues): void {
    super.willUpdate(changed);
    const { history } = this.room;
    if (!history.loaded) return;
    let unseen = 0;
    for (const item of history.pages.at(-1)?.items ?? []) {
      if (!this.#known.has(item.id) && this.#placed) {
        if (item.mine) {
          this.stuck = true;
          this.active = null; // Tab leads to what was just said, not to where one was before
        } else if (!this.stuck) unseen++;
      }
      this.#known.add(item.id);
    }
    if (unseen > 0) this.unseen += unseen;
  }

  protected override updated(): void {
    const scroller = this.#scroller;
    if (scroller === null) return;
    // After "nothing has been said yet" it is another one.
    if (this.#near?.root !== scroller) this.#observe(scroller);
    for (const page of this.#pages) {
      if (this.#observed.has(page)) continue;
      this.#observed.add(page);
      this.#near?.observe(page);
    }
    if (this.room.history.loaded && !this.#placed && !this.#placing) void this.#place(scroller);
    else this.#settle();
  }

  /** Go to the newest message. */
  toEnd(): void {
    this.stuck = true;
    this.unseen = 0;
    this.room.history.clearUnread();
    this.#settle();
  }

  /** Go to a message and show which one it is. */
  async jump(id: string): Promise<void> {
    const there = await this.room.attempt(() => this.room.history.reach(id));
    if (there !== true) {
      if (there === false) this.room.say({ code: "not_found", message: words.history.notFound });
      return;
    }
    this.stuck = false;
    this.active = id;
    await this.updateComplete;
    await this.#draw(id);
    const article = this.#article(id);
    article?.scrollIntoView({ block: "center" });
    article?.focus({ preventScroll: true });
    article?.classList.add("found");
    setTimeout(() => article?.classList.remove("found"), HIGHLIGHT_MS);
  }

  get #scroller(): HTMLElement | null {
    return this.querySelector<HTMLElement>(".scroller");
  }

  /** In their order; found without a look at what they hold. */
  get #pages(): readonly HistoryPage[] {
    const content = this.#scroller?.firstElementChild;
    return [...(content?.children ?? [])].slice(1) as HistoryPage[];
  }

  #article(id: string): HTMLElement | null {
    return this.querySelector<HTMLElement>(`article[data-id="${CSS.escape(id)}"]`);
  }

  /** Make sure that the page with an item is drawn. */
  async #draw(id: string): Promise<void> {
    for (const page of this.#pages) {
      if (page.page.key !== this.room.history.pageOf(id)) continue;
      page.live = true;
      await page.updateComplete;
    }
  }

  #observe(scroller: HTMLElement): void {
    this.#near?.disconnect();
    this.#size?.disconnect();
    this.#observed = new WeakSet();
    this.#near = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) this.#comes(target as HistoryPage, isIntersecting);
      },
      { root: scroller, rootMargin: DRAWN_AROUND },
    );
    this.#size = new ResizeObserver(() => this.#settle());
    this.#size.observe(scroller);
    for (const content of scroller.children) this.#size.observe(content);
  }

  #comes(page: HistoryPage, near: boolean): void {
    if (!near) {
      this.#waiting.delete(page);
      page.live = false;
    } else if (!page.live) {
      if (this.#waiting.size === 0) requestAnimationFrame(() => void this.#drawWaiting());
      this.#waiting.add(page);
    }
  }

  /** Those that wait, as many as a frame has time for. */
  async #drawWaiting(): Promise<void> {
    const began = performance.now();
    for (const page of this.#waiting) {
      page.live = true;
      await page.updateComplete;
      this.#waiting.delete(page);
      if (performance.now() - began > DRAWING_MS) break;
    }
    if (this.#waiting.size > 0) requestAnimationFrame(() => void this.#drawWaiting());
  }

  /** Where the history begins: at the first unread message, or at the end. */
  async #place(scroller: HTMLElement): Promise<void> {
    this.#placing = true;
    const { unread } = this.room.history;
    await Promise.all(this.#pages.map((page) => page.updateComplete));
    if (unread !== null) await this.#draw(unread);
    const article = unread === null ? null : this.#article(unread);
    if (article !== null && scroller.scrollHeight > scroller.clientHeight) {
      this.stuck = false;
      scroller.scrollTop += article.getBoundingClientRect().top - scroller.getBoundingClientRect().top - 80;
    } else scroller.scrollTop = scroller.scrollHeight;
    this.#heights = heightsOf(scroller);
    this.#placed = true;
    this.#scrolled();
  }

  /** After anything has changed its height: at the end, stay there; elsewhere, keep what is read in its place. */
  #settle(): void {
    const scroller = this.#scroller;
    if (scroller === null || !this.#placed) return;
    if (this.stuck) scroller.scrollTop = scroller.scrollHeight;
    else if (this.#anchor?.element.isConnected) {
      const moved = this.#anchor.element.getBoundingClientRect().top - this.#anchor.top;
      if (Math.abs(moved) >= 1) scroller.scrollTop += moved;
    }
    this.#remember(scroller);
    this.#heights = heightsOf(scroller);
    this.#markRead();
  }

  #remember(scroller: HTMLElement): void {
    const top = scroller.getBoundingClientRect().top;
    const pages = this.#pages;
    for (let at = firstBelow(pages, top); at < pages.length; at++) {
      const articles = [...(pages[at]?.querySelectorAll("article") ?? [])];
      const element = articles[firstBelow(articles, top)];
      if (element === undefined) continue;
      this.#anchor = { element, top: element.getBoundingClientRect().top };
      return;
    }
  }

  #scrolled = (): void => {
    const scroller = this.#scroller;
    if (scroller === null || !this.#placed) return;
    // It was not the person who scrolled: something has changed its height.
    if (this.#heights !== heightsOf(scroller)) {
      this.#settle();
      return;
    }
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    this.stuck = left < NEAR_END_PX;
    if (this.stuck) this.unseen = 0;
    this.#remember(scroller);
    this.#markRead();
    const { history } = this.room;
    if (scroller.scrollTop < NEAR_START_PX && !history.complete && history.loading === null) {
      void this.room.attempt(() => history.older());
    }
  };

  #visible = (): void => this.#markRead();

  /** What is in view at the end of the history has been read, if somebody looks. */
  #markRead(): void {
    const last = this.room.history.last;
    if (!this.stuck || document.visibilityState !== "visible" || last === undefined) return;
    const seen = Math.max(this.#markedSeq, this.room.state?.readTo ?? 0);
    if (last.seq <= seen || last.mine) return;
    this.#markedSeq = last.seq;
    void this.room.attempt(() => this.room.api.markRead(last.id));
  }

  #focused = (event: FocusEvent): void => {
    const article = (event.target as Element).closest<HTMLElement>("article");
    if (article?.dataset.id !== undefined) this.active = article.dataset.id;
  };

  #key = (event: KeyboardEvent): void => {
    const article = (event.target as Element).closest<HTMLElement>("article");
    if (article === null) return;
    if (event.key === "Escape" && event.target !== article) article.focus();
    if (event.target !== article) return;
    const articles = [...this.querySelectorAll<HTMLElement>("article")];
    const at = articles.indexOf(article);
    const next = {
      ArrowUp: articles[at - 1],
      ArrowDown: articles[at + 1],
      Home: articles[0],
      End: articles.at(-1),
    }[event.key];
    if (event.key === "Enter") article.querySelector<HTMLElement>(".more")?.click();
    else if (next === undefined) return;
    else {
      next.focus();
      if (event.key === "End") this.toEnd();
    }
    event.preventDefault();
  };

  #click = (event: MouseEvent): void => {
    const button = (event.target as Element).closest<HTMLElement>("[data-menu], [data-jump]");
    const { menu, jump } = button?.dataset ?? {};
    const item = menu === undefined ? undefined : this.room.history.find(menu);
    if (item !== undefined && button) this.querySelector<MessageMenu>("cr-menu")?.openFor(item, button);
    if (jump !== undefined) void this.jump(jump);
  };
}

/** The first of what stands one below the other that does not end above this height; by halves. */
function firstBelow(elements: readonly Element[], top: number): number {
  let [low, high] = [0, elements.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((elements[middle]?.getBoundingClientRect().bottom ?? 0) > top) high = middle;
    else low = middle + 1;
  }
  return low;
}

const heightsOf = ({ scrollHeight, clientHeight }: HTMLElement): string => `${scrollHeight} ${clientHeight}`;
