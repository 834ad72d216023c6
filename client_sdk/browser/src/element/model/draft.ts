/** What is being written and not sent yet: kept in the vault while it is written, so that it outlives the page. */

import type { RoomApi } from "../../api.ts";

/** While somebody writes, it is kept so often. */
const KEPT_MS = 1000;

export class Draft {
  text = "";
  replyTo: string | null = null;
  /** What was kept of an earlier page has been looked for. */
  loaded = false;
  readonly #api: RoomApi;
  readonly #failed: () => void;
  #kept = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #keeping: Promise<void> | null = null;

  /** `failed` is told when it cannot be kept, once until it can be again. */
  constructor(api: RoomApi, failed: () => void) {
    this.#api = api;
    this.#failed = failed;
    addEventListener("visibilitychange", this.#hidden);
    addEventListener("pagehide", this.#flush);
  }

  /** What an earlier page left. `sent`: what was said last; a page that ended between sending and erasing left it. */
  async load(sent: string | undefined): Promise<void> {
    const draft = await this.#api.draft().finally(() => {
      this.loaded = true;
    });
    if (draft !== null) this.#kept = key(draft);
    if (this.text !== "") this.keep(this.text, this.replyTo);
    else if (draft?.text.trim() === sent) this.keep("", null);
    else if (draft !== null) Object.assign(this, draft);
  }

  /** It is this now; it is kept soon. */
  keep(text: string, replyTo: string | null): void {
    this.text = text;
    this.replyTo = replyTo;
    if (!this.loaded) return;
    if (text.trim() === "") this.#flush();
    else this.#timer ??= setTimeout(this.#flush, KEPT_MS);
  }

  close(): void {
    removeEventListener("visibilitychange", this.#hidden);
    removeEventListener("pagehide", this.#flush);
    this.#flush();
  }

  #hidden = (): void => {
    if (document.visibilityState === "hidden") this.#flush();
  };

  #flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#keeping ??= this.#write().finally(() => {
      this.#keeping = null;
    });
  };

  /** One write at a time, the newest last. */
  async #write(): Promise<void> {
    const { text, replyTo } = this;
    const draft = { text: text.trim() === "" ? "" : text, replyTo };
    if (key(draft) === this.#kept) return;
    const before = this.#kept;
    this.#kept = key(draft);
    try {
      await this.#api.keepDraft(draft.text === "" ? null : draft);
    } catch {
      // Why is told by whatever is sent next; here it is enough that it is said to the person.
      if (before !== FAILED) this.#failed();
      this.#kept = FAILED;
      return;
    }
    if (this.text !== text || this.replyTo !== replyTo) await this.#write();
  }
}

const FAILED = "failed";
const key = ({ text, replyTo }: { text: string; replyTo: string | null }): string =>
  text === "" ? "" : JSON.stringify([text, replyTo]);
