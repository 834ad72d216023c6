/** One step on a conversation: what it changes is stored in one transaction, and counts only then. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes, Rng } from "../bytes.ts";
import { hex, utf8 } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import type { ConversationView } from "../identity/membership.ts";
import { governing, viewOf } from "../identity/membership.ts";
import type { TrustRecord } from "../identity/trust.ts";
import { checkNotOlder, observe, serializeTrust } from "../identity/trust.ts";
import type { KeyPackageBundle } from "../mls/keyPackages.ts";
import { pack } from "../msgpack.ts";
import type { Write } from "../vault/vault.ts";
import type { EngagementId, UserId } from "../wire/ids.ts";

import type { Account } from "./account.ts";
import type { Stored } from "./history.ts";
import { serializeStored } from "./history.ts";
import type { State } from "./state.ts";
import { serializeState } from "./state.ts";

/** What is known beyond one conversation. */
export interface Shared {
  account: Account;
  readonly trust: Map<UserId, TrustRecord>;
  readonly names: Map<UserId, string>;
  readonly rng: Rng;
  readonly nowMs: () => number;
  /** Our key package with this reference, and the names of the records of its whole offer. */
  findKeyPackage(
    ref: Bytes,
  ): Promise<{ readonly bundle: KeyPackageBundle; readonly offer: readonly string[] } | null>;
}

/** What the history holds already. */
export interface Book {
  readonly byId: ReadonlyMap<string, Stored>;
  readonly nextOrder: number;
}

export class Work {
  readonly shared: Shared;
  readonly engagement: EngagementId;
  readonly stored = new Map<string, Stored>();
  readonly #book: Book;
  readonly #before: State;
  readonly #writes = new Map<string, Bytes | null>();
  readonly #trust = new Map<UserId, TrustRecord>();
  readonly #names = new Map<UserId, string>();
  #order: number;
  state: State;
  /** Devices came in: everybody tells them their name. */
  joined = false;
  keyPackagesSpent = false;

  constructor(shared: Shared, engagement: EngagementId, state: State, book: Book) {
    this.shared = shared;
    this.engagement = engagement;
    this.state = state;
    this.#before = state;
    this.#book = book;
    this.#order = book.nextOrder;
  }

  change(changes: Partial<State>): void {
    this.state = { ...this.state, ...changes };
  }

  get view(): ConversationView | null {
    return this.state.group && viewOf(this.state.group.facts);
  }

  /** A person has to look before anything more is sent; what comes is still processed. */
  raise(alarm: SecurityAlarm): void {
    const { code, evidence } = alarm;
    this.change({ alarm: this.state.alarm ?? { code, evidence, halted: false } });
  }

  /** Nothing more is processed until a person has looked; what this step had changed does not count. */
  halt(alarm: SecurityAlarm, before: State): void {
    const { code, evidence } = alarm;
    this.state = { ...before, alarm: { code, evidence, halted: true } };
  }

  /** This device cannot follow the conversation any more. */
  outOfStep(): void {
    this.change({ alarm: { code: "out_of_step", evidence: {}, halted: true } });
  }

  put(name: string, value: Bytes | null): void {
    this.#writes.set(name, value);
  }

  /** Keep a message; false if the history holds it already. */
  keep(envelope: Envelope, from: Pick<Stored, "seq" | "user" | "device" | "mine">): boolean {
    const id = hex(envelope.id);
    if (this.#book.byId.has(id) || this.stored.has(id)) return false;
    this.stored.set(id, { ...from, id, envelope, order: this.#order++ });
    return true;
  }

  /** Our message stands in the stream. */
  place(id: string, seq: number): void {
    const found = this.stored.get(id) ?? this.#book.byId.get(id);
    if (found !== undefined) this.stored.set(id, { ...found, seq });
  }

  /** Something that a person should know stands in the history at this place. */
  notice(text: string, seq: number): void {
    const attest = { epoch: 0, seq: 0, hash: new Uint8Array(32) };
    const content = {
      kind: "unknown",
      named: "notice",
      kindVersion: 1,
      critical: false,
      fallback: text,
      body: pack({}),
    } as const;
    const [id, sentMs] = [this.shared.rng(16), this.shared.nowMs()];
    const envelope = { id, counter: 1, attest, closings: [], sentMs, content };
    this.keep(envelope, { seq, user: this.shared.account.user, device: "", mine: false });
  }

  setName(user: UserId, name: string): void {
    this.#names.set(user, name);
    this.put(`name/${user}`, utf8(name));
  }

  trustOf(user: UserId): TrustRecord | null {
    return this.#trust.get(user) ?? this.shared.trust.get(user) ?? null;
  }

  setTrust(record: TrustRecord): void {
    this.#trust.set(record.newest.user, record);
    this.put(`trust/${record.newest.user}`, serializeTrust(record));
  }

  /** Note the people of an epoch that was entered; what is wrong with them is an alarm. */
  observePeople(view: ConversationView): void {
    const own = this.shared.account.user;
    for (const user of new Set(view.leaves.map((leaf) => leaf.user))) {
      const manifest = governing(view, user);
      if (user === own || manifest === null) continue;
      const known = this.trustOf(user);
      try {
        checkNotOlder(known, manifest);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        this.raise(error);
      }
      const next = observe(known, manifest, this.shared.nowMs());
      if (next !== known) this.setTrust(next);
      if (next.state === "changed") this.raise(new SecurityAlarm("identity_changed", { user }));
    }
  }

  /** All that is to be stored. */
  get writes(): readonly Write[] {
    const prefix = this.engagement;
    const messages = [...this.stored.values()].map((one) => ({
      name: `history/${prefix}/${String(one.order).padStart(12, "0")}`,
      value: serializeStored(one),
    }));
    const others = [...this.#writes].map(([name, value]) => ({ name, value }));
    const changed = this.state !== this.#before;
    return [
      ...(changed ? [{ name: `state/${prefix}`, value: serializeState(this.state) }] : []),
      ...messages,
      ...others,
    ];
  }

  /** It is stored: now it counts. */
  settle(): void {
    for (const [user, record] of this.#trust) this.shared.trust.set(user, record);
    for (const [user, name] of this.#names) this.shared.names.set(user, name);
  }
}
