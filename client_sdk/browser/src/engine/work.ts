/** One step on a conversation: what it changes is stored in one transaction, and counts only then. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes, Rng } from "../bytes.ts";
import { equal, hex, text, utf8 } from "../bytes.ts";
import type { Passed } from "../delivery/repair.ts";
import { serializePassed } from "../delivery/repair.ts";
import type { ConversationView } from "../identity/membership.ts";
import { governing } from "../identity/membership.ts";
import type { TrustRecord } from "../identity/trust.ts";
import { checkNotOlder, observe, serializeTrust } from "../identity/trust.ts";
import type { KeyPackageBundle } from "../mls/keyPackages.ts";
import type { Vault, Write } from "../vault/vault.ts";
import type { EngagementId, UserId } from "../wire/ids.ts";
import type { Account } from "./account.ts";
import type { Stored } from "./history.ts";
import { historyName, indexName, parseStored, placeOf, serializeStored } from "./history.ts";
import { passedName } from "./keeping.ts";
import { isEarlier } from "./offers.ts";
import { parseWaiting, waitingName } from "./sending.ts";
import type { State } from "./state.ts";
import { serializeState } from "./state.ts";
import { viewIn } from "./views.ts";

/** What is known beyond one conversation. */
export interface Shared {
  account: Account;
  readonly trust: Map<UserId, TrustRecord>;
  readonly names: Map<UserId, string>;
  /** Whether this device keeps an archive: what changes is noted for it. */
  archives: boolean;
  /** Whether this person tells how far they have read, and is told it of others. */
  sharesReading: boolean;
  readonly rng: Rng;
  readonly nowMs: () => number;
  /** A record of the vault, or those of many names. */
  read(name: string): Promise<Bytes | null>;
  readonly pages: Pick<Vault, "newest" | "oldest">;
  /** Our key package with this reference, and the names of the records of its whole offer. */
  findKeyPackage(
    ref: Bytes,
  ): Promise<{ readonly bundle: KeyPackageBundle; readonly offer: readonly string[] } | null>;
}

export class Work {
  readonly shared: Shared;
  readonly engagement: EngagementId;
  /** Items that changed; null: gone. */
  readonly changed = new Map<string, Stored | null>();
  readonly #before: State;
  readonly #found = new Map<string, Stored>();
  readonly #writes = new Map<string, Bytes | null>();
  readonly #trust = new Map<UserId, TrustRecord>();
  readonly #names = new Map<UserId, string>();
  state: State;
  /** Devices came in: everybody tells them their name. */
  joined = false;
  keyPackagesSpent = false;
  /** What we said behind this position is said again: somebody came back who may not have it. */
  resendAfter: number | null = null;
  /** Entries that this step has processed. */
  readonly passed = new Map<number, Passed>();
  /** Messages of others came: false if nothing but receipts did. */
  heard: boolean | null = null;

  constructor(shared: Shared, engagement: EngagementId, state: State) {
    this.shared = shared;
    this.engagement = engagement;
    this.state = state;
    this.#before = state;
  }

  change(changes: Partial<State>): void {
    this.state = { ...this.state, ...changes };
  }

  get view(): ConversationView | null {
    return this.state.group && viewIn(this.state.group);
  }

  get nowSeconds(): number {
    return Math.floor(this.shared.nowMs() / 1000);
  }

  // Alarms

  /** A person has to look before anything more is sent; what comes is still processed. */
  raise(alarm: SecurityAlarm): void {
    const { code, evidence } = alarm;
    this.change({ alarm: this.state.alarm ?? { code, evidence, halted: false } });
  }

  /** Nothing more is processed until a person has looked; what this step had changed does not count. */
  halt(alarm: SecurityAlarm, before: State): void {
    const { code, evidence } = alarm;
    this.state = { ...before, alarm: before.alarm ?? { code, evidence, halted: true } };
  }

  // Records

  put(name: string, value: Bytes | null): void {
    this.#writes.set(name, value);
  }

  async read(name: string): Promise<Bytes | null> {
    const written = this.#writes.get(name);
    return written === undefined ? this.shared.read(name) : written;
  }

  /** Whether this message of ours was ever encrypted: then the relay may have it. */
  async wasEncrypted(id: Bytes): Promise<boolean> {
    const stored = await this.read(waitingName(this, id));
    return stored !== null && parseWaiting(stored).body !== null;
  }

  // The history

  /** An item of the history. */
  async find(id: string): Promise<Stored | null> {
    const changed = this.changed.get(id);
    if (changed !== undefined) return changed;
    const known = this.#found.get(id) ?? (await findStored(this.shared, this.engagement, id));
    if (known !== null) this.#found.set(id, known);
    return known;
  }

  /** An item as it is stored, which was read by itself. */
  know(stored: Stored): void {
    this.#found.set(stored.id, stored);
  }

  set(stored: Stored): void {
    this.changed.set(stored.id, stored);
  }

  erase(stored: Stored): void {
    this.changed.set(stored.id, null);
  }

  /** The next number of what has none by the stream. */
  nextOrder(): number {
    this.change({ order: this.state.order + 1 });
    return this.state.order;
  }

  /** Something that a person should know is missing stands in the history at this place. */
  gap(reason: string, told: string, seq: number): void {
    const [id, sentMs] = [hex(this.shared.rng(16)), this.shared.nowMs()];
    const notice = { reason, text: told };
    const order = this.nextOrder();
    this.set({
      ...{ id, seq, order, user: "", device: "", mine: false, sentMs },
      ...{ envelope: null, notice, acts: [] },
    });
  }

  // People

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

  /**
   * Note the people of an epoch that was entered; what is wrong with them is an alarm. A list that governed before
   * already is no news, although a newer one may be known from elsewhere.
   */
  observePeople(view: ConversationView, before: ConversationView | null, mayBeOlder: boolean): void {
    const own = this.shared.account.user;
    for (const user of new Set(view.leaves.map((leaf) => leaf.user))) {
      const manifest = governing(view, user);
      const earlier = before && governing(before, user);
      if (user === own || manifest === null) continue;
      if (earlier !== null && equal(earlier.raw, manifest.raw)) continue;
      const known = this.trustOf(user);
      if (mayBeOlder && known !== null && isEarlier(known, manifest)) continue; // the relay lost the newer one
      try {
        checkNotOlder(known, manifest);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        this.raise(error);
        continue;
      }
      const next = observe(known, manifest, this.shared.nowMs());
      if (next !== known) this.setTrust(next);
      if (next.state === "changed") this.raise(new SecurityAlarm("identity_changed", { user }));
    }
  }

  // The end

  /** All that is to be stored. */
  get writes(): readonly Write[] {
    const [writes, engagement] = [new Map(this.#writes), this.engagement];
    for (const [id, stored] of this.changed) {
      const before = this.#found.get(id);
      const place = stored && placeOf(stored);
      if (before !== undefined && placeOf(before) !== place) {
        writes.set(historyName(engagement, placeOf(before)), null);
      }
      if (stored !== null && place !== null) {
        writes.set(historyName(engagement, place), serializeStored(stored));
      }
      // A notice may come to stand among what is archived already.
      const late = before !== undefined ? before.seq > 0 : stored?.notice != null;
      if (this.shared.archives && late) {
        writes.set(dirtyName(engagement, id), Uint8Array.of(1));
      }
      if (before === undefined || placeOf(before) !== place) {
        writes.set(indexName(engagement, id), place === null ? null : utf8(place));
      }
    }
    for (const [seq, passed] of this.passed) writes.set(passedName(engagement, seq), serializePassed(passed));
    if (this.state !== this.#before) writes.set(`state/${engagement}`, serializeState(this.state));
    return [...writes].map(([name, value]) => ({ name, value }));
  }

  /** It is stored: now it counts. */
  settle(): void {
    for (const [user, record] of this.#trust) this.shared.trust.set(user, record);
    for (const [user, name] of this.#names) this.shared.names.set(user, name);
  }
}

/** The record that says that an item has changed since it was archived. */
export const dirtyName = (engagement: EngagementId, id: string): string => `changed/${engagement}/${id}`;

/**
 * An item of the history as it is stored; null if there is none. Whoever asks outside a step may meet one that moves
 * the item between the two looks, as when the relay gives a message its place: then it is looked for where it is now.
 */
export async function findStored(
  { read }: Pick<Shared, "read">,
  engagement: EngagementId,
  id: string,
): Promise<Stored | null> {
  let looked: string | null = null;
  for (;;) {
    const found = await read(indexName(engagement, id));
    const place = found && text(found);
    if (place === null || place === looked) return null;
    const data = await read(historyName(engagement, place));
    if (data !== null) return parseStored(data);
    looked = place;
  }
}
