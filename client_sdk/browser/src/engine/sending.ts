/** From the outbox to entries: what is said is encrypted just before it goes, under the epoch of that time. */

import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex } from "../bytes.ts";
import type { Amendment } from "../content/amending.ts";
import type { Envelope } from "../content/envelope.ts";
import { parseEnvelope, serializeEnvelope } from "../content/envelope.ts";
import type { Content } from "../content/messages.ts";
import { ID_BYTES } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import type { OutboxItem } from "../delivery/outbox.ts";
import { receiptSent, sent } from "../delivery/receipts.ts";
import { VaultCorrupt } from "../errors.ts";
import type { Group } from "../mls/group.ts";
import { pack, unpack } from "../msgpack.ts";
import { serializeBundle } from "../wire/bundle.ts";
import { MESSAGE } from "../wire/fields.ts";
import type { DeviceFrames } from "../wire/frames.ts";
import type { DeviceId } from "../wire/ids.ts";
import { note } from "./amending.ts";
import { amendmentIn } from "./history.ts";
import type { Reason } from "./state.ts";
import type { Work } from "./work.ts";

const UNSAID = { epoch: 0, seq: 0, hash: new Uint8Array(32) };

/** What waits to be sent: content, and once it is encrypted the entry's body, the same at every retry. */
export interface Waiting {
  readonly content: Bytes;
  readonly body: Bytes | null;
  /** Files at the relay that its entry names. */
  readonly blobs: readonly string[];
}

export const waitingName = (work: Pick<Work, "engagement">, id: Bytes): string =>
  `out/${work.engagement}/${hex(id)}`;

const packWaiting = ({ content, body, blobs }: Waiting): Bytes => pack([content, body, blobs]);

export function parseWaiting(data: Bytes): Waiting {
  const values = unpack(data);
  const [content, body, blobs] = Array.isArray(values) ? values : [];
  const typed = content instanceof Uint8Array && (body === null || body instanceof Uint8Array);
  if (!typed || !Array.isArray(blobs) || !blobs.every((blob) => typeof blob === "string")) {
    throw new VaultCorrupt("A message that waits to be sent is damaged.");
  }
  return { content, body, blobs };
}

/** As it waits: what was encrypted once is encrypted anew. */
export const unencrypted = (data: Bytes): Bytes => packWaiting({ ...parseWaiting(data), body: null });

export interface Queued {
  /** The message's id; made up if it is not given. */
  readonly id?: Bytes;
  readonly blobs?: readonly string[];
  /** Not for the history: receipts, names. */
  readonly quiet?: boolean;
}

/** Put something into the outbox and the history; raises ContentError or OutboxFull, doing neither. */
export async function queue(work: Work, content: Content, options: Queued = {}): Promise<Bytes> {
  const { account, nowMs, rng } = work.shared;
  const id = options.id ?? rng(ID_BYTES);
  const envelope = freshEnvelope(id, content, nowMs());
  work.change({ box: work.state.box.enqueue(id) });
  work.put(waitingName(work, id), packWaiting(waitingOf(envelope, options.blobs)));
  if (options.quiet) return id;
  const what = amendmentIn(envelope);
  const order = work.nextOrder();
  if (what !== null) {
    await note(work, { id: hex(id), seq: 0, order, user: account.user, what });
    return id;
  }
  work.set({
    ...{ id: hex(id), seq: 0, order, user: account.user, device: hex(account.deviceId), mine: true },
    ...{ sentMs: envelope.sentMs, envelope, notice: null, acts: [] },
  });
  return id;
}

/** An amendment of ours is to be said again under its id: it waits; its place in the outbox is the caller's. */
export function waitingFor(work: Work, id: string, what: Amendment): Bytes {
  const envelope = freshEnvelope(unhex(id), what, work.shared.nowMs());
  work.put(waitingName(work, envelope.id), packWaiting(waitingOf(envelope)));
  return envelope.id;
}

/** A message of ours is to be said again as it is. */
export function waitingAgain(work: Work, envelope: Envelope): Bytes {
  const blobs = envelope.content.kind === "file" ? [envelope.content.blob] : [];
  work.put(waitingName(work, envelope.id), packWaiting(waitingOf(envelope, blobs)));
  return envelope.id;
}

const waitingOf = (envelope: Envelope, blobs: readonly string[] = []): Waiting => ({
  content: serializeEnvelope(envelope),
  body: null,
  blobs,
});

/** What does not fit with all that is added when it is encrypted would wait for ever: raises ContentTooBig. */
function freshEnvelope(id: Bytes, content: Content, sentMs: number): Envelope {
  const most = Number.MAX_SAFE_INTEGER;
  const largest = { ...UNSAID, epoch: most, seq: most };
  const full = { id, counter: most, attest: largest, closings: Array(8).fill(largest), sentMs, content };
  serializeEnvelope(full);
  return { ...full, counter: 1, attest: UNSAID, closings: [] };
}

/** Encrypt the message whose turn it is; null if it is nobody's. Ciphertext and used-up state go together. */
export async function encryptNext(work: Work): Promise<OutboxItem | null> {
  const { box, group, log, spokenEpoch, lastCommit, receipts } = work.state;
  const item = box.nextToEncrypt;
  if (item === null || item.kind !== MESSAGE || group === null || log === null) return null;
  const name = waitingName(work, item.id);
  const stored = await work.read(name);
  if (stored === null) throw new VaultCorrupt("A message that waits to be sent is missing.");
  const waiting = parseWaiting(stored);
  const envelope: Envelope = {
    ...parseEnvelope(waiting.content),
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
  work.put(name, packWaiting({ ...waiting, body }));
  return item;
}

/** A commit of ours as it is to be sent; its group counts once its entry is seen. */
export interface ToCommit {
  readonly commit: Bytes;
  readonly welcome: Bytes | null;
  readonly groupInfo: Bytes;
  readonly after: Group;
  readonly current: Group;
}

/** Store a commit of ours. */
export function putCommit(
  work: Work,
  made: ToCommit,
  named: { readonly adds: readonly DeviceId[]; readonly removes: readonly DeviceId[] },
  reason: Reason,
): void {
  const bundle = { ...named, commit: made.commit, welcome: made.welcome, groupInfo: made.groupInfo };
  const body = serializeBundle(bundle);
  const id = work.shared.rng(ID_BYTES);
  const { box, lastCommit } = work.state;
  work.change({
    box: box.enqueueCommit(id).encrypted(id, reason === "create" ? 0 : lastCommit, sha256(body)),
    pending: { id, body, after: made.after.serialize(), reason },
    ...(reason === "change" ? { group: made.current } : {}),
  });
}

/** The appends that carry what is encrypted, the identical bytes at each retry; raises VaultCorrupt. */
export async function appendFrames(work: Work): Promise<readonly DeviceFrames["Append"][]> {
  const { box, pending } = work.state;
  const frames: DeviceFrames["Append"][] = [];
  for (const item of box.toSend) {
    const own = pending !== null && equal(item.id, pending.id);
    const stored = own ? null : await work.read(waitingName(work, item.id));
    const { body, blobs } = own ? { body: pending.body, blobs: [] } : parseWaiting(stored ?? NOTHING);
    if (body === null) throw new VaultCorrupt("A message that waits to be sent is missing.");
    frames.push({
      frame: "Append",
      stream: work.engagement,
      counter: item.counter,
      kind: item.kind,
      afterCommit: item.afterCommit,
      body,
      blobs: blobs as DeviceFrames["Append"]["blobs"],
    });
  }
  return frames;
}

/** Parses to nothing that could be sent: what should be there is not. */
const NOTHING = pack([null]);
