/** Bringing an archive back with the recovery words: in order, unaltered; and what is missing is said. */

import type { Bytes } from "../../bytes.ts";
import { equal, utf8 } from "../../bytes.ts";
import type { Account } from "../../engine/account.ts";
import { NEW_STATE } from "../../engine/state.ts";
import { Work } from "../../engine/work.ts";
import { RecordInvalid } from "../../errors.ts";
import type { KeyPair } from "../../identity/keys.ts";
import { eraOf } from "../../identity/manifest.ts";
import { parseTrust } from "../../identity/trust.ts";
import type { Value } from "../../msgpack.ts";
import type { Vault, Write } from "../../vault/vault.ts";
import type { Engagement } from "../../wire/frames.ts";
import type { EngagementId } from "../../wire/ids.ts";
import type { Contact } from "../contact.ts";
import { ArchiveDamaged, LinkTampered } from "../errors.ts";
import type { Row } from "../rows.ts";
import { archivedRow } from "../rows.ts";
import { keepRows } from "../taking.ts";
import { restoredName, restoredValue } from "../witnessing.ts";
import { begunRecord, WANTED, WRITER, writeRecord } from "./keeping.ts";
import type { Place, Restored, Writer } from "./parts.ts";
import { headOf, NO_HEAD, openPart, signedWriter, verifyWriter } from "./parts.ts";

const NOTHING = "You came back with your recovery kit. What was said before is not on this device.";
const UP_TO =
  "You came back with your recovery kit. Your archive ends here: what was said from here until your return is not " +
  "on this device.";
const BROKEN =
  "You came back with your recovery kit. The relay lost, withheld or altered a part of your archive: something may " +
  "be missing above, and what was said from here until your return is not on this device. Ask whoever runs the relay.";

interface Found {
  archived: boolean;
  broken: boolean;
  readonly before: Restored[];
  readonly met: Set<string>;
  seq: number;
}

/** Restores the archives of one user into a vault that nobody else uses. */
export class Restoration {
  readonly #vault: Vault;
  readonly #contact: Pick<Contact, "insist">;
  readonly #account: Account;
  readonly #recovery: KeyPair;
  readonly #rng: (length: number) => Bytes;
  readonly #nowMs: () => number;
  readonly #told: (items: number) => void;
  #items = 0;
  #order = 0;

  constructor(options: {
    readonly vault: Vault;
    readonly contact: Pick<Contact, "insist">;
    readonly account: Account;
    readonly recovery: KeyPair;
    readonly rng: (length: number) => Bytes;
    readonly nowMs: () => number;
    readonly told: (items: number) => void;
  }) {
    [this.#vault, this.#contact, this.#account] = [options.vault, options.contact, options.account];
    [this.#recovery, this.#rng, this.#nowMs] = [options.recovery, options.rng, options.nowMs];
    this.#told = options.told;
  }

  /**
   * Bring back what there is of these; then this device may go on with the archives, and what else is to be written is.
   * Cut off and done again, it changes nothing twice. Raises RelayError.
   */
  async restore(engagements: readonly Engagement[], more: readonly Write[]): Promise<void> {
    const before: Restored[] = [];
    const writes: Write[] = [];
    for (const { id } of engagements) {
      const found = await this.#engagement(id);
      before.push(...found.before);
      writes.push(...(await this.#end(id, found)));
    }
    const { device, manifest, portal, user } = this.#account;
    const writer: Writer = { deviceKey: device.public, rank: Number(eraOf(manifest)), before };
    writes.push({ name: WRITER, value: signedWriter(writer, portal, user, this.#recovery) });
    await this.#vault.write([...writes, ...more]);
  }

  /** The sentence that says where it ends, and the beginning of a series of this device's own. */
  async #end(id: EngagementId, found: Found): Promise<readonly Write[]> {
    const work = this.#work(id);
    const told = found.broken ? BROKEN : found.archived ? UP_TO : NOTHING;
    work.change({ order: this.#order, met: [...found.met].sort() });
    work.gap("recovered", told, Math.max(1, found.seq));
    const archive = found.archived
      ? [{ name: WANTED, value: Uint8Array.of(1) }, writeRecord(id, begunRecord(this.#rng, found.seq))]
      : [];
    const restored = found.before.map(({ series, parts }) => ({
      name: restoredName(id, series),
      value: restoredValue(parts),
    }));
    return [...work.writes, ...archive, ...restored];
  }

  #work(id: EngagementId): Work {
    const shared = {
      account: this.#account,
      trust: new Map(),
      names: new Map(),
      archives: false,
      sharesReading: true,
      rng: this.#rng,
      nowMs: this.#nowMs,
      read: (name: string) => this.#vault.get(name),
      pages: this.#vault,
      findKeyPackage: async () => null,
    };
    return new Work(shared, id, NEW_STATE);
  }

  async #engagement(id: EngagementId): Promise<Found> {
    const listed = await this.#contact.insist({ frame: "ListArchive", stream: id }, "ArchiveListed");
    const found: Found = { archived: false, broken: false, before: [], met: new Set(), seq: 0 };
    const writers: { readonly series: Bytes; readonly writer: Writer }[] = [];
    for (const { series } of listed.series) {
      if (writers.some((known) => equal(known.series, series))) continue; // told twice, it counts once
      try {
        writers.push({ series, writer: await this.#writer(id, series) });
      } catch (error) {
        if (!(error instanceof ArchiveDamaged)) throw error;
        found.broken = true;
      }
    }
    writers.sort((one, other) => one.writer.rank - other.writer.rank);
    const newest = writers.at(-1)?.writer;
    if (newest === undefined) return found;
    const limits = newest.before.filter(({ engagement }) => engagement === id);
    const limitOf = (series: Bytes) => limits.find((known) => equal(known.series, series));
    const there = (limit: Restored) => writers.some(({ series }) => equal(series, limit.series));
    if (!limits.every(there)) found.broken = true;
    for (const { series, writer } of writers) {
      const current = writer.rank === newest.rank;
      const limit = current ? null : limitOf(series);
      if (limit !== undefined) await this.#series(id, series, writer, limit, found);
    }
    return found;
  }

  async #writer(id: EngagementId, series: Bytes): Promise<Writer> {
    const [first] = await this.#parts(id, series, 0);
    if (first === undefined) throw new ArchiveDamaged("A series of the archive is empty.");
    const opened = await openPart(this.#place(id, series, 1, NO_HEAD), first, this.#recovery);
    const { portal, user, manifest } = this.#account;
    const writer = verifyWriter(opened.content.writer, portal, user, manifest.recoveryKey);
    opened.checkWriter(writer.deviceKey);
    return writer;
  }

  /** Everything of a series that counts; what comes behind a damaged part does not. */
  async #series(
    id: EngagementId,
    series: Bytes,
    writer: Writer,
    limit: Restored | null,
    found: Found,
  ): Promise<void> {
    found.archived = true;
    let [number, head]: [number, Bytes] = [0, NO_HEAD];
    reading: while (limit === null || number < limit.parts) {
      const parts = await this.#parts(id, series, number);
      if (parts.length === 0) break;
      for (const part of parts) {
        if (limit !== null && number >= limit.parts) break reading;
        try {
          await this.#part(this.#place(id, series, number + 1, head), part, writer, found);
        } catch (error) {
          if (!(error instanceof ArchiveDamaged)) throw error;
          found.broken = true;
          break reading;
        }
        [number, head] = [number + 1, headOf(part)];
      }
      this.#told(this.#items);
    }
    if (limit !== null && (number !== limit.parts || !equal(head, limit.head))) found.broken = true;
    found.before.push({ engagement: id, series, parts: number, head });
  }

  /** Store what one part holds, all of it at once. */
  async #part(place: Place, part: Bytes, writer: Writer, found: Found): Promise<void> {
    const opened = await openPart(place, part, this.#recovery);
    opened.checkWriter(writer.deviceKey);
    const { items, people } = opened.content;
    const work = this.#work(place.engagement);
    const rows = items.map((row) => read(row, this.#account.user, ++this.#order));
    await keepRows(work, rows, { upTo: Number.MAX_SAFE_INTEGER, anew: true });
    const known = people.map(({ user, trust, name }) => {
      this.#check(user, trust);
      found.met.add(user);
      return [
        { name: `trust/${user}`, value: trust },
        ...(name === user ? [] : [{ name: `name/${user}`, value: utf8(name) }]),
      ];
    });
    await this.#vault.write([...work.writes, ...known.flat()]);
    this.#items += rows.length;
    found.seq = rows.reduce((most, row) => Math.max(most, "item" in row ? row.item.seq : 0), found.seq);
  }

  #check(user: string, trust: Bytes): void {
    try {
      if (parseTrust(trust).newest.user === user) return;
    } catch (error) {
      if (!(error instanceof RecordInvalid)) throw error;
    }
    throw new ArchiveDamaged("A part of the archive holds what no device wrote.");
  }

  async #parts(id: EngagementId, series: Bytes, after: number): Promise<readonly Bytes[]> {
    const question = { frame: "ReadArchive", stream: id, series, after } as const;
    return (await this.#contact.insist(question, "ArchiveParts")).parts;
  }

  #place(engagement: EngagementId, series: Bytes, number: number, previous: Bytes): Place {
    const { portal, user } = this.#account;
    return { portal, user, engagement, series, number, previous };
  }
}

function read(columns: readonly Value[], own: string, order: number): Row {
  try {
    return archivedRow(columns, own, order);
  } catch (error) {
    if (!(error instanceof LinkTampered)) throw error;
    throw new ArchiveDamaged("A part of the archive holds what no device wrote.");
  }
}
