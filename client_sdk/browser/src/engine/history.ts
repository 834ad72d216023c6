/** The history of one conversation: every message once, in the order of the stream; notices where one is due. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { BodyInvalid, parseEnvelope, serializeEnvelope } from "../content/envelope.ts";
import { fallbackOf } from "../content/messages.ts";
import { ContentError, RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";

const FORMAT = 1;

/** One message as it is stored; `seq` is 0 until it stands in the stream. */
export interface Stored {
  readonly order: number;
  readonly id: string;
  readonly seq: number;
  readonly user: string;
  readonly device: string;
  readonly mine: boolean;
  readonly envelope: Envelope;
}

/** A received message; one whose body breaks its kind's rules is kept and shown by its fallback. */
export function readEnvelope(plaintext: Bytes): Envelope {
  try {
    return parseEnvelope(plaintext);
  } catch (error) {
    if (error instanceof BodyInvalid) return error.envelope;
    throw error;
  }
}

export const serializeStored = ({ order, seq, user, device, mine, envelope }: Stored): Bytes =>
  pack([FORMAT, order, seq, user, device, mine, serializeEnvelope(envelope)]);

/** Decode from the vault; raises RecordInvalid. */
export function parseStored(data: Bytes): Stored {
  try {
    const values = unpack(data);
    const [format, order, seq, user, device, mine, said] = Array.isArray(values) ? values : [];
    if (
      format !== FORMAT ||
      typeof order !== "number" ||
      typeof seq !== "number" ||
      typeof user !== "string" ||
      typeof device !== "string" ||
      typeof mine !== "boolean" ||
      !(said instanceof Uint8Array)
    ) {
      throw new PackingError("a field of another form");
    }
    const envelope = readEnvelope(said);
    return { order, id: hex(envelope.id), seq, user, device, mine, envelope };
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof ContentError)) throw error;
    throw new RecordInvalid("A stored message is damaged. Set this browser up anew.");
  }
}

/** What is shown of a message: a plain object that goes from the Worker to the page. */
export interface Message {
  readonly id: string;
  readonly engagement: string;
  readonly sender: string;
  readonly mine: boolean;
  readonly sentMs: number;
  /** `waiting` on this device, `sent` to the relay, `delivered` to a device of somebody else. */
  readonly state: "waiting" | "sent" | "delivered";
  readonly kind: string;
  /** The text, or what a client shows that does not know the kind. */
  readonly text: string;
  readonly critical: boolean;
}

export function messageOf(stored: Stored, engagement: string, deliveredTo: number): Message {
  const { content, sentMs } = stored.envelope;
  const unknown = content.kind === "unknown";
  const state = stored.seq === 0 ? "waiting" : stored.seq <= deliveredTo ? "delivered" : "sent";
  return {
    id: stored.id,
    engagement,
    sender: stored.user,
    mine: stored.mine,
    sentMs,
    state,
    kind: unknown ? content.named : content.kind,
    text: unknown ? content.fallback : content.kind === "text" ? content.text : fallbackOf(content),
    critical: unknown && content.critical,
  };
}
