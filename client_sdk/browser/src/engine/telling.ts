/** What the page is told of a conversation: after each step, and whenever it stands otherwise than before. */

import type { Item } from "../api.ts";
import type { Vault } from "../vault/vault.ts";
import type { EngagementId } from "../wire/ids.ts";
import type { ConversationEvents } from "./events.ts";
import type { Stored } from "./history.ts";
import type { Reach } from "./items.ts";
import { itemOf, reachOf } from "./items.ts";
import { mineBetween } from "./pages.ts";
import { alarmNotice, roomStateOf } from "./shown.ts";
import type { Situation } from "./situation.ts";
import type { State } from "./state.ts";
import type { Whisper } from "./whispers.ts";
import type { Shared, Work } from "./work.ts";

export class Telling {
  readonly #id: EngagementId;
  readonly #shared: Shared;
  readonly #vault: Vault;
  readonly #events: ConversationEvents;
  #shown = "";

  constructor(id: EngagementId, shared: Shared, vault: Vault, events: ConversationEvents) {
    this.#id = id;
    this.#shared = shared;
    this.#vault = vault;
    this.#events = events;
  }

  /** An item as the page gets it. */
  itemOf(stored: Stored, state: State): Item {
    return itemOf(stored, this.#id, reachOf(state, this.#shared));
  }

  /** A step is stored; before it others were as far as `reach`. */
  async step(work: Work, before: State, reach: Reach): Promise<void> {
    for (const [id, stored] of work.changed) {
      if (stored === null) this.#events.removed(id);
      else this.#item(stored, work.state);
    }
    const { delivered, read } = reachOf(work.state, this.#shared);
    await this.#reached(work, reach.delivered, delivered);
    await this.#reached(work, reach.read, read);
    const { alarm, group, highestEpoch } = work.state;
    if (alarm !== null && alarm !== before.alarm) this.#events.alarm(alarmNotice(alarm, this.#shared.names));
    if (before.highestEpoch !== highestEpoch || (before.group === null) !== (group === null)) {
      this.#entered(work);
    }
  }

  /** Ephemeral messages of members came. */
  whispers(heard: readonly Whisper[]): void {
    for (const whisper of heard) this.#events.whisper(whisper);
  }

  /** Tell it if why something waits, or what the page may do, is another than before. */
  situation(at: Situation): void {
    const { member, ended, caughtUp, waiting } = roomStateOf(at);
    const shown = [member, ended, caughtUp, waiting?.code].join();
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#events.changed();
  }

  #item(stored: Stored, state: State): void {
    this.#events.item(this.itemOf(stored, state), stored);
  }

  /** Somebody has, or has read, what this device said up to a later position than before. */
  async #reached(work: Work, from: number, to: number): Promise<void> {
    if (to <= from) return;
    for (const stored of await mineBetween(this.#vault, this.#id, from, to)) {
      if (!work.changed.has(stored.id)) this.#item(stored, work.state);
    }
  }

  #entered({ view }: Work): void {
    this.#events.changed();
    // Not waited for: it takes steps of its own.
    if (view !== null) this.#events.entered(view).catch((error: unknown) => this.#events.fault(error));
  }
}
