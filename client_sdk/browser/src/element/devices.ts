/** One's own devices: names, removing one; adding one opens a dialog. */

import type { PropertyValues } from "lit";
import { html, nothing } from "lit";
import type { Device } from "../api.ts";
import { shownName } from "./format.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const text = words.devices;
const NAME_LENGTH = 60;

export class DevicesView extends Plain {
  static override properties = { room: { attribute: false }, renaming: { state: true } };
  declare room: Room;
  declare renaming: string | null;

  constructor() {
    super();
    this.renaming = null;
  }

  protected override followed() {
    return [this.room];
  }

  protected override render() {
    const { devices } = this.room;
    const mayLink = devices.some((device) => device.isThis && device.mayLink);
    return html`<p class="hint">${text.intro}</p>
      <ul class="devices">${devices.map((device) => this.#device(device, mayLink))}</ul>
      ${mayLink ? html`<button type="button" @click=${() => this.room.set({ open: { what: "addDevice" } })}>${icon("plus")}${text.add}</button>` : nothing}`;
  }

  #device(device: Device, mayLink: boolean) {
    const name = shownName(device.name, device.id.slice(0, 8));
    const facts = [device.isThis ? text.thisOne : "", device.mayLink ? text.mayLink : ""].filter(
      (fact) => fact !== "",
    );
    if (this.renaming === device.id) return html`<li>${this.#renameForm(device, name)}</li>`;
    return html`<li>${icon("device")}
      <div class="person-text"><strong dir="auto">${name}</strong>${facts.length === 0 ? nothing : html`<span class="hint">${facts.join(", ")}</span>`}</div>
      <button type="button" class="quiet round" data-rename=${device.id} aria-label=${text.rename(name)} @click=${() => (this.renaming = device.id)}>${icon("edit")}</button>
      ${device.isThis || !mayLink ? nothing : html`<button type="button" class="quiet round" aria-label=${text.remove(name)} @click=${() => this.#remove(device, name)}>${icon("trash")}</button>`}
    </li>`;
  }

  #renameForm(device: Device, name: string) {
    return html`<form class="inline" @submit=${(event: SubmitEvent) => this.#rename(event, device)}>
      <label class="field">${text.newName}<input type="text" name="name" dir="auto" maxlength=${NAME_LENGTH} .value=${name}
        @keydown=${(event: KeyboardEvent) => this.#key(event)}></label>
      <button type="submit" class="primary">${words.save}</button></form>`;
  }

  /** Into the field that opens, and back to what opened it. */
  protected override updated(changed: PropertyValues): void {
    const before: unknown = changed.get("renaming");
    if (!changed.has("renaming")) return;
    if (this.renaming !== null) this.querySelector<HTMLInputElement>("form input")?.focus();
    else if (typeof before === "string")
      this.querySelector<HTMLElement>(`[data-rename="${CSS.escape(before)}"]`)?.focus();
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.renaming = null;
  }

  async #rename(event: SubmitEvent, device: Device): Promise<void> {
    event.preventDefault();
    const name = String(new FormData(event.target as HTMLFormElement).get("name") ?? "").trim();
    this.renaming = null;
    if (name === "" || name === device.name) return;
    await this.room.attempt(() => this.room.relay.renameDevice(device.id, name));
    await this.room.refresh();
  }

  async #remove(device: Device, name: string): Promise<void> {
    const { removeTitle, removeText, removeYes: yes } = text;
    if (!(await this.room.ask({ title: removeTitle(name), text: removeText, yes, danger: true }))) return;
    await this.room.attempt(() => this.room.relay.removeDevice(device.id));
    await this.room.refresh();
  }
}
