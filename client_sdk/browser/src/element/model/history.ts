/** What has been loaded of the history, in pages: an item that changes makes one page new, not ten thousand items. */

import type { Item, RoomApi } from "../../api.ts";
import { Observable } from "./observable.ts";

/** Items asked for at once. */
const ASKED = 60;
/** Items a page: what is drawn in one go, so it is a part of a frame's work. */
const PAGE = 15;
/** So often it is asked for more, for the first unread item, or for one that a reply quotes. */
const MOST_BACK = 50;
/** Quotes of items outside of what is loaded that are kept. */
const MOST_QUOTES = 200;

export interface Page {
  readonly key: number;
  readonly items: readonly Item[];
}

export class History extends Observable {
  pages: readonly Page[] = [];
  complete = false;
  loaded = false;
  loading: Promise<void> | null = null;
  /** The first item that was unread when this was opened. */
  unread: string | null = null;
  readonly #room: RoomApi;
  readonly #pageOf = new Map<string, number>();
  readonly #quotes = new Map<string, Item | null>();
  readonly #callsOver = new Set<string>();
  #nextKey = 0;
  #firstKey = -1;

  constructor(room: RoomApi) {
    super();
    this.#room = room;
  }

  get first(): Item | undefined {
    return this.pages[0]?.items[0];
  }

  get last(): Item | undefined {
    return this.pages.at(-1)?.items.at(-1);
  }

  *items(): Generator<Item> {
    for (const page of this.pages) yield* page.items;
  }

  /** It is said how a call went. */
  callOver(call: string): boolean {
    return this.#callsOver.has(call);
  }

  /** The key of the page that holds an item. */
  pageOf(id: string): number | undefined {
    return this.#pageOf.get(id);
  }

  find(id: string): Item | undefined {
    const key = this.#pageOf.get(id);
    if (key === undefined) return undefined;
    return this.pages.find((page) => page.key === key)?.items.find((item) => item.id === id);
  }

  /** All of it anew: what was said before this device was linked has come. */
  async again(readTo: number): Promise<void> {
    await this.loading;
    this.pages = [];
    this.complete = false;
    this.#pageOf.clear();
    this.#quotes.clear();
    await this.load(readTo);
  }

  /** The newest items, and older ones as far as they are unread. */
  async load(readTo: number): Promise<void> {
    await this.older();
    const unread = (item: Item): boolean => !item.mine && item.sender !== "" && item.seq > readTo;
    for (let page = 0; page < MOST_BACK && !this.complete; page++) {
      if (readTo === 0 || this.first === undefined || !unread(this.first)) break;
      await this.older();
    }
    this.unread = readTo === 0 ? null : ([...this.items()].find(unread)?.id ?? null);
    this.loaded = true;
    this.changed();
  }

  /** The items before those that are loaded; one request at a time. */
  older(): Promise<void> {
    this.loading ??= this.#older().finally(() => {
      this.loading = null;
      this.changed();
    });
    this.changed();
    return this.loading;
  }

  async #older(): Promise<void> {
    if (this.complete) return;
    const before = this.first?.id;
    const items = await this.#room.history({ limit: ASKED, ...(before === undefined ? {} : { before }) });
    this.complete = items.length < ASKED;
    const fresh = items.filter((item) => !this.#pageOf.has(item.id));
    if (fresh.length === 0) {
      this.complete = true;
      return;
    }
    const made: Page[] = [];
    for (let end = fresh.length; end > 0; end -= PAGE) {
      const page = { key: this.#firstKey--, items: fresh.slice(Math.max(0, end - PAGE), end) };
      for (const item of page.items) this.#pageOf.set(item.id, page.key);
      made.unshift(page);
    }
    for (const item of fresh) if (item.kind === "call.ended") this.#callsOver.add(item.call);
    this.pages = [...made, ...this.pages];
  }

  /** Load back to an item; false: it is not on this device. */
  async reach(id: string): Promise<boolean> {
    for (let page = 0; page < MOST_BACK && !this.#pageOf.has(id) && !this.complete; page++) {
      await this.older();
    }
    return this.#pageOf.has(id);
  }

  /** A new item, or one that has changed; true: it is new, and at the end. */
  put(item: Item): boolean {
    this.#quotes.delete(item.id);
    if (item.kind === "call.ended") this.#closeCall(item.call);
    const known = this.find(item.id);
    if (known !== undefined && known.seq === item.seq) {
      this.#replace(item.id, (items) => items.map((one) => (one.id === item.id ? item : one)));
      this.changed();
      return false;
    }
    if (known !== undefined) this.#take(item.id);
    const first = this.first;
    const older = first !== undefined && item.seq !== 0 && first.seq !== 0 && item.seq < first.seq;
    if (older && !this.complete) return false;
    this.#insert(item);
    this.changed();
    return known === undefined && this.last?.id === item.id;
  }

  remove(id: string): void {
    if (!this.#pageOf.has(id)) return;
    this.#take(id);
    this.changed();
  }

  clearUnread(): void {
    if (this.unread === null) return;
    this.unread = null;
    this.changed();
  }

  /** What a reply quotes: from what is loaded, or asked for once; undefined: not known yet. */
  quote(id: string): Item | null | undefined {
    const here = this.find(id) ?? this.#quotes.get(id);
    if (here !== undefined || this.#quotes.size >= MOST_QUOTES || this.#quotes.has(id)) return here;
    void this.#room.item(id).then(
      (item) => this.#quoted(id, item),
      () => this.#quoted(id, null),
    );
    return undefined;
  }

  /** Its invitation is drawn anew, as nothing. */
  #closeCall(call: string): void {
    this.#callsOver.add(call);
    const invites = (page: Page) => page.items.some((one) => one.kind === "call.invite" && one.call === call);
    this.pages = this.pages.map((page) => (invites(page) ? { ...page } : page));
  }

  #quoted(id: string, item: Item | null): void {
    this.#quotes.set(id, item);
    // Pages are drawn anew only when they are others.
    this.pages = this.pages.map((page) =>
      page.items.some((one) => one.kind === "text" && one.replyTo === id) ? { ...page } : page,
    );
    this.changed();
  }

  /** By position; what waits on this device stands at the end. */
  #insert(item: Item): void {
    const last = this.pages.at(-1);
    const place = item.seq === 0 ? undefined : this.#pageAfter(item.seq);
    if (last === undefined || (place === undefined && last.items.length >= PAGE)) {
      const key = this.#nextKey++;
      this.#pageOf.set(item.id, key);
      this.pages = [...this.pages, { key, items: [item] }];
      return;
    }
    const page = place ?? last;
    this.#pageOf.set(item.id, page.key);
    this.#replace(item.id, (items) => {
      const at = item.seq === 0 ? -1 : items.findIndex((one) => later(one, item.seq));
      return at === -1 ? [...items, item] : [...items.slice(0, at), item, ...items.slice(at)];
    });
  }

  /** The first page that holds something later. */
  #pageAfter(seq: number): Page | undefined {
    const last = this.pages.at(-1)?.items.at(-1);
    if (last === undefined || !later(last, seq)) return undefined;
    return this.pages.find((page) => page.items.some((one) => later(one, seq)));
  }

  #take(id: string): void {
    this.#replace(id, (items) => items.filter((one) => one.id !== id));
    this.#pageOf.delete(id);
    this.pages = this.pages.filter((page) => page.items.length > 0);
  }

  #replace(id: string, change: (items: readonly Item[]) => readonly Item[]): void {
    const key = this.#pageOf.get(id);
    this.pages = this.pages.map((page) =>
      page.key === key ? { key: page.key, items: change(page.items) } : page,
    );
  }
}

const later = (item: Item, seq: number): boolean => item.seq === 0 || item.seq > seq;
