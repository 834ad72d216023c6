/** Keeping an archive: what is new in the history goes to the relay, sealed, a little at a time. */

import { SecurityAlarm } from "../../alarms.ts";
import type { Bytes, Rng } from "../../bytes.ts";
import { unhex } from "../../bytes.ts";
import { profile } from "../../content/messages.ts";
import type { Conversation } from "../../engine/conversation.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Stored } from "../../engine/history.ts";
import { fromSeq, historyName, parseStored } from "../../engine/history.ts";
import { dirtyName } from "../../engine/work.ts";
import { RecordInvalid, RelayError, UsageError } from "../../errors.ts";
import { recoveryKey } from "../../identity/recovery.ts";
import { serializeTrust } from "../../identity/trust.ts";
import type { Packable } from "../../msgpack.ts";
import { pack, unpack } from "../../msgpack.ts";
import type { Write } from "../../vault/vault.ts";
import type { EngagementId, UserId } from "../../wire/ids.ts";
import { ARCHIVE_SERIES_BYTES } from "../../wire/limits.ts";
import { archiveColumns, rowsOf } from "../rows.ts";
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
interface ArchiveRecord {
  readonly series: Bytes;
  readonly parts: number;
  readonly head: Bytes;
  /** Everything up to this position is in it, but for later changes. */
  readonly upTo: number;
  readonly pending: Bytes;
  readonly pendingUpTo: number;
  readonly pendingChanges: readonly string[];
  readonly told: number;
  readonly toldAt: number;
}

export const begunRecord = (rng: Rng, upTo: number): ArchiveRecord => ({
  ...{ series: rng(ARCHIVE_SERIES_BYTES), parts: 0, head: NO_HEAD, upTo },
  ...{ pending: new Uint8Array(), pendingUpTo: 0, pendingChanges: [], told: 0, toldAt: 0 },
});

const recordName = (id: EngagementId): string => `archive/of/${id}`;

export const writeRecord = (id: EngagementId, record: ArchiveRecord | null): Write => ({
  name: recordName(id),
  value:
    record &&
    pack([
      ...[record.series, record.parts, record.head, record.upTo, record.pending, record.pendingUpTo],
      ...[record.pendingChanges, record.told, record.toldAt],
    ]),
});

function parseRecord(data: Bytes): ArchiveRecord {
  const values = unpack(data);
  if (!Array.isArray(values) || values.length !== 9)
    throw new RecordInvalid("What was archived is not known.");
  const [series, parts, head, upTo, pending, pendingUpTo, pendingChanges, told, toldAt] = values;
  return {
    ...{ series: series as Bytes, parts: Number(parts), head: head as Bytes, upTo: Number(upTo) },
    ...{ pending: pending as Bytes, pendingUpTo: Number(pendingUpTo) },
    ...{ pendingChanges: pendingChanges as string[], told: Number(told), toldAt: Number(toldAt) },
  };
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
    const { vault, shared } = this.#engine;
    for (const name of (await vault.scan("archive/of/")).keys()) {
      const stream = name.slice("archive/of/".length) as EngagementId;
      await this.#engine.askRelay({ frame: "EraseArchive", stream, series: null }, "ArchiveStored");
      await vault.write([{ name, value: null }]);
    }
    shared.archives = false;
    const changes = [...(await vault.scan("changed/")).keys()].map((name) => ({ name, value: null }));
    await vault.write([{ name: WANTED, value: null }, ...changes]);
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
    while (!this.#end.signal.aborted) {
      this.#wake = new AbortController();
      try {
        if (this.#engine.online) await this.catchUp();
      } catch (error) {
        if (this.#end.signal.aborted) return;
        if (!(error instanceof RelayError)) throw error; // it waits for the next time
      }
      await this.#engine.environment.sleep(AT_LATEST_MS, this.#wake.signal);
    }
  }

  /** Bring everything that is new into the archives. Raises RelayError or VaultError. */
  catchUp(): Promise<void> {
    const next = this.#working.then(async () => {
      this.#fresh = 0;
      if (!(await this.wanted())) return;
      for (const conversation of await this.#engine.conversations()) {
        const goesOn = () => conversation.member && conversation.engagement?.status === "active";
        while (goesOn() && (await this.#onePart(conversation)));
        if (goesOn()) await this.#tell(conversation);
      }
    });
    this.#working = next.catch(() => undefined); // whoever asked for it hears of it
    return next;
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
      const empty = { pending: new Uint8Array(), pendingChanges: [] };
      await vault.write([writeRecord(stream, { ...record, ...after, ...empty })]);
      return true;
    }
    // Everything once more, under another name.
    await vault.write([writeRecord(stream, begunRecord(environment.rng, 0))]);
    const alarm = new SecurityAlarm("archive_rolled_back", { parts: record.parts, held: parts });
    await conversation.step(async (work) => work.raise(alarm));
    return true;
  }

  /** The record with the next part, which is stored before it is sent: a retry is the same part. */
  async #prepared(conversation: Conversation): Promise<ArchiveRecord | null> {
    const { vault } = this.#engine;
    const record = await this.#record(conversation.id);
    if (record.pending.length > 0) return record;
    const { rows, upTo, changes } = await this.#news(conversation.id, record.upTo);
    if (rows.length === 0) return null;
    const pending = await this.#sealed(conversation, record, rows);
    const prepared = { ...record, pending, pendingUpTo: upTo, pendingChanges: changes };
    const done = changes.map((id) => ({ name: dirtyName(conversation.id, id), value: null }));
    await vault.write([writeRecord(conversation.id, prepared), ...done]);
    return prepared;
  }

  /** Changed items up to a part's size, then those that are new, in their order. */
  async #news(id: EngagementId, after: number) {
    const { vault } = this.#engine;
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
      const stored = await (await this.#engine.conversation(id)).find(item);
      if (stored === null) rows.push([unhex(item)]);
      else if (stored.seq <= after) add(stored); // what is newer comes with the new ones
      changes.push(item);
    }
    const end = historyName(id, "q"); // behind all that has a position, which begins with p
    for (const data of await vault.oldest(historyName(id, fromSeq(after + 1)), end, PAGE)) {
      if (size > PART_BYTES) break;
      const stored = parseStored(data);
      add(stored);
      upTo = stored.seq;
    }
    return { rows, upTo, changes };
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
    const archives = [[account.user, record.series, record.parts]];
    const said = profile(account.name || account.user, new Map([["archives", archives]]));
    await conversation.say(said, { quiet: true });
  }
}
