/** Vectors of what devices of one person hand on: sealed histories, archives, and who may write them. */

import { expect } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { concat, hex, unhex, utf8 } from "../../src/bytes.ts";
import { edit, reaction } from "../../src/content/amendments.ts";
import type { Content } from "../../src/content/messages.ts";
import { text } from "../../src/content/messages.ts";
import type { Place, Restored } from "../../src/devices/archive/parts.ts";
import {
  headOf,
  NO_HEAD,
  openPart,
  sealPart,
  signedWriter,
  verifyWriter,
} from "../../src/devices/archive/parts.ts";
import { HistorySealing, openHistory } from "../../src/devices/handover.ts";
import type { Row } from "../../src/devices/rows.ts";
import { archiveColumns, archivedRow, rowIn, rowsOf } from "../../src/devices/rows.ts";
import type { Stored } from "../../src/engine/history.ts";
import { storedKind } from "../../src/engine/history.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import { recoveryKey } from "../../src/identity/recovery.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";
import type { Json } from "../plain.ts";
import { base64, fromBase64 } from "../plain.ts";

type Some = (seed: string, length?: number) => Bytes;

export interface WriterVector {
  readonly portal: string;
  readonly user: string;
  readonly recovery_seed: string;
  readonly device_key: string;
  readonly rank: number;
  readonly before: readonly (readonly [string, string, number, string])[];
  readonly packed: string;
}

export interface HistoryVector {
  readonly engagement: string;
  readonly user: string;
  readonly key: string;
  readonly items: readonly Json[];
  readonly sealed: string;
}

type PartContent = readonly [number, readonly Json[], readonly (readonly [string, string, string])[], string];

export interface ArchiveVector {
  readonly portal: string;
  readonly user: string;
  readonly engagement: string;
  readonly series: string;
  readonly recovery_seed: string;
  readonly device_key: string;
  readonly parts: readonly (readonly [string, PartContent])[];
}

const PORTAL = parsePortalId("a-b-c");
const [CLARA, DAN] = [parseUserId("Clara~1"), parseUserId("0")] as const;
const ENGAGEMENT = parseEngagementId("eng_-_09azAZ-_09azAZ-_09aw");

/** What both SDKs have to make of a row, in JSON. */
function described(row: Row): Json {
  if ("gone" in row) return [row.gone];
  if ("act" in row) {
    const { id, seq, user, what } = row.act;
    return [id, seq, user, what.kind, "", hex(what.message)];
  }
  const { item } = row;
  const content = item.envelope?.content;
  const said = item.notice?.text ?? (content?.kind === "text" ? content.text : "");
  return [item.id, item.seq, item.user, storedKind(item), said, null];
}

// What this SDK makes

function message(some: Some, seq: number, user: string, content: Content): Stored {
  const id = some(`history ${seq}`);
  const attest = { epoch: 2, seq: 1, hash: some("S", 32) };
  const envelope = { id, counter: seq, attest, closings: [], sentMs: 1_800_000_000_000 + seq, content };
  const from = { user, device: hex(some("device")), mine: user === CLARA, sentMs: envelope.sentMs };
  return { id: hex(id), seq, order: seq, ...from, envelope, notice: null, acts: [] };
}

/** A message that was edited and that somebody reacted to, a gap, and a message that was taken back. */
function items(some: Some): readonly Stored[] {
  const first = message(some, 3, CLARA, text("How was the wëek?"));
  const about = unhex(first.id);
  const edited = edit(about, "How was your week?");
  const act = (seq: number, user: string) => ({ id: hex(some(`act ${seq}`)), seq, order: seq, user });
  const acts = [
    { ...act(4, CLARA), what: edited },
    { ...act(5, DAN), what: reaction(about, "👍") },
  ];
  const gap = message(some, 6, "", text("-"));
  const notice = { reason: "not_brought", text: "Something is missing here." };
  const taken = message(some, 7, DAN, text("-"));
  return [
    { ...first, acts },
    { ...gap, device: "", mine: false, envelope: null, notice },
    { ...taken, envelope: null },
  ];
}

const rows = (some: Some) => items(some).flatMap((item) => rowsOf(item, ENGAGEMENT));
const inJson = (some: Some) => rows(some).map((row) => described(read(archiveColumns(row))));
const read = (columns: readonly unknown[]): Row => archivedRow(columns as never, CLARA, 1);

export function makeWriters(some: Some): readonly WriterVector[] {
  const seed = some("recovery seed");
  const device = new KeyPair(some("archiving", 32));
  const before: Restored = {
    ...{ engagement: ENGAGEMENT, series: some("series"), parts: 2 },
    head: some("head", 32),
  };
  return [
    [0, []],
    [2 ** 31 - 1, [before]],
  ].map(([rank, known]) => {
    const writer = { deviceKey: device.public, rank: rank as number, before: known as Restored[] };
    return {
      ...{ portal: PORTAL, user: CLARA, recovery_seed: hex(seed), device_key: hex(device.public) },
      rank: writer.rank,
      before: writer.before.map(
        (one) => [one.engagement, hex(one.series), one.parts, hex(one.head)] as const,
      ),
      packed: hex(signedWriter(writer, PORTAL, CLARA, recoveryKey(seed))),
    };
  });
}

/** A sealed history: other bytes at each call. */
export async function sealHistory(some: Some): Promise<HistoryVector> {
  const [key, pieces] = [some("history key", 32), [] as Bytes[]];
  const sealing = new HistorySealing(key, async (piece) => void pieces.push(piece));
  for (const row of rows(some)) await sealing.add(["item", row]);
  await sealing.add(["end", rows(some).length]);
  await sealing.finish();
  const whose = { engagement: ENGAGEMENT, user: CLARA };
  return { ...whose, key: hex(key), items: inJson(some), sealed: base64(concat(...pieces)) };
}

/** An archive of two parts, in the second of which an item is gone: other bytes at each call. */
export async function sealArchive(some: Some): Promise<ArchiveVector> {
  const seed = some("recovery seed");
  const [device, recovery] = [new KeyPair(some("archiving", 32)), recoveryKey(seed)];
  const writer = signedWriter({ deviceKey: device.public, rank: 0, before: [] }, PORTAL, CLARA, recovery);
  const gone = unhex(items(some)[0]?.id ?? "");
  const people = [{ user: DAN, trust: some("trust", 40), name: "Dän" }];
  const contents = [
    { atMs: 1_800_000_000_000, items: rows(some).map(archiveColumns), people: [], writer },
    { atMs: 1_800_000_000_001, items: [[gone]], people, writer: utf8("") },
  ];
  const [parts, series]: [[string, PartContent][], Bytes] = [[], some("series")];
  let previous = NO_HEAD;
  for (const [at, content] of contents.entries()) {
    const whose = { portal: PORTAL, user: CLARA, engagement: ENGAGEMENT, series };
    const place: Place = { ...whose, number: at + 1, previous };
    const part = await sealPart(place, content, { recoveryKey: recovery.public, device });
    previous = headOf(part);
    const known = content.people.map((one) => [one.user, hex(one.trust), one.name] as const);
    const changed = content.items.map((columns) => described(read(columns)));
    parts.push([base64(part), [content.atMs, changed, known, hex(content.writer)]]);
  }
  return {
    ...{ portal: PORTAL, user: CLARA, engagement: ENGAGEMENT, series: hex(series) },
    ...{ recovery_seed: hex(seed), device_key: hex(device.public), parts },
  };
}

// What both made is checked

export function checkWriter(vector: WriterVector): void {
  const [portal, user] = [parsePortalId(vector.portal), parseUserId(vector.user)];
  const recovery = recoveryKey(unhex(vector.recovery_seed));
  const writer = verifyWriter(unhex(vector.packed), portal, user, recovery.public);
  const before = writer.before.map((one) => [one.engagement, hex(one.series), one.parts, hex(one.head)]);
  const { device_key, rank } = vector;
  expect([hex(writer.deviceKey), writer.rank, before]).toEqual([device_key, rank, vector.before]);
  expect(hex(signedWriter(writer, portal, user, recovery))).toBe(vector.packed);
  const other = recoveryKey(new Uint8Array(16));
  expect(() => verifyWriter(unhex(vector.packed), portal, user, other.public)).toThrow("altered");
}

export async function checkHistory(vector: HistoryVector): Promise<void> {
  const sealed = fromBase64(vector.sealed);
  const found: Json[] = [];
  const records = openHistory(unhex(vector.key), async (at, n) => sealed.slice(at, at + n), sealed.length);
  for await (const [kind, value] of records) {
    if (kind === "item") found.push(described(rowIn(value, vector.user, 1)));
    else expect([kind, value]).toEqual(["end", vector.items.length]);
  }
  // One SDK writes amendments behind their message, the other in the order of the stream.
  const position = (item: Json) => (Array.isArray(item) ? Number(item[1]) : 0);
  expect(found.toSorted((one, other) => position(one) - position(other))).toEqual(vector.items);
}

export async function checkArchive(vector: ArchiveVector): Promise<void> {
  const recovery = recoveryKey(unhex(vector.recovery_seed));
  let previous = NO_HEAD;
  for (const [at, [packed, content]] of vector.parts.entries()) {
    const part = fromBase64(packed);
    const place: Place = {
      ...{ portal: parsePortalId(vector.portal), user: parseUserId(vector.user) },
      ...{ engagement: parseEngagementId(vector.engagement), series: unhex(vector.series) },
      ...{ number: at + 1, previous },
    };
    const opened = await openPart(place, part, recovery);
    opened.checkWriter(unhex(vector.device_key));
    const { atMs, items: changed, people, writer } = opened.content;
    const known = people.map((one) => [one.user, hex(one.trust), one.name]);
    expect([atMs, changed.map((row) => described(read(row))), known, hex(writer)]).toEqual(content);
    await expect(openPart({ ...place, number: at + 2 }, part, recovery)).rejects.toThrow("altered");
    previous = headOf(part);
  }
}
