/** A call: the picture, what can be done, how good the connection is, and the five words. */

import type { PropertyValues } from "lit";
import { html, nothing } from "lit";
import type { CallApi, Notice } from "../api.ts";
import { focusLost } from "./focus.ts";
import { lengthOf } from "./format.ts";
import type { IconName } from "./icons.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const text = words.call;

type Choice = Awaited<ReturnType<CallApi["devices"]>>[number];

export class CallView extends Plain {
  static override properties = {
    room: { attribute: false },
    call: { attribute: false },
    side: { state: true },
    choices: { state: true },
    matched: { state: true },
    read: { state: true },
  };
  declare room: Room;
  declare call: CallApi;
  /** What is open beside the picture. */
  declare side: "words" | "devices" | "differ" | null;
  declare choices: readonly Choice[];
  declare matched: boolean;
  /** The trouble that the person has read and put away; what goes wrong next is shown again. */
  declare read: Notice | null;
  #opener: HTMLElement | null = null;
  #clock: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.side = null;
    this.choices = [];
    this.matched = false;
    this.read = null;
  }

  protected override followed() {
    return [this.room];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#clock = setInterval(() => this.requestUpdate(), 1000);
    navigator.mediaDevices?.addEventListener("devicechange", this.#devicesChanged);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#clock);
    navigator.mediaDevices?.removeEventListener("devicechange", this.#devicesChanged);
  }

  /** Who called or answered goes on here; what they pressed for it has gone. */
  protected override firstUpdated(): void {
    setTimeout(() => this.querySelector<HTMLElement>(".control")?.focus());
  }

  protected override updated(changed: PropertyValues): void {
    if (changed.has("side")) this.#moveFocus(changed.get("side") ?? null);
    else if (this.side !== null && focusLost(this)) this.#toCard();
    const show = (name: string, stream: MediaStream | null): void => {
      const video = this.querySelector<HTMLVideoElement>(`video.${name}`);
      if (video !== null && video.srcObject !== stream) video.srcObject = stream;
    };
    show("remote", this.call.remote);
    show("local", this.call.local);
  }

  #toCard(): void {
    this.querySelector<HTMLElement>("#call-card-title")?.focus();
  }

  /** Into the card that opens, and back to what opened it. */
  #moveFocus(before: unknown): void {
    if (this.side !== null) {
      this.#opener = this.querySelector<HTMLElement>(".control:focus") ?? this.#opener;
      this.#toCard();
    } else if (before !== null && before !== undefined) this.#opener?.focus();
  }

  protected override render() {
    const { call, room } = this;
    // Who rings several people knows who it is once one of them answers.
    const name = call.user === "" ? room.otherNames : room.nameOf(call.user);
    if (call.state === "ended") return this.#ended(name);
    return html`<section class="call" part="call" aria-label=${text.with(name)} @keydown=${this.#key}>
      <div class="stage" part="call-stage">
        ${this.#pictures(name)}
        <div class="call-head"><strong dir="auto">${name}</strong>
          <span role="status">${this.#status()}</span>
          ${call.startedMs === null ? nothing : html`<span class="clock" role="timer" aria-live="off" aria-label=${text.lasted(this.#lasted)}>${this.#lasted}</span>`}</div>
        ${this.#trouble()}
        ${this.#beside(name)}
      </div>
      ${this.#controls()}
    </section>`;
  }

  /** A call with sound alone has neither camera nor screen. */
  get #picture(): boolean {
    return this.call.media.includes("video");
  }

  get #lasted(): string {
    return lengthOf((Date.now() - (this.call.startedMs ?? Date.now())) / 1000);
  }

  #status() {
    const { state, quality } = this.call;
    if (state !== "connected") return text.states[state];
    const told = this.#picture ? text.quality : text.qualityOfSound;
    return (Object.hasOwn(told, quality) && told[quality]) || text.states.connected;
  }

  #pictures(name: string) {
    const { call } = this;
    const seen = call.picture;
    return html`<video class="remote ${seen ? "" : "unseen"}" autoplay playsinline aria-label=${text.remote(name)}></video>
      ${seen ? nothing : html`<div class="no-picture"><span class="avatar huge" aria-hidden="true">${Array.from(name)[0]}</span><p class="sr">${text.noPicture(name)}</p></div>`}
      <video class="local ${call.camera || call.screen ? "" : "unseen"}" autoplay muted playsinline aria-label=${text.local}></video>`;
  }

  #trouble() {
    const { trouble } = this.call;
    if (trouble === null || trouble === this.read) return nothing;
    return html`<div class="call-trouble" role="alert">${icon("warning")}<p dir="auto">${trouble.message}</p>
      <button type="button" class="quiet round" aria-label=${words.dismiss} @click=${() => this.#putAway(trouble)}>${icon("close")}</button></div>`;
  }

  /** What was pressed for it goes: on with what the trouble was mostly about. */
  async #putAway(trouble: Notice): Promise<void> {
    this.read = trouble;
    await this.updateComplete;
    this.querySelector<HTMLElement>(".control")?.focus();
  }

  #controls() {
    const { call } = this;
    const on = call.state === "connected" || call.state === "reconnecting";
    const set = (action: () => Promise<void>) => () => this.room.attempt(action);
    const { microphone, camera, screen } = call;
    return html`<div class="controls" part="call-controls" role="group" aria-label=${text.label}>
      ${this.#control(
        microphone ? "microphone" : "microphoneOff",
        microphone ? text.mute : text.unmute,
        !microphone,
        set(() => call.setMicrophone(!microphone)),
      )}
      ${
        this.#picture
          ? this.#control(
              camera ? "camera" : "cameraOff",
              camera ? text.cameraOff : text.cameraOn,
              !camera,
              set(() => call.setCamera(!camera)),
            )
          : nothing
      }
      ${
        this.#picture && "getDisplayMedia" in (navigator.mediaDevices ?? {})
          ? this.#control(
              "screen",
              screen ? text.stopShare : text.share,
              screen,
              set(() => call.shareScreen(!screen)),
              !on,
            )
          : nothing
      }
      ${this.#control("settings", text.devices, this.side === "devices", this.#openDevices)}
      ${this.#control(this.matched ? "shieldCheck" : "shield", text.verify, this.side === "words", () => (this.side = this.side === "words" ? null : "words"))}
      <button type="button" class="control end" @click=${set(() => call.hangUp())}>${icon("hangUp")}<span>${text.end}</span></button>
    </div>`;
  }

  #control(name: IconName, label: string, marked: boolean, action: () => unknown, disabled = false) {
    return html`<button type="button" class="control ${marked ? "marked" : ""}" ?disabled=${disabled} @click=${action}>${icon(name)}<span>${label}</span></button>`;
  }

  #beside(name: string) {
    if (this.side === null) return nothing;
    const body = {
      words: () => this.#words(name),
      devices: () => this.#devices(),
      differ: () => this.#differ(name),
    }[this.side]();
    const title = { words: text.wordsTitle(name), devices: text.devicesTitle, differ: text.differTitle }[
      this.side
    ];
    return html`<div class="call-card" part="call-card" role="dialog" aria-labelledby="call-card-title">
      <div class="dialog-head"><h2 id="call-card-title" tabindex="-1" dir="auto">${title}</h2>
        <button type="button" class="quiet round" aria-label=${words.close} @click=${() => (this.side = null)}>${icon("close")}</button></div>
      ${body}</div>`;
  }

  #words(name: string) {
    const { call } = this;
    if (this.matched || this.room.person(call.user)?.trust === "verified") {
      return html`<p class="standing good" role="status" dir="auto">${icon("shieldCheck")}${text.wordsDone(name)}</p>${this.#fiveWords()}`;
    }
    if (call.words.length === 0) return html`<p role="status">${text.wordsSoon}</p>`;
    return html`<p dir="auto">${text.wordsHow(name)}</p>${this.#fiveWords()}
      <div class="actions"><button type="button" class="primary" @click=${this.#match}>${text.wordsSame}</button>
        <button type="button" class="danger-quiet" @click=${() => (this.side = "differ")}>${text.wordsDiffer}</button></div>`;
  }

  #fiveWords() {
    return html`<ol class="five-words" aria-label=${text.verify} dir="ltr">${this.call.words.map((word) => html`<li>${word}</li>`)}</ol>`;
  }

  #differ(name: string) {
    return html`<p role="alert" dir="auto">${text.differText(name)}</p>
      <div class="actions"><button type="button" class="danger" @click=${() => this.room.attempt(() => this.call.hangUp())}>${text.end}</button></div>`;
  }

  #devices() {
    const all = Object.keys(text.kinds) as (keyof typeof text.kinds)[];
    const kinds = all.filter((kind) => kind !== "videoinput" || this.#picture);
    return kinds.map((kind) => {
      const these = this.choices.filter((one) => one.kind === kind);
      if (these.length === 0) return nothing;
      return html`<label class="field">${text.kinds[kind]}<select @change=${(event: Event) => this.#choose(kind, (event.target as HTMLSelectElement).value)}>
        ${these.map((one, at) => html`<option value=${one.id} .selected=${one.chosen}>${one.label || text.unnamed(text.kinds[kind], at + 1)}</option>`)}</select></label>`;
    });
  }

  #ended(name: string) {
    const { call, room } = this;
    return html`<section class="call over" part="call" aria-label=${text.with(name)}>
      <div class="over-text"><h2 tabindex="-1">${text.states.ended}</h2>
        <p role="alert" dir="auto">${call.ended?.message}</p>
        <div class="actions"><button type="button" class="primary" @click=${() => room.leaveCall()}>${words.close}</button></div></div>
    </section>`;
  }

  #openDevices = async (): Promise<void> => {
    this.side = this.side === "devices" ? null : "devices";
    if (this.side !== null) this.choices = (await this.room.attempt(() => this.call.devices())) ?? [];
  };

  /** Plugged in or unplugged: the choice that is open shows it. */
  #devicesChanged = async (): Promise<void> => {
    if (this.side === "devices")
      this.choices = (await this.room.attempt(() => this.call.devices())) ?? this.choices;
  };

  async #choose(kind: MediaDeviceKind, id: string): Promise<void> {
    await this.room.attempt(() => this.call.choose(kind, id));
    const heard = this.querySelector<HTMLVideoElement>("video.remote");
    if (kind === "audiooutput") await this.room.attempt(async () => heard?.setSinkId?.(id));
    this.choices = (await this.room.attempt(() => this.call.devices())) ?? this.choices;
  }

  #match = async (): Promise<void> => {
    const done = await this.room.attempt(() => this.call.wordsMatch().then(() => true));
    this.matched = done === true;
    await this.room.refresh();
  };

  #key = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || this.side === null) return;
    event.stopPropagation();
    this.side = null;
  };
}
