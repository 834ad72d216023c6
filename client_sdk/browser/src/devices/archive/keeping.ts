/** Keeping an archive: what is new in the history goes to the relay, sealed, a little at a time. */

import { SecurityAlarm } from "../../alarms.ts";
import type { Bytes, Rng } from "../../bytes.ts";
import { unhex } from "../../bytes.ts";
import { profile } from "../../content/messages.ts";
import type { Conversation } from "../../engine/conversation.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Stored } from "../../engine/history.ts";
import { fromSeq, historyName, parseStored } from "../../engine/history.ts";
import type { Work } from "../../engine/work.ts";
import { dirtyName } from "../../engine/work.ts";
import { OutboxFull, RecordInvalid, RelayError, RelayRefused, UsageError } from "../../errors.ts";
import { recoveryKey } from "../../identity/recovery.ts";
import { serializeTrust } from "../../identity/trust.ts";
import type { Packable, Value } from "../../msgpack.ts";
import { PackingError, pack, unpack } from "../../msgpack.ts";
import type { Write } from "../../vault/vault.ts";
import type { EngagementId, UserId } from "../../wire/ids.ts";
import { ARCHIVE_SERIES_BYTES } from "../../wire/limits.ts";
import { archiveColumns, rowsOf } from "../rows.ts";
import { saying } from "../witnessing.ts";
import type { Place } from "./parts.ts";
import { headOf, NO_HEAD, sealPart, signedWriter } from "./parts.ts";

/** That the person wants an archive kept from this device. */
export const WANTED = "archive/wanted";
/** The recovery key's word that this device may write archives: the words themselves leave the device. */
export const WRITER = "archive/writer";

const AT_LATEST_MS = 60_000;
/** Changes after which it does not wait for the minute to be over. */
const SOON = 32;
/** Of items, before one more that may be as long as a message can be. */
const PART_BYTES = 96 * 1024;
const PAGE = 200;
/** The others are told how far it is, so that they know it on the day on which it is needed. */
const TELL_SECONDS = 3600;

/** How far the archive of a conversation is; `pending` is a part on its way, up to `pendingUpTo`. */
export interface ArchiveRecord {
  readonly series: Bytes;
  readonly parts: number;
  readonly head: Bytes;
  /** Everything up to this position is in it, but for later changes. */
  readonly upTo: number;
  readonly pending: Bytes;
  readonly pendingUpTo: number;
  readonly told: number;
  readonly toldAt: number;
}

export const begunRecord = (rng: Rng, upTo: number): ArchiveRecord => ({
  ...{ series: rng(ARCHIVE_SERIES_BYTES), parts: 0, head: NO_HEAD, upTo },
  ...{ pending: new Uint8Array(), pendingUpTo: 0, told: 0, toldAt: 0 },
});

const OF = "archive/of/";
const recordName = (id: EngagementId): string => OF + id;

export const writeRecord = (id: EngagementId, record: ArchiveRecord | null): Write => ({
  name: recordName(id),
  value:
    record &&
    pack([
      ...[record.series, record.parts, record.head, record.upTo, record.pending, record.pendingUpTo],
      ...[record.told, record.toldAt],
    ]),
});

/** Decode from the vault; raises RecordInvalid. */
export function parseRecord(data: Bytes): ArchiveRecord {
  const [series, parts, head, upTo, pending, pendingUpTo, told, toldAt] = listIn(data);
  const isBytes = (value: Value | undefined): value is Bytes => value instanceof Uint8Array;
  const counts = [parts, upTo, pendingUpTo, told, toldAt].every(
    (value) => typeof value === "number" && value >= 0,
  );
  const sized = isBytes(series) && series.length === ARCHIVE_SERIES_BYTES;
  const whole = isBytes(head) && head.length === NO_HEAD.length && isBytes(pending);
  if (!counts || !sized || !whole) throw new RecordInvalid(DAMAGED);
  return {
    ...{ series, parts: Number(parts), head, upTo: Number(upTo), pending },
    ...{ pendingUpTo: Number(pendingUpTo), told: Number(told), toldAt: Number(toldAt) },
  };
}

const DAMAGED = "What this browser stored about your archive is damaged. Turn the archive off and on again.";
const FIELDS = 8;

function listIn(data: Bytes): readonly Value[] {
  try {
    const values = unpack(data);
    if (Array.isArray(values) && values.length === FIELDS) return values;
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
  }
  throw new RecordInvalid(DAMAGED);
}

/** Keeps the archives of one person from this browser, if they want that. */
export class Archives {
  readonly #engine: Engine;
  readonly #end = new AbortController();
  #wake = new AbortController();
  #fresh = 0;
  #running = false;
  #working: Promise<void> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async wanted(): Promise<boolean> {
    return (await this.#engine.vault.get(WANTED)) !== null;
  }

  /** The recovery key's word, which is given when the kit is made, or with its words; raises UsageError. */
  async writer(): Promise<Bytes> {
    const { vault, account } = this.#engine;
    const stored = await vault.get(WRITER);
    if (stored !== null) return stored;
    const { recoverySeed, portal, user, device } = account;
    if (recoverySeed.length === 0) {
      throw new UsageError(
        "The archive is kept from the device on which your recovery kit was made. Turn it on there.",
      );
    }
    const writer = { deviceKey: device.public, rank: 0, before: [] };
    return signedWriter(writer, portal, user, recoveryKey(recoverySeed));
  }

  /** Keep one from now on, with everything that is here already. Raises UsageError on a device that was linked. */
  async keep(): Promise<void> {
    const writer = await this.writer();
    await this.#engine.vault.write([
      { name: WRITER, value: writer },
      { name: WANTED, value: Uint8Array.of(1) },
    ]);
    this.#engine.shared.archives = true;
    this.#wake.abort();
  }

  /** Keep none any more, and have the relay erase what it has. Raises RelayError. */
  async erase(): Promise<void> {
    await this.#next(async () => {
      const { vault, shared } = this.#engine;
      for (const name of (await vault.scan(OF)).keys()) {
        await this.#eraseOne(name.slice(OF.length) as EngagementId);
        await vault.write([{ name, value: null }]);
      }
      shared.archives = false;
      const changes = [...(await vault.scan("changed/")).keys()].map((name) => ({ name, value: null }));
      await vault.write([{ name: WANTED, value: null }, ...changes]);
    });
  }

  async #eraseOne(stream: EngagementId): Promise<void> {
    try {
      await this.#engine.askRelay({ frame: "EraseArchive", stream, series: null }, "ArchiveStored");
    } catch (error) {
      // With an engagement that is over, its archive is erased.
      const over = error instanceof RelayRefused && (error.code === "not_found" || error.code === "ended");
      if (!over) throw error;
    }
  }

  /** One after the other: nothing is archived while the archive is being erased. */
  #next(action: () => Promise<void>): Promise<void> {
    const next = this.#working.then(action);
    this.#working = next.catch(() => undefined); // whoever asked for it hears of it
    return next;
  }

  /** An item is new, or has changed. */
  changed(): void {
    if (++this.#fresh >= SOON) this.#wake.abort();
  }

  destroy(): void {
    this.#end.abort();
    this.#wake.abort();
  }

  /** Work until the end; called at every connection. */
  async goOn(): Promise<void> {
    this.#wake.abort();
    if (this.#running) return;
    this.#running = true;
    try {
      while (!this.#end.signal.aborted) {
        this.#wake = new AbortController();
        await this.#once();
        await this.#engine.environment.sleep(AT_LATEST_MS, this.#wake.signal);
      }
    } finally {
      this.#running = false; // the next connection begins anew
    }
  }

  async #once(): Promise<void> {
    try {
      if (this.#engine.online) await this.catchUp();
    } catch (error) {
      if (this.#end.signal.aborted || error instanceof RelayError) return; // it waits for the next time
      throw error;
    }
  }

  /**
   * Bring everything that is new into the archives. Raises RelayError or VaultError. What the relay refuses for one
   * conversation keeps back no other one.
   */
  catchUp(): Promise<void> {
    return this.#next(async () => {
      this.#fresh = 0;
      if (!(await this.wanted())) return;
      const refused: RelayRefused[] = [];
      for (const conversation of await this.#engine.conversations()) {
        try {
          await this.#bring(conversation);
        } catch (error) {
          if (!(error instanceof RelayRefused)) throw error;
          refused.push(error);
        }
      }
      if (refused[0] !== undefined) throw refused[0];
    });
  }

  async #bring(conversation: Conversation): Promise<void> {
    const goesOn = () => conversation.member && conversation.engagement?.status === "active";
    while (goesOn() && (await this.#onePart(conversation)));
    if (goesOn()) await this.#tell(conversation);
  }

  async #record(id: EngagementId): Promise<ArchiveRecord> {
    const stored = await this.#engine.vault.get(recordName(id));
    return stored === null ? begunRecord(this.#engine.environment.rng, 0) : parseRecord(stored);
  }

  /** Archive one part's worth; false if there was nothing new. */
  async #onePart(conversation: Conversation): Promise<boolean> {
    const { vault, environment } = this.#engine;
    const record = await this.#prepared(conversation);
    if (record === null) return false;
    const [stream, part] = [conversation.id, record.parts + 1];
    const { parts } = await this.#engine.askRelay(
      { frame: "PutArchive", stream, series: record.series, number: part, part: record.pending },
      "ArchiveStored",
    );
    if (parts === part) {
      const after = { parts: part, head: headOf(record.pending), upTo: record.pendingUpTo };
      await vault.write([writeRecord(stream, { ...record, ...after, pending: new Uint8Array() })]);
      return true;
    }
    // Everything once more, under another name; not at once, or a relay that lies keeps this device busy for ever.
    await vault.write([writeRecord(stream, begunRecord(environment.rng, 0))]);
    const alarm = new SecurityAlarm("archive_rolled_back", { parts: record.parts, held: parts });
    await conversation.step(async (work) => work.raise(alarm));
    return false;
  }

  /**
   * The record with the next part, which is stored before it is sent: a retry is the same part. In one step of the
   * conversation: what changes meanwhile is noted after what this one has noted as archived.
   */
  async #prepared(conversation: Conversation): Promise<ArchiveRecord | null> {
    const record = await this.#record(conversation.id);
    if (record.pending.length > 0) return record;
    return conversation.step(async (work) => {
      const { rows, upTo, changes } = await this.#news(work, record.upTo);
      for (const id of changes) work.put(dirtyName(conversation.id, id), null);
      if (rows.length === 0) return null;
      const pending = await this.#sealed(conversation, record, rows);
      const prepared = { ...record, pending, pendingUpTo: upTo };
      const { name, value } = writeRecord(conversation.id, prepared);
      work.put(name, value);
      return prepared;
    });
  }

  /** Changed items up to a part's size, then those that are new, in their order. */
  async #news(work: Work, after: number) {
    const { vault } = this.#engine;
    const id = work.engagement;
    const rows: (readonly Packable[])[] = [];
    const changes: string[] = [];
    let [size, upTo]: [number, number] = [0, after];
    const add = (stored: Stored) => {
      for (const row of rowsOf(stored, id)) {
        const columns = archiveColumns(row);
        rows.push(columns);
        size += pack(columns).length;
      }
    };
    const start = dirtyName(id, "");
    for (const name of (await vault.scan(start)).keys()) {
      if (size > PART_BYTES) return { rows, upTo, changes };
      const item = name.slice(start.length);
      const stored = await work.find(item);
      if (stored === null) rows.push([unhex(item)]);
      else if (stored.seq <= after) add(stored); // what is newer comes with the new ones
      changes.push(item);
    }
    const end = historyName(id, "q"); // behind all that has a position, which begins with p
    for (const data of await this.#page(id, after, end)) {
      const stored = parseStored(data);
      // What stands at one position goes together: the next part begins at the next position.
      if (size > PART_BYTES && stored.seq > upTo) break;
      add(stored);
      upTo = stored.seq;
    }
    return { rows, upTo, changes };
  }

  /** What is new, in its order; at the end of a page all that stands at the last position. */
  async #page(id: EngagementId, after: number, end: string): Promise<readonly Bytes[]> {
    const { vault } = this.#engine;
    const page = await vault.oldest(historyName(id, fromSeq(after + 1)), end, PAGE);
    const last = page.at(-1);
    if (page.length < PAGE || last === undefined) return page;
    const { seq } = parseStored(last);
    const before = page.filter((data) => parseStored(data).seq < seq);
    const together = await vault.scan(historyName(id, fromSeq(seq)));
    return [...before, ...together.values()];
  }

  async #sealed(
    conversation: Conversation,
    record: ArchiveRecord,
    items: readonly (readonly Packable[])[],
  ): Promise<Bytes> {
    const { account, environment, shared } = this.#engine;
    const place: Place = {
      ...{ portal: account.portal, user: account.user, engagement: conversation.id },
      ...{ series: record.series, number: record.parts + 1, previous: record.head },
    };
    const people = conversation.stored.met.flatMap((user) => {
      const known = shared.trust.get(user as UserId);
      const name = shared.names.get(user as UserId) ?? user;
      return known === undefined ? [] : [{ user, trust: serializeTrust(known), name }];
    });
    const writer = record.parts > 0 ? new Uint8Array() : await this.writer();
    const content = { atMs: environment.nowMs(), items, people, writer };
    const { recoveryKey: key } = account.manifest;
    return sealPart(place, content, { recoveryKey: key, device: account.device });
  }

  async #tell(conversation: Conversation): Promise<void> {
    const { account, vault, environment } = this.#engine;
    const now = Math.floor(environment.nowMs() / 1000);
    const record = await this.#record(conversation.id);
    if (record.parts <= record.told || now - record.toldAt < TELL_SECONDS || conversation.alarm !== null)
      return;
    await vault.write([writeRecord(conversation.id, { ...record, told: record.parts, toldAt: now })]);
    const archives = saying([[account.user, record.series, record.parts]]);
    const said = profile(account.name || account.user, archives);
    try {
      await conversation.say(said, { quiet: true });
    } catch (error) {
      if (!(error instanceof OutboxFull)) throw error; // a thousand messages wait: it is told in an hour
    }
  }
}
