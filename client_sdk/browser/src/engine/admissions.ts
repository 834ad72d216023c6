/** Letting devices in: watches one conversation, claims key packages of those who wait, and commits. */

import { equal } from "../bytes.ts";
import { IdentityError, RelayError } from "../errors.ts";
import { GroupError } from "../mls/errors.ts";
import { WireError } from "../wire/errors.ts";
import type { DeviceId } from "../wire/ids.ts";
import type { Plan } from "./admitting.ts";
import { chooseSuite, commit, create, planCommit, waitingDevices } from "./admitting.ts";
import type { Claiming } from "./claiming.ts";
import { Claims } from "./claiming.ts";
import { makeRenewal } from "./renewing.ts";
import { putCommit } from "./sending.ts";
import type { Situation } from "./situation.ts";
import { mayCommit, mustCreate } from "./situation.ts";
import { viewIn } from "./views.ts";
import type { Work } from "./work.ts";

/** Docs/PROTOCOL.md 7: a random part of it for each place behind the first. */
const WAIT_PER_PLACE_MS = 2000;
const RETRY_MS = 5000;

/** The conversation whose commits are made. */
export interface Admitting {
  readonly situation: Situation;
  /** What claims may look at; null without a connection. */
  readonly claiming: Claiming | null;
  /** Make a commit, unless the conversation has gone on: durable, and on its way. */
  commit(afterCommit: number, make: (work: Work) => Promise<void>): Promise<void>;
  sleep(ms: number): Promise<void>;
  fraction(): number;
  nowMs(): number;
  fault(error: unknown): void;
}

/** Makes the commits of one conversation that its members owe to those who wait, one at a time. */
export class Admissions {
  readonly #of: Admitting;
  readonly #claims: Claims;
  #present: readonly DeviceId[] = [];
  #due = false;
  #running = false;

  constructor(of: Admitting) {
    this.#of = of;
    this.#claims = new Claims(
      () => of.nowMs(),
      (ms) => void of.sleep(ms).then(() => this.wake()),
    );
  }

  /** Something changed: look again. What changes while it looks makes it look once more. */
  wake(): void {
    this.#due = true;
    if (this.#running) return;
    this.#running = true;
    this.#run()
      .catch((error: unknown) => this.#of.fault(error))
      .finally(() => {
        this.#running = false;
        if (this.#due) this.wake();
      });
  }

  /** A person has decided about somebody: whoever was left out is looked at again. */
  decided(): void {
    this.#claims.forget();
    this.wake();
  }

  async #run(): Promise<void> {
    while (this.#due) {
      this.#due = false;
      try {
        await this.#look();
      } catch (error) {
        if (!(error instanceof RelayError)) throw error;
        await this.#of.sleep(RETRY_MS);
        this.#due = this.#of.claiming !== null; // the next connection looks by itself
      }
    }
  }

  async #look(): Promise<void> {
    if (!mayCommit(this.#of.situation)) return;
    if (mustCreate(this.#of.situation)) {
      await this.#create();
      return;
    }
    this.#restWhoLeft();
    let plan = planCommit(this.#of.situation, this.#claims);
    if (plan !== null && plan.places > 0) {
      await this.#of.sleep(this.#of.fraction() * WAIT_PER_PLACE_MS * plan.places);
      plan = mayCommit(this.#of.situation) ? planCommit(this.#of.situation, this.#claims) : null;
    }
    if (plan === null) return;
    if (plan.renews === null) await this.#commit(plan);
    else await this.#renew(plan.waiting, plan.renews);
  }

  /** Who has just been removed is not added again at once: who did it may know why, and gets to speak before. */
  #restWhoLeft(): void {
    const { group } = this.#of.situation.state;
    if (group === null) return;
    const devices = viewIn(group).leaves.map(({ device }) => device);
    const left = this.#present.filter((one) => !devices.some((device) => equal(device, one)));
    for (const device of left) this.#claims.refuse(device);
    this.#present = devices;
  }

  async #create(): Promise<void> {
    const { claiming, situation } = this.#of;
    if (claiming === null) return;
    const offers = await this.#claims.offers(waitingDevices(situation, this.#claims), claiming);
    const own = situation.shared.account.manifest;
    const suite = chooseSuite(
      own,
      offers.map((offer) => offer.newest),
    );
    const added = await this.#claims.candidates(offers, suite, claiming);
    await this.#of.commit(0, async (work) => {
      if (mustCreate(this.#of.situation)) await create(work, claiming.engagement, added, suite);
    });
  }

  async #commit(plan: Plan): Promise<void> {
    const { claiming } = this.#of;
    const { group, lastCommit } = this.#of.situation.state;
    if (claiming === null || group === null) return;
    const wanted = plan.refresh ? [] : plan.waiting; // our list comes first, by a commit of its own
    const offers = await this.#claims.offers(wanted, claiming);
    const candidates = await this.#claims.candidates(offers, group.suite, claiming);
    if (candidates.length === 0 && plan.removes.length === 0 && !plan.refresh) return;
    await this.#making(plan.waiting, () =>
      this.#of.commit(lastCommit, async (work) => {
        const present = work.state.group;
        if (present !== null) await commit(work, present, claiming.engagement, plan, candidates);
      }),
    );
  }

  /** Move everybody to a stronger suite; without a key package of each one it waits. */
  async #renew(others: readonly DeviceId[], suite: NonNullable<Plan["renews"]>): Promise<void> {
    const { claiming } = this.#of;
    const { group, lastCommit } = this.#of.situation.state;
    if (claiming === null || group === null) return;
    const lists = new Map(viewIn(group).leaves.map((leaf) => [leaf.name, leaf.manifest]));
    const offers = await this.#claims.offers(others, claiming);
    const candidates = await this.#claims.candidates(offers, suite, claiming, lists);
    if (candidates.length < others.length) return; // who lacks one is asked again later
    await this.#making(others, () =>
      this.#of.commit(lastCommit, async (work) => {
        const present = work.state.group;
        if (present === null) return;
        const made = await makeRenewal(work, present, candidates, suite);
        putCommit(work, made, { adds: [], removes: [] }, "change");
      }),
    );
  }

  /** What would be void for everybody is not sent; whose packages it was made of wait. */
  async #making(devices: readonly DeviceId[], action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const known = [GroupError, IdentityError, WireError].some((kind) => error instanceof kind);
      if (!known) throw error;
      for (const device of devices) this.#claims.refuse(device);
    }
  }
}
