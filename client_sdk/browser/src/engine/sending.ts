/** From the outbox to entries: what is said is encrypted just before it goes, under the epoch of that time. */

import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex } from "../bytes.ts";
import type { Amendment } from "../content/amending.ts";
import { retract } from "../content/amendments.ts";
import type { Attest, Envelope } from "../content/envelope.ts";
import { attest, parseEnvelope, serializeEnvelope } from "../content/envelope.ts";
import type { Content } from "../content/messages.ts";
import { ID_BYTES } from "../content/messages.ts";
import { sha256 } from "../crypto.ts";
import type { AttestLog } from "../delivery/attest.ts";
import type { Outbox } from "../delivery/outbox.ts";
import type { OutboxItem } from "../delivery/outboxItems.ts";
import { receiptSent, sent } from "../delivery/receipts.ts";
import { VaultCorrupt } from "../errors.ts";
import type { Group } from "../mls/group.ts";
import { pack, unpack } from "../msgpack.ts";
import { serializeBundle } from "../wire/bundle.ts";
import { COMMIT, MESSAGE } from "../wire/fields.ts";
import type { DeviceFrames } from "../wire/frames.ts";
import type { DeviceId } from "../wire/ids.ts";
import { note } from "./amending.ts";
import { amendmentIn } from "./history.ts";
import { commitName } from "./keeping.ts";
import type { Reason } from "./state.ts";
import type { Work } from "./work.ts";

const UNENCRYPTED = { body: null, number: 0, attests: [] } as const;
const UNSAID = { epoch: 0, seq: 0, hash: new Uint8Array(32) };

/** What waits to be sent: content, and once it is encrypted the entry's body, the same at every retry. */
export interface Waiting {
  readonly content: Bytes;
  readonly body: Bytes | null;
  /** Files at the relay that its entry names. */
  readonly blobs: readonly string[];
  /** What the body says inside: its counter, and what it attests, the newest that was seen and the closing values. */
  readonly number: number;
  readonly attests: readonly Attest[];
}

export const waitingName = (work: Pick<Work, "engagement">, id: Bytes): string =>
  `out/${work.engagement}/${hex(id)}`;

export const packWaiting = ({ content, body, blobs, number, attests }: Waiting): Bytes =>
  pack([content, body, blobs, number, attests.map(({ epoch, seq, hash }) => [epoch, seq, hash] as const)]);

export function parseWaiting(data: Bytes): Waiting {
  const values = unpack(data);
  const [content, body, blobs, number, attests] = Array.isArray(values) ? values : [];
  const typed = content instanceof Uint8Array && (body === null || body instanceof Uint8Array);
  if (!typed || !Array.isArray(blobs) || !blobs.every((blob) => typeof blob === "string")) {
    throw new VaultCorrupt("A message that waits to be sent is damaged.");
  }
  // An earlier version stored neither of the last two.
  const said = { number: Number(number ?? 0), attests: Array.isArray(attests) ? attests.map(attest) : [] };
  return { content, body, blobs, ...said };
}

/** As it waits: what was encrypted once is encrypted anew. */
export const unencrypted = (data: Bytes): Bytes => packWaiting({ ...parseWaiting(data), ...UNENCRYPTED });

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
  work.put(waitingName(work, envelope.id), packWaiting(waitingOf(envelope, blobsOf(envelope))));
  return envelope.id;
}

/** What is said again in place of a message that was taken back: that there was one. */
export const takenBack = (id: Bytes, sentMs: number): Envelope => freshEnvelope(id, retract(id), sentMs);

export const blobsOf = ({ content }: Envelope): readonly string[] =>
  content.kind === "file" ? [content.blob] : [];

export const waitingOf = (envelope: Envelope, blobs: readonly string[] = []): Waiting => ({
  content: serializeEnvelope(envelope),
  blobs,
  ...UNENCRYPTED,
});

/** What does not fit with all that is added when it is encrypted would wait for ever: raises ContentTooBig. */
export function freshEnvelope(id: Bytes, content: Content, sentMs: number): Envelope {
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
  const isLost = work.state.reoffers.includes(hex(item.id));
  if (isLost && mayHoldSoon(waiting, log, box)) return null;
  if (
    isLost &&
    waiting.body !== null &&
    waiting.number === box.nextMessageCounter &&
    stillHolds(waiting, log)
  ) {
    work.change({ box: box.encrypted(item.id, lastCommit, sha256(waiting.body)) });
    return item;
  }
  if (isLost) await forgetCiphertexts(work, item);
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
  const said = { number: envelope.counter, attests: [envelope.attest, ...envelope.closings] };
  work.put(name, packWaiting({ ...waiting, body, ...said }));
  return item;
}

/** Whether everything that a ciphertext of ours attests is so in the stream as it is now. */
function stillHolds({ attests: [newest, ...closings] }: Waiting, log: AttestLog): boolean {
  if (newest === undefined || newest.epoch !== log.epoch || newest.seq < log.lastCommit) return false;
  const hash = log.hashAt(newest.seq);
  const isKnown = (one: Attest) =>
    log.closings.some(
      ({ epoch, seq, hash: known }) => epoch === one.epoch && seq === one.seq && equal(known, one.hash),
    );
  return hash !== null && equal(hash, newest.hash) && closings.every(isKnown);
}

/** Whether what a lost message attests may be so as soon as those before it stand in the stream again. */
const mayHoldSoon = ({ attests: [newest] }: Waiting, log: AttestLog, box: Outbox): boolean =>
  newest !== undefined && box.inFlight.length > 0 && newest.epoch === log.epoch && newest.seq > log.seq;

/** One that the relay lost is encrypted afresh, under a later key: so are those behind it. */
async function forgetCiphertexts(work: Work, item: OutboxItem): Promise<void> {
  const { box, reoffers } = work.state;
  for (const other of box.items) {
    if (other.state !== "queued" || equal(other.id, item.id) || !reoffers.includes(hex(other.id))) continue;
    const name = waitingName(work, other.id);
    const stored = await work.read(name);
    if (stored !== null) work.put(name, unencrypted(stored));
  }
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
  const { box, pending, lostCommits } = work.state;
  const frames: DeviceFrames["Append"][] = [];
  for (const item of box.toSend) {
    const { body, blobs } =
      pending !== null && equal(item.id, pending.id)
        ? { body: pending.body, blobs: [] }
        : item.kind === COMMIT && lostCommits[0] !== undefined
          ? { body: await work.read(commitName(work, lostCommits[0])), blobs: [] }
          : parseWaiting((await work.read(waitingName(work, item.id))) ?? NOTHING);
    if (body === null || !equal(sha256(body), item.bodyHash))
      throw new VaultCorrupt("A message that waits to be sent is missing.");
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
