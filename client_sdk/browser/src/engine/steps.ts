/** The steps of one conversation: one after the other, each stored before anything of it is said. */

import { SecurityAlarm } from "../alarms.ts";
import type { Vault } from "../vault/vault.ts";
import type { DeviceFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { reachOf } from "./items.ts";
import { appendFrames } from "./sending.ts";
import type { State } from "./state.ts";
import { NEW_STATE, parseState } from "./state.ts";
import type { Telling } from "./telling.ts";
import type { Whispers } from "./whispers.ts";
import type { Shared } from "./work.ts";
import { Work } from "./work.ts";

export class Steps {
  readonly #id: EngagementId;
  readonly #shared: Shared;
  readonly #vault: Vault;
  readonly #whispers: Whispers;
  readonly #telling: Telling;
  #state: State;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(
    id: EngagementId,
    state: State,
    shared: Shared,
    vault: Vault,
    whispers: Whispers,
    telling: Telling,
  ) {
    this.#id = id;
    this.#state = state;
    this.#shared = shared;
    this.#vault = vault;
    this.#whispers = whispers;
    this.#telling = telling;
  }

  /** From what this device has stored of the conversation; raises VaultCorrupt or RecordInvalid. */
  static async load(
    id: EngagementId,
    shared: Shared,
    vault: Vault,
    whispers: Whispers,
    telling: Telling,
  ): Promise<Steps> {
    const stored = await vault.get(`state/${id}`);
    const state = stored === null ? NEW_STATE : parseState(stored, shared.account.portal);
    await whispers.follow(state.group, state.highestEpoch);
    return new Steps(id, state, shared, vault, whispers, telling);
  }

  /** What is stored. */
  get state(): State {
    return this.#state;
  }

  /** Something that no step may come between. */
  locked<T>(action: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(action);
    this.#queue = next.catch(() => undefined); // whoever asked has it
    return next;
  }

  /** One change: durable when this resolves, or it did not happen. */
  step<T>(action: (work: Work) => Promise<T>): Promise<T> {
    return this.locked(() => this.work(action));
  }

  /** A step about an answer of the relay, in which an alarm stops sending. */
  alarming(action: (work: Work) => Promise<void>): Promise<void> {
    return this.step(async (work) => {
      const before = work.state;
      try {
        await action(work);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        work.state = before;
        work.raise(error);
      }
    });
  }

  /** A step of whoever has locked the others out. */
  async work<T>(action: (work: Work) => Promise<T> | T): Promise<T> {
    const before = this.#state;
    const reach = reachOf(before, this.#shared);
    const work = new Work(this.#shared, this.#id, before);
    const result = await action(work);
    await this.#vault.write(work.writes);
    this.#state = work.state;
    work.settle();
    const heard = await this.#whispers.follow(this.#state.group, this.#state.highestEpoch);
    await this.#telling.step(work, before, reach);
    this.#telling.whispers(heard);
    return result;
  }

  /** The appends that whoever has locked the others out hands over now. */
  async appends(): Promise<readonly DeviceFrames["Append"][]> {
    const frames = await appendFrames(new Work(this.#shared, this.#id, this.#state));
    // Not stored: on the next connection it counts as encrypted again in any case.
    this.#state = { ...this.#state, box: this.#state.box.sent() };
    return frames;
  }
}
