/** What a person has to know now, above the messages: offline, waiting, warnings, decisions. */

import { html, nothing } from "lit";
import type { Person } from "../api.ts";
import { personName, shownName } from "./format.ts";
import type { IconName } from "./icons.ts";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const text = words.notices;

export class Notices extends Plain {
  static override properties = { room: { attribute: false } };
  declare room: Room;

  protected override followed() {
    return [this.room];
  }

  protected override render() {
    const { room } = this;
    return html`<div class="notices" part="notices">
      <div role="alert">${this.#alarm()}</div>
      <div role="status">
        ${this.#connection()} ${this.#waiting()}
        ${room.ringsLater.map(({ user }) => this.#line("phone", words.call.callsToo(room.nameOf(user))))}
        ${room.people.filter((person) => person.waitsForAdmission).map((person) => this.#knock(person))}
        ${this.#kit()}
      </div>
    </div>`;
  }

  #alarm() {
    const { room } = this;
    const person = room.changedPerson;
    if (person !== undefined) return this.#identity(person);
    const alarm = room.state?.alarm;
    if (!alarm) return nothing;
    const other = room.person(alarm.user ?? "") ?? room.others.find((one) => one.member);
    return html`<section class="notice alarm" part="notice alarm">${icon("warning")}<div>
      <h2>${text.alarmTitle}</h2><p dir="auto">${alarm.message}</p>
      <div class="actions">
        ${other === undefined ? nothing : html`<button type="button" class="primary" @click=${() => this.#verify(other)}>${text.compare(shownName(other.name))}</button>`}
        <button type="button" @click=${this.#goOn}>${text.goOn}</button>
      </div></div></section>`;
  }

  #identity(person: Person) {
    const { room } = this;
    const name = shownName(person.name);
    if (room.later.has(person.user)) {
      return html`<section class="notice warning" part="notice">${icon("warning")}<div><p dir="auto">${text.identityLater(name)}</p></div>
        <button type="button" @click=${() => room.set({ later: new Set() })}>${text.decide}</button></section>`;
    }
    return html`<section class="notice alarm" part="notice alarm">${icon("warning")}<div>
      <h2 dir="auto">${text.identityTitle(name)}</h2><p dir="auto">${text.identityText(name)}</p>
      <div class="actions">
        <button type="button" class="primary" @click=${() => this.#verify(person)}>${text.identityCompare}</button>
        <button type="button" @click=${() => this.#letInChanged(person)}>${text.identityLetIn}</button>
        <button type="button" @click=${() => room.set({ later: new Set([...room.later, person.user]) })}>${text.notNow}</button>
      </div></div></section>`;
  }

  #connection() {
    const { room } = this;
    if (room.otherTab) return this.#line("device", text.otherTab);
    if (!room.online) return this.#offline();
    return room.catchesUp ? this.#line("waiting", text.catchingUp) : nothing;
  }

  /** `navigator.onLine` is sure only when it says no. */
  #offline() {
    const { offline, wasOnline } = this.room;
    if (offline !== null) return this.#line("offline", text.offlineSince(offline.message));
    return wasOnline || !navigator.onLine
      ? this.#line("offline", text.offline)
      : this.#line("waiting", text.connecting);
  }

  #waiting() {
    const { room } = this;
    const { state } = room;
    if (state === null || state.ended) return nothing;
    if (!state.member) {
      const names = room.others
        .filter((one) => one.member)
        .map((one) => personName(one, words.unnamedWithin));
      return html`<section class="notice" part="notice">${icon("clock")}<div><h2>${text.notMemberTitle}</h2>
        <p dir="auto">${names.length === 0 ? text.notMemberAlone : text.notMember(names.join(", "))}</p></div></section>`;
    }
    const absent = room.others.filter((one) => !one.member);
    if (absent.length > 0) return absent.map((one) => this.#line("clock", text.missing(personName(one))));
    return state.waiting === null || !state.caughtUp ? nothing : this.#line("clock", state.waiting.message);
  }

  #line(sign: IconName, sentence: string) {
    return html`<div class="notice quiet-notice" part="notice">${icon(sign)}<p dir="auto">${sentence}</p></div>`;
  }

  #knock(person: Person) {
    const name = shownName(person.name, person.user);
    return html`<div class="notice" part="notice">${icon("bell")}<p dir="auto">${text.knock(name, shownName(person.role, ""))}</p>
      <button type="button" class="primary" @click=${() => admit(this.room, person)}>${text.letIn}</button></div>`;
  }

  #kit() {
    const { room } = this;
    // It is the one thing that can wait: for the end of a call, for a connection, and for what has to be decided now.
    if (!room.kitDue || !room.kitLater || !room.online || room.asksAlready) return nothing;
    return html`<div class="notice quiet-notice" part="notice">${icon("lock")}<p>${text.kit}</p>
      <button type="button" @click=${() => room.set({ open: { what: "kit" } })}>${text.kitMake}</button></div>`;
  }

  #verify(person: Person): void {
    this.room.set({ open: { what: "verify", user: person.user } });
  }

  #goOn = async (): Promise<void> => {
    const { room } = this;
    const yes = await room.ask({ title: text.goOnTitle, text: text.goOnText, yes: text.goOn, danger: true });
    if (yes) await room.attempt(() => room.api.goOn());
    await room.refresh();
  };

  async #letInChanged({ user, name }: Person): Promise<void> {
    const { room } = this;
    const shown = shownName(name);
    const { identityLetInTitle: title, identityLetInText: why, identityYes: yes, notNow: no } = text;
    if (!(await room.ask({ title: title(shown), text: why(shown), yes, no, danger: true }))) return;
    await room.attempt(() => room.api.acceptIdentity(user));
    await room.refresh();
  }
}

/** Ask whether a further person may come in, and let them. */
export async function admit(room: Room, person: Person): Promise<void> {
  const name = shownName(person.name, person.user);
  const { letInTitle: title, letInText: why, letInYes: yes, notNow: no } = text;
  if (!(await room.ask({ title: title(name), text: why(name), yes, no }))) return;
  await room.attempt(() => room.api.admit(person.user));
  await room.refresh();
}
