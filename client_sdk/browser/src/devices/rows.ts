/** Items of a history as one device hands them to another: the form in which all SDKs write them. */

import type { Bytes } from "../bytes.ts";
import { hex, text, unhex, utf8 } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { serializeEnvelope } from "../content/envelope.ts";
import type { Content } from "../content/messages.ts";
import type { Stored, StoredAct } from "../engine/history.ts";
import { amendmentIn, GAP, RETRACTED, readEnvelope, storedKind } from "../engine/history.ts";
import { ContentError } from "../errors.ts";
import type { Packable, Value, ValueMap } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { bytes, count, text as string } from "../packed.ts";
import { WireError } from "../wire/errors.ts";
import { parseUserId } from "../wire/ids.ts";
import { broken } from "./handover.ts";

const SAID_FORMAT = 1;
const NONE = new Uint8Array();
const UNSAID = { epoch: 0, seq: 0, hash: new Uint8Array(32) };

/** What a row is: an item, an amendment to one, or that one is gone. */
export type Row = { readonly item: Stored } | { readonly act: StoredAct } | { readonly gone: string };

/** The columns of a row, in the order of archives (docs/PROTOCOL.md section 16). */
const COLUMNS = [
  ...["id", "seq", "sent_ms", "sender_user", "sender_device"],
  ...["kind", "text", "payload", "mine", "about"],
];

/** A row as it stands in an archive. */
export const archiveColumns = (row: Readonly<Record<string, Packable>>): readonly Packable[] =>
  COLUMNS.map((name) => row[name] ?? null);

/** A row of an archive; raises LinkTampered. */
export function archivedRow(columns: readonly Value[], own: string, order: number): Row {
  const [id] = columns;
  if (columns.length === 1 && id instanceof Uint8Array) return { gone: hex(id) };
  return rowIn(new Map(COLUMNS.map((name, at) => [name, columns[at] ?? null])), own, order);
}

/** The rows of an item and of its amendments; nothing of what still waits on this device. */
export function rowsOf(stored: Stored, engagement: string): readonly Readonly<Record<string, Packable>>[] {
  if (stored.seq === 0) return [];
  const { id, seq, user, device, mine, sentMs, notice, envelope } = stored;
  const from = { seq, sent_ms: sentMs, sender_user: user, sender_device: unhex(device), mine };
  const item = {
    conversation: engagement,
    id: unhex(id),
    ...from,
    kind: storedKind(stored),
    text: notice?.text ?? (envelope === null ? "" : searchable(envelope.content)),
    payload: notice !== null ? utf8(notice.reason) : envelope === null ? NONE : said(envelope),
    about: null,
  };
  const acts = stored.acts
    .filter((act) => act.seq > 0)
    .map((act) => ({
      conversation: engagement,
      id: unhex(act.id),
      ...{
        ...from,
        seq: act.seq,
        sender_user: act.user,
        sender_device: NONE,
        mine: act.user === user && mine,
      },
      kind: act.what.kind,
      text: "",
      payload: said(envelopeOf(act, sentMs)),
      about: act.what.message,
    }));
  return [item, ...acts];
}

const envelopeOf = ({ id, what }: StoredAct, sentMs: number): Envelope => ({
  id: unhex(id),
  counter: 1,
  attest: UNSAID,
  closings: [],
  sentMs,
  content: what,
});

const said = (envelope: Envelope): Bytes =>
  pack([SAID_FORMAT, serializeEnvelope(envelope), 0, 0, NONE, NONE]);

/** The words by which a search finds it. */
function searchable(content: Content): string {
  if (content.kind === "text") return content.text;
  if (content.kind === "checkin") {
    return [content.prompt, ...content.questions.map((question) => question.text)].join("\n");
  }
  if (content.kind === "checkin.answer") return [...content.answers.values()].join("\n");
  if (content.kind === "file" || content.kind === "profile") return content.name;
  return content.kind === "unknown" ? content.fallback : "";
}

/** An item or an amendment of a row; raises LinkTampered. `order` sorts what stands at one position. */
export function rowIn(value: Value | undefined, own: string, order: number): Row {
  if (!(value instanceof Map)) throw broken();
  try {
    return parsed(value, own, order);
  } catch (error) {
    const known =
      error instanceof PackingError ||
      error instanceof ContentError ||
      error instanceof WireError ||
      error instanceof TypeError;
    if (known) throw broken();
    throw error;
  }
}

function parsed(row: ValueMap, own: string, order: number): Row {
  const [id, seq, sentMs] = [hex(bytes(row.get("id"))), count(row.get("seq")), count(row.get("sent_ms"))];
  const [user, kind] = [string(row.get("sender_user")), string(row.get("kind"))];
  const payload = bytes(row.get("payload"));
  const device = hex(bytes(row.get("sender_device")));
  if (id.length !== 32 || seq < 1) throw new TypeError("out of range");
  if (user !== "") parseUserId(user);
  const notice =
    user === "" ? { reason: kind === GAP ? text(payload) : kind, text: string(row.get("text")) } : null;
  const envelope = notice !== null || kind === RETRACTED ? null : readEnvelope(envelopeIn(payload));
  if (row.get("about") instanceof Uint8Array && envelope !== null) {
    const what = amendmentIn(envelope);
    if (what === null) throw new TypeError("an amendment that is none");
    return { act: { id, seq, order, user, what } };
  }
  // What another device of this person said is theirs, and not this device's to send again.
  return {
    item: {
      ...{ id, seq, order: notice === null ? 0 : order, user, device, mine: user === own },
      ...{ sentMs, envelope, notice, acts: [] },
    },
  };
}

function envelopeIn(payload: Bytes): Bytes {
  const values = unpack(payload);
  if (!Array.isArray(values) || values[0] !== SAID_FORMAT) throw new TypeError("another form");
  return bytes(values[1]);
}
