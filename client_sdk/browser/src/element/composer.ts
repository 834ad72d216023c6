/** Where messages are written: text, files by picker, drop and paste, a reply or a change of what was said. */

import type { PropertyValues } from "lit";
import { html, nothing } from "lit";
import { excerpt, shownFileName, sizeOf } from "./format.ts";
import { icon } from "./icons.ts";
import { isImage, thumbnail } from "./model/previews.ts";
import type { Room } from "./model/room.ts";
import { summary } from "./model/sentences.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

/** docs/PROTOCOL.md section 9: a text holds 32 KiB. */
const TEXT_BYTES = 32 * 1024;
/** While somebody goes on typing it is told again; when they stop for so long, it is taken back. */
const TYPING_AGAIN_MS = 4_000;
const TYPING_STOPS_MS = 5_000;
const MOST_HEIGHT_PX = 180;

export class Composer extends Plain {
  static override properties = {
    room: { attribute: false },
    text: { state: true },
    busy: { state: true },
    thumbs: { state: true },
  };
  declare room: Room;
  declare text: string;
  declare busy: boolean;
  declare thumbs: ReadonlyMap<File, string>;
  #typedMs = 0;
  #stops: ReturnType<typeof setTimeout> | undefined;
  #writing: Room["writing"] = {};

  constructor() {
    super();
    this.text = "";
    this.busy = false;
    this.thumbs = new Map();
  }

  protected override followed() {
    return [this.room];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.text = this.room.draft.text;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#stops);
    for (const url of this.thumbs.values()) URL.revokeObjectURL(url);
  }

  protected override willUpdate(changed: PropertyValues): void {
    super.willUpdate(changed);
    const { writing, staged } = this.room;
    if (writing.editing !== this.#writing.editing) {
      const { editing } = writing;
      this.text = editing?.kind === "text" ? editing.text : this.room.draft.text;
    } else if (writing.editing === undefined && this.text === "") this.text = this.room.draft.text;
    if (writing.replyTo !== this.#writing.replyTo) this.#keep();
    this.#writing = writing;
    for (const [file, url] of this.thumbs) if (!staged.includes(file)) this.#forget(file, url);
    for (const file of staged)
      if (!this.thumbs.has(file) && isImage({ mediaType: file.type, size: file.size }))
        void this.#thumb(file);
  }

  protected override updated(): void {
    const field = this.#field;
    if (field === null) return;
    field.style.blockSize = "auto";
    field.style.blockSize = `${Math.min(field.scrollHeight + 2, MOST_HEIGHT_PX)}px`;
  }

  override focus(): void {
    this.#field?.focus();
  }

  get #field(): HTMLTextAreaElement | null {
    return this.querySelector("textarea");
  }

  protected override render() {
    const { room } = this;
    if (room.state?.ended) {
      return html`<div class="ended" part="ended"><strong>${words.composer.endedTitle}</strong><p>${words.composer.endedText}</p></div>`;
    }
    if (room.state !== null && !room.state.member)
      return html`<p class="closed-note">${words.composer.notMember}</p>`;
    const { editing } = room.writing;
    return html`<form class="composer" part="composer" @submit=${this.#submit} @paste=${this.#paste}>
      ${room.state?.alarm ? html`<p class="closed-note">${words.composer.alarm}</p>` : nothing}
      ${this.#about()} ${this.#staged()}
      <div class="compose-row">
        ${editing ? nothing : this.#tools()}
        <textarea rows="1" dir="auto" part="input" aria-label=${words.composer.label} aria-describedby="composer-keys"
          placeholder=${words.composer.placeholder}
          .value=${this.text} @input=${this.#input} @keydown=${this.#key}></textarea>
        <button type="submit" class="primary round send" part="send" ?disabled=${this.busy || this.#empty}
          aria-label=${editing ? words.composer.saveEdit : words.composer.send}>${icon(editing ? "check" : "send")}</button>
      </div>
      <p id="composer-keys" class="sr">${words.composer.keys}</p>
    </form>`;
  }

  #tools() {
    const { room } = this;
    return html`<button type="button" class="quiet round" aria-label=${words.composer.attach} title=${words.composer.attach}
        @click=${() => this.querySelector<HTMLInputElement>("input[type=file]")?.click()}>${icon("attach")}</button>
      <input type="file" multiple hidden @change=${this.#picked} aria-label=${words.composer.attach}>
      <button type="button" class="quiet round second" aria-label=${words.composer.checkIn} title=${words.composer.checkIn}
        @click=${() => room.set({ open: { what: "checkIn" } })}>${icon("checkIn")}</button>`;
  }

  /** What the text is about: a message that is answered, or changed. */
  #about() {
    const { replyTo, editing } = this.room.writing;
    const item = editing ?? replyTo;
    if (item === undefined) return nothing;
    const title = editing ? words.composer.editing : words.composer.replying(this.room.nameOf(item.sender));
    return html`<div class="about">${icon(editing ? "edit" : "reply")}
      <div><strong dir="auto">${title}</strong><span dir="auto">${excerpt(summary(this.room, item))}</span></div>
      <button type="button" class="quiet round" aria-label=${editing ? words.composer.stopEditing : words.composer.stopReplying}
        @click=${this.#stopAbout}>${icon("close")}</button></div>`;
  }

  #staged() {
    const { staged } = this.room;
    if (staged.length === 0) return nothing;
    return html`<ul class="staged" aria-label=${words.composer.staged}>${staged.map((file) => {
      const name = shownFileName(file.name);
      const url = this.thumbs.get(file);
      return html`<li>${!url ? icon("file") : html`<img src=${url} alt="">`}
        <span class="file-text"><bdi class="file-name">${name}</bdi><span class="hint">${sizeOf(file.size)}</span></span>
        <button type="button" class="quiet round" aria-label=${words.composer.unstage(name)} @click=${() => this.room.unstage(file)}>${icon("close")}</button></li>`;
    })}</ul>`;
  }

  get #empty(): boolean {
    return this.text.trim() === "" && this.room.staged.length === 0;
  }

  #stopAbout = (): void => {
    this.room.set({ writing: {} });
    this.focus();
  };

  async #thumb(file: File): Promise<void> {
    this.thumbs = new Map(this.thumbs).set(file, "");
    try {
      const { url } = await thumbnail(file);
      if (this.isConnected && this.room.staged.includes(file))
        this.thumbs = new Map(this.thumbs).set(file, url);
      else URL.revokeObjectURL(url);
    } catch {
      // It says it is an image and is none: it is sent as any file, without a preview. It stays known, to be tried once.
    }
  }

  #forget(file: File, url: string): void {
    if (url !== "") URL.revokeObjectURL(url);
    this.thumbs = new Map([...this.thumbs].filter(([one]) => one !== file));
  }

  #input = (event: Event): void => {
    this.text = (event.target as HTMLTextAreaElement).value;
    this.#keep();
    this.#tellTyping(this.text.trim() !== "");
  };

  /** What changes a message that was sent is no draft: the message stands as it was. */
  #keep(): void {
    const { editing, replyTo } = this.room.writing;
    if (editing === undefined) this.room.draft.keep(this.text, replyTo?.id ?? null);
  }

  #tellTyping(on: boolean): void {
    clearTimeout(this.#stops);
    const now = performance.now();
    if (on) this.#stops = setTimeout(() => this.#tellTyping(false), TYPING_STOPS_MS);
    if (on && this.#typedMs !== 0 && now - this.#typedMs < TYPING_AGAIN_MS) return;
    if (on || this.#typedMs !== 0) this.room.api.typing(on);
    this.#typedMs = on ? now : 0;
  }

  #key = (event: KeyboardEvent): void => {
    // Enter that ends the composing of a Japanese or Chinese character sends nothing.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      void this.#send();
    } else if (event.key === "Escape" && (this.room.writing.editing ?? this.room.writing.replyTo)) {
      event.stopPropagation();
      this.#stopAbout();
    } else if (event.key === "ArrowUp" && this.text === "" && this.room.writing.editing === undefined) {
      const own = [...this.room.history.items()].filter((item) => item.mine && item.kind === "text").at(-1);
      if (own === undefined) return;
      event.preventDefault();
      this.room.set({ writing: { editing: own } });
    }
  };

  #paste = (event: ClipboardEvent): void => {
    const files = event.clipboardData?.files;
    if (files === undefined || files.length === 0) return;
    event.preventDefault();
    this.room.stage(files);
  };

  #picked = (event: Event): void => {
    const input = event.target as HTMLInputElement;
    this.room.stage(input.files ?? []);
    input.value = "";
    this.focus();
  };

  #submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void this.#send();
  };

  async #send(): Promise<void> {
    const { room } = this;
    const text = this.text.trim();
    if (this.busy || this.#empty) return;
    if (new TextEncoder().encode(text).length > TEXT_BYTES) {
      room.say({ code: "too_long", message: words.composer.tooLong });
      return;
    }
    this.#tellTyping(false);
    const { editing, replyTo } = room.writing;
    this.busy = true;
    try {
      const done = editing ? await this.#change(editing.id, text) : await this.#say(text, replyTo?.id);
      if (done) room.set({ writing: {} });
    } finally {
      this.busy = false;
      this.focus();
    }
  }

  async #change(id: string, text: string): Promise<boolean> {
    if (text === "") return false;
    const done = await this.room.attempt(() => this.room.api.edit(id, text).then(() => true));
    return done === true;
  }

  /** The field is empty at once, so that one can write on; what did not get stored comes back into it. */
  async #say(text: string, replyTo: string | undefined): Promise<boolean> {
    const { room } = this;
    const files = room.staged;
    this.text = "";
    room.draft.text = "";
    room.history.clearUnread();
    if (text !== "") {
      const id = await room.attempt(() => room.api.send(text, replyTo === undefined ? {} : { replyTo }));
      if (id === undefined) {
        this.text = this.text === "" ? text : `${text}\n${this.text}`;
        this.#keep();
        return false;
      }
    }
    // What was kept is erased now that the message itself is safe, and not before.
    room.draft.keep(this.text, null);
    room.unstage(null);
    // Encrypting a large file takes a while, and nobody has to wait for it to write on.
    void this.#sendFiles(files);
    return true;
  }

  async #sendFiles(files: readonly File[]): Promise<void> {
    for (const file of files) {
      const sent = await this.room.attempt(() => this.room.api.sendFile(file));
      if (sent === undefined) this.room.stage([file]);
    }
  }
}
