/** After a device was linked: it hears where the histories are, fetches them and takes them in. */

import { download } from "../attachments/downloading.ts";
import { AttachmentError, TransferInterrupted } from "../attachments/errors.ts";
import { PrivateSpools } from "../attachments/spool.ts";
import type { Bytes } from "../bytes.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import { RelayError } from "../errors.ts";
import { LinkSecret } from "../identity/linking.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { vaultName } from "../vault/vault.ts";
import type { EngagementId } from "../wire/ids.ts";
import { parseEngagementId } from "../wire/ids.ts";
import { arrivalWrite, readArrival } from "./arrival.ts";
import { LinkTampered } from "./errors.ts";
import { accessBy } from "./grants.ts";
import { broken, openHistory } from "./handover.ts";
import type { Line } from "./line.ts";
import { HERE } from "./line.ts";
import { Meeting } from "./meeting.ts";
import { rowIn } from "./rows.ts";
import { keepRows } from "./taking.ts";
import type { HistoryRef } from "./told.ts";
import { readHistoryRef } from "./told.ts";

const RETRY_MS = 2000;
const LOOK_MS = 200;
const FETCH = "fetch/";
/** Items that one transaction takes in. */
const PAGE = 200;

export class Histories {
  readonly #engine: Engine;
  readonly #openLine: (channel: Bytes) => Line;
  readonly #fetching = new Set<string>();
  readonly #end = new AbortController();
  #listening = false;

  constructor(engine: Engine, openLine: (channel: Bytes) => Line) {
    [this.#engine, this.#openLine] = [engine, openLine];
  }

  /** Go on with what was begun. */
  async goOn(): Promise<void> {
    const { vault } = this.#engine;
    for (const [name, data] of await vault.scan(FETCH)) {
      const ref = kept(name.slice(FETCH.length), data);
      if (ref !== null) this.#fetch(...ref);
      else await this.#lost(name);
    }
    if (this.#listening) return;
    this.#listening = true;
    try {
      await this.#listen();
    } finally {
      this.#listening = false; // after a fault the next connection begins anew
    }
  }

  /** A damaged note keeps nothing else from coming; the person reads what is missing. */
  async #lost(name: string): Promise<void> {
    const conversation = await this.#engine.opened(parseEngagementId(name.slice(FETCH.length)));
    await conversation.step(async (work) => {
      work.put(name, null);
      work.gap("not_brought", NOT_BROUGHT, work.state.cursor);
    });
  }

  destroy(): void {
    this.#end.abort();
  }

  async #listen(): Promise<void> {
    const { vault, environment, account } = this.#engine;
    const record = await readArrival(vault);
    if (record === null) return;
    const secret = new LinkSecret(record.secret);
    const line = this.#openLine(secret.channel);
    const { portal, user, device } = account;
    const own = { portal, user, deviceKey: device.public, name: record.name };
    const meeting = new Meeting(line, secret, own, environment.rng);
    while (record.until * 1000 > environment.nowMs() && !this.#end.signal.aborted) {
      try {
        line.begin();
        await line.say(HERE);
        while (await this.#heard(meeting));
        break;
      } catch (error) {
        if (this.#end.signal.aborted) return;
        if (!(error instanceof RelayError || error instanceof LinkTampered)) throw error;
        await environment.sleep(RETRY_MS, this.#end.signal);
      }
    }
    if (!this.#end.signal.aborted) await vault.write([arrivalWrite(null)]);
  }

  /** Work on one message; false if it was the last. */
  async #heard(meeting: Meeting): Promise<boolean> {
    const [kind, ...values] = await meeting.next(this.#end.signal);
    if (kind === "floors")
      await meeting.say("stored"); // what was told again is here already
    else if (kind === "history") {
      const [engagement, ref] = readHistoryRef(values);
      if (ref !== null) {
        const value = pack([ref.via, ref.blob, ref.key, ref.size]);
        await this.#engine.vault.write([{ name: FETCH + engagement, value }]);
        this.#fetch(engagement, ref);
      }
      await meeting.say("have", engagement);
    }
    return kind !== "done";
  }

  #fetch(engagement: EngagementId, ref: HistoryRef): void {
    if (this.#fetching.has(engagement)) return;
    this.#fetching.add(engagement);
    this.#untilHere(engagement, ref)
      .catch((error: unknown) => {
        if (!this.#end.signal.aborted) this.#engine.fault(error);
      })
      .finally(() => this.#fetching.delete(engagement));
  }

  async #untilHere(engagement: EngagementId, ref: HistoryRef): Promise<void> {
    const { environment } = this.#engine;
    const conversation = await this.#engine.opened(engagement);
    let failed = false;
    while (true) {
      try {
        await this.#bring(conversation, ref);
        break;
      } catch (error) {
        this.#end.signal.throwIfAborted();
        if (error instanceof TransferInterrupted || error instanceof RelayError) {
          await environment.sleep(RETRY_MS, this.#end.signal);
        } else if (error instanceof AttachmentError || error instanceof LinkTampered) {
          failed = true;
          break;
        } else throw error;
      }
    }
    await this.#spools().remove(spoolName(ref));
    await conversation.step(async (work) => {
      work.put(FETCH + engagement, null);
      if (failed) work.gap("not_brought", NOT_BROUGHT, work.state.cursor);
    });
    this.#engine.tell("history", engagement, null);
  }

  #spools(): PrivateSpools {
    const { portal, user } = this.#engine.account;
    return new PrivateSpools(vaultName(portal, user));
  }

  async #bring(conversation: Conversation, ref: HistoryRef): Promise<void> {
    const spool = await this.#spools().open(spoolName(ref));
    try {
      await download({
        blob: ref.blob,
        sealedSize: ref.size,
        spool,
        access: accessBy(this.#engine, ref.via),
        environment: this.#engine.environment,
        progress: () => undefined,
        signal: this.#end.signal,
      });
      await this.#untilMember(conversation);
      // What is behind where this device stands comes, or came, to it by the conversation itself.
      const upTo = conversation.member ? conversation.stored.cursor : Number.MAX_SAFE_INTEGER;
      const records = openHistory(ref.key, async (at, length) => spool.read(at, length), spool.size);
      await takeIn(conversation, records, this.#engine.account.user, upTo);
    } finally {
      spool.close();
    }
  }

  async #untilMember(conversation: Conversation): Promise<void> {
    while (!conversation.member && conversation.engagement?.status !== "ended") {
      await this.#engine.environment.sleep(LOOK_MS, this.#end.signal);
      this.#end.signal.throwIfAborted();
    }
  }
}

const NOT_BROUGHT =
  "What was said before this device was linked could not be brought over. It is still on the device that let it in.";

/** Which history is to be fetched, and from where; null if the note of it is damaged. */
function kept(engagement: string, data: Bytes): readonly [EngagementId, HistoryRef] | null {
  try {
    const values = unpack(data);
    const [id, ref] = readHistoryRef([engagement, ...(Array.isArray(values) ? values : [])]);
    return ref && [id, ref];
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof LinkTampered)) throw error;
    return null;
  }
}

const spoolName = ({ blob }: HistoryRef): string => `in-link-${blob}`;

/** Take the records in, a page at a time; taken in twice, it changes nothing more. Raises LinkTampered. */
export async function takeIn(
  conversation: Conversation,
  records: AsyncIterable<readonly Value[]>,
  own: string,
  upTo: number,
): Promise<void> {
  let [count, ended]: [number, readonly Value[] | null] = [0, null];
  let page: Value[] = [];
  for await (const record of records) {
    if (ended !== null) throw broken();
    if (record[0] === "end") ended = record;
    else if (record[0] === "item") {
      count++;
      page.push(record[1] ?? null);
    } else if (record[0] !== "context") throw broken();
    if (page.length >= PAGE) {
      await keepPage(conversation, page, own, upTo);
      page = [];
    }
  }
  await keepPage(conversation, page, own, upTo);
  if (ended === null || ended[1] !== count) throw broken();
}

/** One transaction. The page is told when all is here, not of each item. */
async function keepPage(
  conversation: Conversation,
  page: readonly Value[],
  own: string,
  upTo: number,
): Promise<void> {
  if (page.length === 0) return;
  await conversation.step(async (work) => {
    const rows = page.map((value) => rowIn(value, own, work.nextOrder()));
    await keepRows(work, rows, { upTo, anew: false });
  });
}
