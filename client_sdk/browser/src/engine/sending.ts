/** From the outbox to entries: what is said is encrypted just before it goes, under the epoch of that time. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import type { Envelope } from "../content/envelope.ts";
import { parseEnvelope, serializeEnvelope } from "../content/envelope.ts";
import type { Content } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import type { OutboxItem } from "../delivery/outbox.ts";
import { receiptSent, sent } from "../delivery/receipts.ts";
import { VaultCorrupt } from "../errors.ts";
import type { Made } from "../mls/group.ts";
import { pack, unpack } from "../msgpack.ts";
import { serializeBundle } from "../wire/bundle.ts";
import { MESSAGE } from "../wire/fields.ts";
import type { DeviceFrames } from "../wire/frames.ts";
import type { DeviceId } from "../wire/ids.ts";
import type { Work } from "./work.ts";

const UNSAID = { epoch: 0, seq: 0, hash: new Uint8Array(32) };

/** What waits to be sent: content, and once it is encrypted the entry's body, the same at every retry. */
export interface Waiting {
  readonly content: Bytes;
  readonly body: Bytes | null;
}

export const waitingName = (work: Work, id: Bytes): string => `out/${work.engagement}/${hex(id)}`;

export function parseWaiting(data: Bytes): Waiting {
  const values = unpack(data);
  const [content, body] = Array.isArray(values) ? values : [];
  if (!(content instanceof Uint8Array) || !(body === null || body instanceof Uint8Array)) {
    throw new VaultCorrupt("A message that waits to be sent is damaged.");
  }
  return { content, body };
}

/** Put something into the outbox and the history; raises ContentError or OutboxFull, doing neither. */
export function queue(work: Work, content: Content, inHistory: boolean): Bytes {
  const { account, rng, nowMs } = work.shared;
  const id = rng(16);
  const most = Number.MAX_SAFE_INTEGER;
  const attest = { ...UNSAID, epoch: most, seq: most };
  const envelope: Envelope = {
    id,
    counter: most,
    attest,
    closings: Array(8).fill(attest),
    sentMs: nowMs(),
    content,
  };
  serializeEnvelope(envelope); // what does not fit with all that is added when it is encrypted would wait for ever
  const waiting: Envelope = { ...envelope, counter: 1, attest: UNSAID, closings: [] };
  work.change({ box: work.state.box.enqueue(id) });
  work.put(waitingName(work, id), pack([serializeEnvelope(waiting), null]));
  if (inHistory) {
    work.keep(waiting, { seq: 0, user: account.user, device: hex(account.deviceId), mine: true });
  }
  return id;
}

/** Encrypt the message whose turn it is; null if it is nobody's. Ciphertext and used-up state go together. */
export async function encryptNext(
  work: Work,
  waiting: (name: string) => Promise<Bytes | null>,
): Promise<{ readonly item: OutboxItem; readonly body: Bytes } | null> {
  const { box, group, log, spokenEpoch, lastCommit, receipts } = work.state;
  const item = box.nextToEncrypt;
  if (item === null || item.kind !== MESSAGE || group === null || log === null) return null;
  const name = waitingName(work, item.id);
  const stored = await waiting(name);
  if (stored === null) throw new VaultCorrupt("A message that waits to be sent is missing.");
  const { content } = parseWaiting(stored);
  const envelope: Envelope = {
    ...parseEnvelope(content),
    counter: box.nextMessageCounter,
    attest: log.attest,
    closings: log.closingsSince(spokenEpoch),
  };
  const { group: after, message: body } = await group.encrypt(serializeEnvelope(envelope));
  const isReceipt = envelope.content.kind === "receipt";
  work.change({
    group: after,
    box: box.encrypted(item.id, lastCommit, sha256(body)),
    receipts: isReceipt ? receiptSent(work.shared.nowMs()) : sent(receipts),
  });
  work.put(name, pack([content, body]));
  return { item, body };
}

/** Store a commit of ours that is to be sent; its group counts once its entry is seen. */
export function putCommit(
  work: Work,
  made: Made,
  named: { readonly adds: readonly DeviceId[]; readonly removes: readonly DeviceId[] },
  creates: boolean,
): void {
  const bundle = { ...named, commit: made.commit, welcome: made.welcome, groupInfo: made.groupInfo };
  const body = serializeBundle(bundle);
  const id = work.shared.rng(16);
  const { box, lastCommit } = work.state;
  work.change({
    box: box.enqueueCommit(id).encrypted(id, creates ? 0 : lastCommit, sha256(body)),
    pending: { id, body, after: made.after.serialize(), creates },
    ...(creates ? {} : { group: made.current }),
  });
}

/** The append that carries an encrypted item. */
export const appendFrame = (work: Work, item: OutboxItem, body: Bytes): DeviceFrames["Append"] => ({
  frame: "Append",
  stream: work.engagement,
  counter: item.counter,
  kind: item.kind,
  afterCommit: item.afterCommit,
  body,
  blobs: [],
});
