/** Somebody calls, or a call waits for this person: who, and answer or decline; a soft tone, where a page may sound. */

import { html, nothing } from "lit";
import type { Ring } from "../api.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const TONE_EVERY_MS = 2500;
const NOTES_HZ = [523, 659] as const;
const NOTE_S = 0.28;
const LOUDNESS = 0.08;

export class RingView extends Plain {
  static override properties = { room: { attribute: false }, ring: { attribute: false } };
  declare room: Room;
  declare ring: Ring;
  #audio: AudioContext | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #before: HTMLElement | null = null;

  /** Who calls for the first time says in the same moment what they are called. */
  protected override followed() {
    return [this.room];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const root = this.getRootNode();
    this.#before = root instanceof ShadowRoot ? (root.activeElement as HTMLElement | null) : null;
    if (this.ring.returns) return; // it does not ring: the person was there
    this.#audio = new AudioContext();
    this.#tone();
    this.#timer = setInterval(() => this.#tone(), TONE_EVERY_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    void this.#audio?.close();
    const before = this.#before;
    queueMicrotask(() => before?.isConnected && before.focus());
  }

  protected override firstUpdated(): void {
    this.querySelector<HTMLElement>("button")?.focus();
  }

  protected override render() {
    const { room, ring } = this;
    const name = room.nameOf(ring.user);
    const video = ring.media.includes("video");
    const { call } = words;
    const [title, how, take, takeVideo, leave] = ring.returns
      ? [call.returnTitle(name), call.returnHow, call.return, call.returnVideo, call.end]
      : [
          call.ringTitle(name),
          video ? call.ringVideo : call.ringAudio,
          call.accept,
          call.acceptVideo,
          call.decline,
        ];
    return html`<div class="ring" part="ring" role="alertdialog" aria-labelledby="ring-title" aria-describedby="ring-how">
      <span class="avatar large" aria-hidden="true">${Array.from(name)[0]}</span>
      <div class="ring-text"><h2 id="ring-title" dir="auto">${title}</h2><p id="ring-how" class="hint">${how}</p></div>
      <div class="ring-actions">
        <button type="button" class="take" @click=${() => room.answer(ring, false)}>${icon("phone")}${take}</button>
        ${video ? html`<button type="button" class="take" @click=${() => room.answer(ring, true)}>${icon("camera")}${takeVideo}</button>` : nothing}
        <button type="button" class="danger" @click=${this.#decline}>${icon("hangUp")}${leave}</button>
      </div>
    </div>`;
  }

  #decline = (): void => {
    const { room, ring } = this;
    room.set({ ring: null });
    void room.attempt(() => ring.decline());
  };

  /** Two notes. Before the person has touched the page the browser keeps it silent, which is its right. */
  #tone(): void {
    const audio = this.#audio;
    if (audio === undefined || audio.state !== "running") return;
    for (const [at, hz] of NOTES_HZ.entries()) {
      const from = audio.currentTime + at * NOTE_S;
      const tone = new OscillatorNode(audio, { type: "sine", frequency: hz });
      const gain = new GainNode(audio, { gain: 0 });
      gain.gain.setValueAtTime(0, from);
      gain.gain.linearRampToValueAtTime(LOUDNESS, from + 0.04);
      gain.gain.linearRampToValueAtTime(0, from + NOTE_S);
      tone.connect(gain).connect(audio.destination);
      tone.start(from);
      tone.stop(from + NOTE_S);
    }
  }
}
