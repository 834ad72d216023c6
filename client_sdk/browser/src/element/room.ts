/** The root of the interface: one conversation, who can read it, and its calls. */

import type { PropertyValues } from "lit";
import { html, LitElement, nothing } from "lit";
import type { RelayApi } from "../api.ts";
import type { Composer } from "./composer.ts";
import { FocusKeeper } from "./focus.ts";
import { icon } from "./icons.ts";
import type { Happening } from "./index.ts";
import { isLater } from "./model/later.ts";
import { noticeOf, Room } from "./model/room.ts";
import { styles } from "./styles/index.ts";
import { toast } from "./toast.ts";
import { words } from "./words.ts";

/** Narrower than this, the panel covers the conversation. */
const NARROW_REM = 48;

export class CoachRelayRoom extends LitElement {
  static override styles = styles;
  static override properties = {
    relay: { attribute: false },
    engagement: { attribute: false },
    room: { state: true },
    trouble: { state: true },
    dragging: { state: true },
    narrow: { state: true },
  };
  declare relay: RelayApi | undefined;
  declare engagement: string;
  declare again: () => void;
  declare happened: (what: Happening) => void;
  /** The focus was in what this takes the place of. */
  declare goesOn: boolean;
  declare room: Room | undefined;
  declare trouble: string;
  declare dragging: boolean;
  declare narrow: boolean;
  #leave: () => void = () => undefined;
  #width: ResizeObserver | undefined;
  #generation = 0;
  #focus: FocusKeeper | undefined;

  constructor() {
    super();
    this.engagement = "";
    this.again = () => location.reload();
    this.happened = () => undefined;
    this.goesOn = false;
    this.trouble = "";
    this.dragging = false;
    this.narrow = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#width = new ResizeObserver(([entry]) => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
      this.narrow = (entry?.contentRect.width ?? 0) < NARROW_REM * rem;
    });
    this.#width.observe(this);
    if (this.hasUpdated) void this.#open();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#width?.disconnect();
    this.#close();
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has("relay") || changed.has("engagement")) void this.#open();
  }

  /** Parts draw themselves after this one: what they take away is gone a moment later. */
  protected override updated(): void {
    this.#focus ??= new FocusKeeper(this.renderRoot as ShadowRoot);
    setTimeout(() => this.#focus?.look());
  }

  #close(): void {
    this.#generation++;
    this.#leave();
    this.room?.close();
    this.room = undefined;
  }

  async #open(): Promise<void> {
    this.#close();
    const { relay, engagement } = this;
    const generation = this.#generation;
    if (relay === undefined || engagement === "") return;
    try {
      const api = await relay.engagement(engagement);
      if (generation !== this.#generation) return;
      const room = new Room(relay, api, this.happened);
      this.#leave = room.follow(() => this.requestUpdate());
      this.room = room;
      await room.load();
      if (isLater(relay.me, Date.now()) || room.asksAlready) room.set({ kitLater: true });
      else if (room.kitDue) room.set({ open: { what: "kit" } });
      await this.updateComplete;
      if (this.goesOn && room.open === null) this.#focus?.goOn();
    } catch (error) {
      if (generation === this.#generation) this.trouble = noticeOf(error).message;
    }
  }

  protected override render() {
    const { room } = this;
    if (room?.failed) return this.#failure(room.failed.message);
    if (this.trouble !== "") return this.#failure(this.trouble);
    if (room === undefined || room.state === null) {
      return html`<div class="app welcome" part="app"><div class="welcome-box"><div class="badge">${icon("lock")}</div>
        <p role="status">${words.opening}</p><div class="bar" aria-hidden="true"></div></div></div>`;
    }
    const covered = room.panel && this.narrow;
    return html`<div class="app ${room.call === null ? "" : "in-call"} ${room.panel ? "with-panel" : ""}" part="app"
        @cr-closed=${this.#panelClosed} @cr-write=${this.#write} @dragover=${this.#drag} @dragleave=${this.#dragEnd} @drop=${this.#drop}>
      ${this.#header(room)}
      <div class="below">
        ${room.call === null ? nothing : html`<cr-call .room=${room} .call=${room.call} ?inert=${covered}></cr-call>`}
        <section class="conversation" aria-label=${words.header.label} ?inert=${covered}>
          <cr-notices .room=${room}></cr-notices>
          <cr-history .room=${room}></cr-history>
          <cr-transfers .room=${room}></cr-transfers>
          <cr-composer .room=${room}></cr-composer>
          ${this.dragging ? html`<div class="drop">${icon("attach")}${words.composer.drop}</div>` : nothing}
        </section>
        ${room.panel ? html`<cr-people .room=${room}></cr-people>` : nothing}
      </div>
      ${this.#over(room)}
      <div class="sr" role="status" aria-live="polite">${room.announced}</div>
    </div>`;
  }

  #header(room: Room) {
    const changed = room.changedPerson !== undefined;
    const others = room.others.filter((person) => person.member);
    const unverified = others.some((person) => person.trust !== "verified");
    const label = changed
      ? words.header.peopleChanged
      : unverified
        ? words.header.peopleUnverified
        : words.header.people;
    const standing = changed
      ? words.header.changed
      : others.length === 0
        ? words.header.alone
        : unverified
          ? words.header.unverified
          : words.header.verified;
    const look = changed ? "bad" : others.length === 0 ? "" : unverified ? "unsure" : "good";
    const callable =
      room.call === null && room.state?.ended !== true && room.state?.member === true && others.length > 0;
    return html`<header class="head" part="header">
      <span class="avatar" aria-hidden="true">${Array.from(room.otherNames)[0]}</span>
      <div class="head-text"><h1><bdi>${room.otherNames}</bdi></h1><span class="standing ${look}">${standing}</span></div>
      ${
        callable
          ? html`<button type="button" class="quiet round" aria-label=${words.header.call} title=${words.header.call} @click=${() => room.startCall(false)}>${icon("phone")}</button>
        <button type="button" class="quiet round" aria-label=${words.header.videoCall} title=${words.header.videoCall} @click=${() => room.startCall(true)}>${icon("camera")}</button>`
          : nothing
      }
      <button type="button" class="quiet round" aria-label=${words.header.checkIns} title=${words.header.checkIns} @click=${() => room.set({ open: { what: "trend" } })}>${icon("trend")}</button>
      <button type="button" id="people-button" class="quiet round ${look}" aria-label=${label} title=${words.header.people} aria-expanded=${room.panel ? "true" : "false"}
        @click=${() => room.set({ panel: !room.panel })}>${icon(changed ? "warning" : unverified || others.length === 0 ? "shield" : "shieldCheck")}</button>
    </header>`;
  }

  /** What stands above everything: dialogs, a ring, a passing notice. */
  #over(room: Room) {
    const dialog = room.open !== null || room.question !== null;
    return html`${room.ring === null || dialog ? nothing : html`<cr-ring .room=${room} .ring=${room.ring}></cr-ring>`}
      ${this.#dialog(room)}
      ${room.question === null ? nothing : html`<cr-confirm .room=${room}></cr-confirm>`}
      <div class="toasts" role="alert">${dialog ? nothing : toast(room)}</div>`;
  }

  #dialog(room: Room) {
    switch (room.open?.what) {
      case "verify":
        return html`<cr-verify .room=${room}></cr-verify>`;
      case "kit":
        return html`<cr-kit .room=${room}></cr-kit>`;
      case "addDevice":
        return html`<cr-add-device .room=${room}></cr-add-device>`;
      case "checkIn":
        return html`<cr-ask .room=${room}></cr-ask>`;
      case "trend":
        return html`<cr-trend .room=${room}></cr-trend>`;
      case "image":
        return html`<cr-image .room=${room}></cr-image>`;
      default:
        return nothing;
    }
  }

  #failure(message: string) {
    return html`<div class="app welcome" part="app"><div class="welcome-box"><div class="badge">${icon("warning")}</div>
      <h1>${words.notices.failedTitle}</h1><p role="alert" dir="auto">${message}</p>
      <div class="actions"><button type="button" class="primary" @click=${() => this.again()}>${words.notices.again}</button></div></div></div>`;
  }

  #panelClosed = (): void => {
    this.renderRoot.querySelector<HTMLElement>("#people-button")?.focus();
  };

  #write = (): void => {
    void this.updateComplete.then(() => this.renderRoot.querySelector<Composer>("cr-composer")?.focus());
  };

  get #takesFiles(): boolean {
    const state = this.room?.state;
    return state?.member === true && !state.ended;
  }

  #drag = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.dragging = this.#takesFiles;
  };

  #dragEnd = (event: DragEvent): void => {
    if (event.relatedTarget === null) this.dragging = false;
  };

  #drop = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (this.#takesFiles) this.room?.stage(event.dataTransfer.files);
    this.dragging = false;
  };
}
