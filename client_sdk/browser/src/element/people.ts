/** Who can read this: people and devices, verified or not, in plain words; and what concerns oneself. */

import { html, nothing } from "lit";
import type { Person } from "../api.ts";
import { personName, shownName } from "./format.ts";
import type { IconName } from "./icons.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { admit } from "./notices.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const text = words.people;
const NAME_LENGTH = 60;

export class PeoplePanel extends Plain {
  static override properties = {
    room: { attribute: false },
    receipts: { state: true },
    archive: { state: true },
  };
  declare room: Room;
  declare receipts: boolean | undefined;
  declare archive: boolean | undefined;

  protected override followed() {
    return [this.room];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.room.attempt(async () => {
      this.receipts = await this.room.relay.readReceipts();
      this.archive = await this.room.relay.archive();
    });
  }

  protected override firstUpdated(): void {
    this.querySelector<HTMLElement>("h2")?.focus();
  }

  protected override render() {
    const { room } = this;
    const unverified = room.others.some((person) => person.member && person.trust !== "verified");
    return html`<section class="panel" part="panel" aria-labelledby="people-title" @keydown=${this.#key}>
      <div class="panel-head"><h2 id="people-title" tabindex="-1">${text.title}</h2>
        <button type="button" class="quiet round" aria-label=${words.close} @click=${this.#close}>${icon("close")}</button></div>
      <div class="panel-body">
        <p class="hint">${text.intro}</p>
        <ul class="people">${room.people.map((person) => this.#person(person))}</ul>
        ${unverified ? html`<p class="hint">${text.until}</p>` : nothing}
        <section><h3>${words.devices.title}</h3><cr-devices .room=${room}></cr-devices></section>
        ${this.#settings()}
        ${room.state?.protection ? html`<section><h3>${text.protection}</h3><p class="hint">${room.state.protection}</p></section>` : nothing}
      </div>
    </section>`;
  }

  #person(person: Person) {
    const name = person.name === "" ? personName(person) : shownName(person.name);
    const [sign, look, sentence] = standing(person);
    return html`<li class="person" part="person">
      <span class="avatar" aria-hidden="true">${Array.from(name)[0]}</span>
      <div class="person-text">
        <strong><bdi>${person.me ? text.me(name) : name}</bdi></strong>
        <span class="hint">${[shownName(person.role, ""), person.member ? text.devices(person.devices) : ""].filter((part) => part !== "").join(" · ")}</span>
        ${sentence === "" ? nothing : html`<span class="standing ${look}">${icon(sign)}<span>${sentence}</span></span>`}
      </div>
      ${this.#action(person, name)}
    </li>`;
  }

  #action(person: Person, name: string) {
    const { room } = this;
    if (person.me) return nothing;
    if (person.waitsForAdmission) {
      return html`<button type="button" class="primary" aria-label=${text.letIn(name)} @click=${() => admit(room, person)}>${words.notices.letIn}</button>`;
    }
    if (!person.member) return nothing;
    const verified = person.trust === "verified";
    return html`<button type="button" class=${verified ? "" : "primary"} aria-label="${verified ? text.verifyAgain : text.verify}: ${name}"
      @click=${() => room.set({ open: { what: "verify", user: person.user } })}>${verified ? text.verifyAgain : text.verify}</button>`;
  }

  #settings() {
    const { room } = this;
    return html`<section><h3>${text.settings}</h3>
      <form class="inline" @submit=${this.#rename}><label class="field">${text.nameLabel}
        <input type="text" name="name" dir="auto" maxlength=${NAME_LENGTH} autocomplete="off" .value=${room.relay.me.name}></label>
        <button type="submit" aria-label=${text.nameSave}>${words.save}</button></form>
      <label class="switch"><input type="checkbox" .checked=${this.receipts ?? false} ?disabled=${this.receipts === undefined} @change=${this.#setReceipts}><span>${text.receipts}</span></label>
      <label class="switch"><input type="checkbox" .checked=${this.archive ?? false} ?disabled=${this.archive === undefined} @change=${this.#setArchive}>
        <span>${text.archive}<span class="hint">${text.archiveHint}</span></span></label>
      <label class="switch"><input type="checkbox" .checked=${room.relay.addressHidden} ?disabled=${room.relay.addressAlwaysHidden} @change=${this.#setHidden}>
        <span>${text.hideAddress}<span class="hint">${room.relay.addressAlwaysHidden ? text.hideAddressAlways : text.hideAddressHint}</span></span></label>
      ${room.kitDue ? html`<button type="button" @click=${() => room.set({ open: { what: "kit" } })}>${icon("lock")}${text.kitDue}</button>` : html`<p class="hint">${text.kitMade}</p>`}
    </section>`;
  }

  #rename = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const name = String(new FormData(event.target as HTMLFormElement).get("name") ?? "").trim();
    if (name === "") return;
    await this.room.attempt(() => this.room.relay.setName(name));
    await this.room.refresh();
  };

  #setReceipts = (event: Event): void => {
    const on = (event.target as HTMLInputElement).checked;
    void this.room.attempt(async () => {
      await this.room.relay.setReadReceipts(on);
      this.receipts = on;
    });
  };

  #setHidden = (event: Event): void => {
    const box = event.target as HTMLInputElement;
    void this.room
      .attempt(() => this.room.relay.setAddressHidden(box.checked))
      .then(() => {
        box.checked = this.room.relay.addressHidden;
      });
  };

  #setArchive = (event: Event): void => {
    const box = event.target as HTMLInputElement;
    const on = box.checked;
    void this.room
      .attempt(async () => {
        await this.room.relay.setArchive(on);
        this.archive = on;
      })
      .then(() => {
        box.checked = this.archive ?? false;
      });
  };

  #key = (event: KeyboardEvent): void => {
    if (event.key === "Escape") this.#close();
  };

  #close = (): void => {
    this.room.set({ panel: false });
    this.dispatchEvent(new CustomEvent("cr-closed", { bubbles: true }));
  };
}

/** How it stands with a person: a sign, a look and a sentence. */
function standing(person: Person): readonly [IconName, string, string] {
  if (person.me) return ["shieldCheck", "", ""];
  if (person.waitsForAdmission) return ["clock", "", text.waits];
  if (!person.member) return ["clock", "", text.invited];
  if (person.trust === "changed") return ["warning", "bad", text.changed];
  return person.trust === "verified"
    ? ["shieldCheck", "good", text.verified]
    : ["shield", "unsure", text.unverified];
}
