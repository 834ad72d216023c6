/** What the tests of a person's devices stand on: a vault, one conversation, and a relay that answers as it is told. */

import "fake-indexeddb/auto";
import type { SecurityAlarm } from "../../src/alarms.ts";
import type { Bytes } from "../../src/bytes.ts";
import { hex, utf8 } from "../../src/bytes.ts";
import { text } from "../../src/content/messages.ts";
import type { Account } from "../../src/engine/account.ts";
import { createAccount } from "../../src/engine/account.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Stored } from "../../src/engine/history.ts";
import { historyName, indexName, placeOf, serializeStored } from "../../src/engine/history.ts";
import { NEW_STATE } from "../../src/engine/state.ts";
import { Work } from "../../src/engine/work.ts";
import { Vault } from "../../src/vault/vault.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";
import { some } from "../vectors/make.ts";

export const ENGAGEMENT = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
export const PORTAL = parsePortalId("growth");
export const ANNA = parseUserId("anna");
const NOW = 1_800_000_000_000;

let drawn = 0;
export const rng = (length: number): Bytes => some(`random ${drawn++}`, length);

export interface Asked {
  readonly frame: string;
  readonly [field: string]: unknown;
}

export class World {
  readonly asked: Asked[] = [];
  readonly alarms: SecurityAlarm[] = [];
  readonly said: unknown[] = [];
  readonly told: unknown[] = [];
  readonly account: Account;
  readonly vault: Vault;
  /** What the relay answers, or raises. */
  answer: (question: Asked) => unknown = () => {
    throw new Error("the relay was not asked this before");
  };

  private constructor(vault: Vault) {
    this.vault = vault;
    this.account = createAccount(PORTAL, ANNA, "Anna", rng);
  }

  static async begin(): Promise<World> {
    return new World(await Vault.open(PORTAL, parseUserId(`user${drawn++}`)));
  }

  readonly askRelay = async (question: Asked): Promise<never> => {
    this.asked.push(question);
    return this.answer(question) as never;
  };

  asking(frame: string): readonly Asked[] {
    return this.asked.filter((question) => question.frame === frame);
  }

  readonly environment = { nowMs: () => NOW, rng, fraction: () => 0, sleep: async () => undefined };

  readonly shared = {
    trust: new Map(),
    names: new Map(),
    archives: false,
    sharesReading: true,
    rng,
    nowMs: () => NOW,
    read: (name: string) => this.vault.get(name),
    pages: {
      newest: (from: string, before: string, most: number) => this.vault.newest(from, before, most),
      oldest: (from: string, before: string, most: number) => this.vault.oldest(from, before, most),
    },
    findKeyPackage: async () => null,
  };

  readonly conversation = {
    id: ENGAGEMENT,
    member: true,
    alarm: null,
    view: null,
    engagement: { status: "active" },
    stored: { ...NEW_STATE },
    step: async <T>(action: (work: Work) => Promise<T>): Promise<T> => {
      const work = new Work({ ...this.shared, account: this.account }, ENGAGEMENT, NEW_STATE);
      work.raise = (alarm) => void this.alarms.push(alarm);
      const result = await action(work);
      await this.vault.write(work.writes);
      return result;
    },
    say: async (content: unknown) => void this.said.push(content),
  };

  readonly conversations = [this.conversation];

  /** As much of an engine as the parts about devices use. */
  get engine(): Engine {
    const { vault, account, environment, shared, askRelay } = this;
    const conversations = async () => this.conversations;
    const tell = (...told: readonly unknown[]) => void this.told.push(told);
    const made = { vault, account, environment, shared, askRelay, conversations, tell, online: true };
    return made as unknown as Engine;
  }

  async keep(...items: readonly Stored[]): Promise<void> {
    await this.vault.write(
      items.flatMap((one) => [
        { name: historyName(ENGAGEMENT, placeOf(one)), value: serializeStored(one) },
        { name: indexName(ENGAGEMENT, one.id), value: utf8(placeOf(one)) },
      ]),
    );
  }
}

/** A message at a position of the stream. */
export function message(seq: number, order: number, said = `message ${order}`): Stored {
  const id = some(`item ${order}`, 16);
  const attest = { epoch: 0, seq: 0, hash: new Uint8Array(32) };
  const envelope = { id, counter: 1, attest, closings: [], sentMs: 1, content: text(said) };
  const from = { user: ANNA, device: "00".repeat(16), mine: true, sentMs: 1 };
  return { id: hex(id), seq, order, ...from, envelope, notice: null, acts: [] };
}
