/** The history of one conversation: every message once, in the order of the stream; notices where one is due. */

import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex } from "../bytes.ts";
import type { Act, Amendment } from "../content/amending.ts";
import { edit, reaction, retract } from "../content/amendments.ts";
import type { Envelope } from "../content/envelope.ts";
import { BodyInvalid, kindOf, parseEnvelope, serializeEnvelope } from "../content/envelope.ts";
import { ContentError, RecordInvalid } from "../errors.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { bytes, list, number, text } from "../packed.ts";
import type { EngagementId } from "../wire/ids.ts";

const FORMAT = 2;
const DIGITS = 16; // as many as the largest exact number has

export const RETRACTED = "retracted";
export const GAP = "gap";

/** An amendment as it is kept with its message; `seq` is 0 until it stands in the stream. */
export interface StoredAct extends Act {
  readonly id: string;
}

/** One message, or one notice of this device, as it is stored. */
export interface Stored {
  readonly id: string;
  /** Its position in the stream; 0 until it has one. */
  readonly seq: number;
  /**
   * Sorts what has no position yet, and notices behind the item at their position. It is 0 for what others have too:
   * two such items are at one position only while one of them is not in the stream any more, and then all devices
   * show them in the order of their ids.
   */
  readonly order: number;
  /** Who said it; empty for a notice. */
  readonly user: string;
  readonly device: string;
  readonly mine: boolean;
  readonly sentMs: number;
  /** What was said; null for a notice, and for what was taken back. */
  readonly envelope: Envelope | null;
  /** Why something is missing, and the sentence about it. */
  readonly notice: { readonly reason: string; readonly text: string } | null;
  readonly acts: readonly StoredAct[];
}

/** The kind by which amendments are judged. */
export const storedKind = ({ envelope, notice }: Stored): string =>
  envelope !== null ? kindOf(envelope.content) : notice !== null ? GAP : RETRACTED;

/** Where it stands: what waits sorts behind all that has a position. */
export const placeOf = ({ id, seq, order }: Pick<Stored, "id" | "seq" | "order">): string =>
  seq > 0 ? `p${digits(seq)}/${digits(order)}/${id}` : `w${digits(order)}/${digits(0)}/${id}`;

export const digits = (value: number): string => String(value).padStart(DIGITS, "0");

export const historyName = (engagement: EngagementId, place: string): string =>
  `history/${engagement}/${place}`;
/** The record that says where an item stands. */
export const indexName = (engagement: EngagementId, id: string): string => `at/${engagement}/${id}`;
/** Where the positions from this one on begin. */
export const fromSeq = (seq: number): string => `p${digits(seq)}`;

/** A received message; one whose body breaks its kind's rules is kept and shown by its fallback. */
export function readEnvelope(plaintext: Bytes): Envelope {
  try {
    return parseEnvelope(plaintext);
  } catch (error) {
    if (error instanceof BodyInvalid) return error.envelope;
    throw error;
  }
}

/** Whether this stands for a message of the same id that its sender has taken back since. */
export const isTakenBack = ({ id, content }: Envelope): boolean =>
  content.kind === "retract" && equal(content.message, id);

/** The amendment that this says, and of which message; null if it is none. */
export function amendmentIn(envelope: Envelope): Amendment | null {
  const { content } = envelope;
  const isOne = content.kind === "edit" || content.kind === "retract" || content.kind === "reaction";
  return isOne && !isTakenBack(envelope) ? content : null;
}

export const serializeStored = (stored: Stored): Bytes =>
  pack([
    FORMAT,
    unhex(stored.id),
    stored.seq,
    stored.order,
    stored.user,
    stored.device,
    stored.mine,
    stored.sentMs,
    stored.envelope && serializeEnvelope(stored.envelope),
    stored.notice && [stored.notice.reason, stored.notice.text],
    stored.acts.map(actFields),
  ]);

const actFields = ({ id, seq, order, user, what }: StoredAct) => [
  unhex(id),
  seq,
  order,
  user,
  what.kind,
  what.message,
  what.kind === "edit" ? what.text : what.kind === "reaction" ? what.emoji : "",
  what.kind === "reaction" && what.on,
];

export const serializeActs = (acts: readonly StoredAct[]): Bytes => pack(acts.map(actFields));

/** Decode from the vault; raises RecordInvalid. */
export const parseActs = (data: Bytes): readonly StoredAct[] =>
  reading(() => list(unpack(data)).map(parseAct));

/** Decode from the vault; raises RecordInvalid. */
export const parseStored = (data: Bytes): Stored =>
  reading(() => {
    const [format, id, seq, order, user, device, mine, sentMs, said, notice, acts] = list(unpack(data));
    if (format !== FORMAT) throw new PackingError("another form");
    const [reason, told] = notice === null ? [] : list(notice);
    return {
      id: hex(bytes(id)),
      seq: number(seq),
      order: number(order),
      user: text(user),
      device: text(device),
      mine: mine === true,
      sentMs: number(sentMs),
      envelope: said === null ? null : readEnvelope(bytes(said)),
      notice: notice === null ? null : { reason: text(reason), text: text(told) },
      acts: list(acts).map(parseAct),
    };
  });

function parseAct(value: Value): StoredAct {
  const [id, seq, order, user, kind, message, said, on] = list(value);
  const about = bytes(message);
  const what =
    kind === "edit"
      ? edit(about, text(said))
      : kind === "reaction"
        ? reaction(about, text(said), on === true)
        : retract(about);
  return { id: hex(bytes(id)), seq: number(seq), order: number(order), user: text(user), what };
}

function reading<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof ContentError)) throw error;
    throw new RecordInvalid("A stored message is damaged. Set this browser up anew.");
  }
}
