/** Linking another device: the part of the device that the person has already (docs/PROTOCOL.md 6.1). */

import type { Newcomer } from "../api.ts";
import { AttachmentError, BlobGone, SpoolMissing } from "../attachments/errors.ts";
import { PrivateSpools } from "../attachments/spool.ts";
import { upload } from "../attachments/uploading.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex, utf8 } from "../bytes.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import { itemsFrom } from "../engine/pages.ts";
import { isUnsettled } from "../engine/state.ts";
import { AccessRefused, EngagementUnavailable, RelayError } from "../errors.ts";
import type { Introduction, LinkSession } from "../identity/linking.ts";
import { LinkSecret } from "../identity/linking.ts";
import { serializeTrust } from "../identity/trust.ts";
import type { Packable } from "../msgpack.ts";
import { vaultName } from "../vault/vault.ts";
import { encode } from "../wire/codec.ts";
import type { BlobId } from "../wire/ids.ts";
import { deviceId, deviceName, parseDeviceId } from "../wire/ids.ts";
import { MAX_MEMBER_DEVICES } from "../wire/limits.ts";
import { LinkFailed, LinkTampered } from "./errors.ts";
import { accessBy } from "./grants.ts";
import { HANDOVER_KEY_BYTES, HistorySealing } from "./handover.ts";
import type { Job } from "./jobs.ts";
import { dropJob, jobsIn, keepJob } from "./jobs.ts";
import type { Line } from "./line.ts";
import { meaningOf } from "./line.ts";
import { BeginAgain, hearKind, meetNewcomer } from "./meeting.ts";
import { usableName } from "./names.ts";
import type { OwnList } from "./ownList.ts";
import { rowsOf } from "./rows.ts";

const RETRY_MS = 2000;
/** For a conversation to let the new device in, before the next one has its turn. */
const ADDED_MS = 30_000;
const LOOK_MS = 200;
/** As long as the relay keeps a sealed history. */
const JOB_MS = 24 * 3600 * 1000;
/** Trust records of at most 2.2 KiB each stay below a message's bound. */
const PEOPLE_PER_MESSAGE = 12;
const PAGE = 200;
const NONE = new Uint8Array();

interface Met {
  readonly secret: LinkSecret;
  readonly line: Line;
  readonly session: LinkSession;
  readonly hello: Introduction;
}

export class Linking {
  readonly #engine: Engine;
  readonly #own: OwnList;
  readonly #lines: Set<Line>;
  readonly #openLine: (channel: Bytes) => Line;
  readonly #met = new Map<string, Met>();
  readonly #working = new Set<string>();
  readonly #end = new AbortController();

  constructor(engine: Engine, own: OwnList, lines: Set<Line>, openLine: (channel: Bytes) => Line) {
    [this.#engine, this.#own, this.#lines, this.#openLine] = [engine, own, lines, openLine];
  }

  /** Wait for the device that shows this secret; raises LinkCodeInvalid, LinkFailed, MayNotLink, TooManyDevices or RelayError. */
  async find(shown: string): Promise<Newcomer> {
    const secret = LinkSecret.read(shown);
    this.#own.checkMayChange();
    this.#own.checkRoom(null);
    const line = this.#openLine(secret.channel);
    try {
      const { hello, session } = await this.#meet(secret, line);
      const id = deviceName(deviceId(hello.deviceKey));
      this.#met.set(id, { secret, line, session, hello });
      return { id, name: usableName(hello.name) };
    } catch (error) {
      this.#lines.delete(line);
      throw meaningOf(error);
    }
  }

  /** The person does not want this device: it is told so, and gets nothing. */
  async refuse(id: string): Promise<void> {
    const met = this.#taken(id);
    this.#lines.delete(met.line);
    await met.line.say(met.session.seal("refused"));
  }

  /**
   * List the device and tell it everything; resolves when it has all but what it fetches by itself. It goes on across
   * broken connections, and when the page is opened again.
   */
  async link(id: string, mayLink: boolean, progress: (done: number, of: number) => void): Promise<void> {
    const { secret, line, session, hello } = this.#taken(id);
    await this.#own.add(hello.deviceKey, hello.name, mayLink);
    const until = this.#engine.environment.nowMs() + JOB_MS;
    const job = { secret, hello, mayLink, until, told: false, sent: new Set<string>(), sealed: new Map() };
    if (await this.#work(job, line, session, progress)) return;
    throw new LinkFailed(
      "The new device was not linked to the end: it, or this one, was removed from your devices.",
    );
  }

  /** Go on with what an earlier page began, or what a fault ended. */
  async goOn(): Promise<void> {
    const begun = (await jobsIn(this.#engine.vault)).filter((job) => !this.#working.has(keyOf(job)));
    await Promise.all(begun.map((job) => this.#goOn(job)));
  }

  async #goOn(job: Job): Promise<void> {
    try {
      await this.#work(job, this.#openLine(job.secret.channel), null, () => undefined);
    } catch (error) {
      if (!this.#end.signal.aborted) throw error;
    }
  }

  /** One at a time for a device; what is left of it is kept until it is done, or for nothing. */
  async #work(
    job: Job,
    line: Line,
    session: LinkSession | null,
    progress: (done: number, of: number) => void,
  ): Promise<boolean> {
    const { vault } = this.#engine;
    this.#working.add(keyOf(job));
    try {
      await keepJob(vault, job);
      const done = await this.#run(job, line, session, progress);
      await dropJob(vault, job);
      return done;
    } finally {
      this.#lines.delete(line);
      this.#working.delete(keyOf(job));
    }
  }

  destroy(): void {
    this.#end.abort(
      new LinkFailed(
        "The page was closed before the new device had everything. Open it again: then it goes on.",
      ),
    );
  }

  #taken(id: string): Met {
    const met = this.#met.get(id);
    this.#met.delete(id);
    if (met === undefined) {
      throw new LinkFailed("This device was not found just now. Type the words that it shows once more.");
    }
    return met;
  }

  #meet(secret: LinkSecret, line: Line): Promise<{ hello: Introduction; session: LinkSession }> {
    const { portal, user, device } = this.#engine.account;
    const self = { portal, user, deviceKey: device.public, name: "your other device" };
    return meetNewcomer(line, secret, self, this.#engine.environment.rng, this.#end.signal);
  }

  /** Work until the other device has all; false if one of the two is removed before, or time is over. */
  async #run(
    job: Job,
    line: Line,
    begun: LinkSession | null,
    progress: (done: number, of: number) => void,
  ): Promise<boolean> {
    const { environment } = this.#engine;
    for (let session: LinkSession | null = begun; this.#own.isListed(job.hello.deviceKey); session = null) {
      if (environment.nowMs() > job.until) return false;
      try {
        const meeting = session ?? (await this.#again(job, line));
        await this.#tell(job, line, meeting);
        if (await this.#sendHistories(job, line, meeting, progress)) {
          await line.say(meeting.seal("done"));
          return true;
        }
      } catch (error) {
        this.#end.signal.throwIfAborted();
        if (error instanceof AccessRefused) return false;
        const passing =
          error instanceof BeginAgain ||
          error instanceof RelayError ||
          error instanceof LinkTampered ||
          error instanceof AttachmentError;
        if (!passing) throw error;
      }
      await environment.sleep(RETRY_MS, this.#end.signal);
    }
    return false;
  }

  async #again(job: Job, line: Line): Promise<LinkSession> {
    const { hello, session } = await this.#meet(job.secret, line);
    if (!equal(hello.deviceKey, job.hello.deviceKey)) {
      throw new LinkTampered("Another device than the one that was linked answers.");
    }
    return session;
  }

  // What it is told

  async #tell(job: Job, line: Line, session: LinkSession): Promise<void> {
    if (job.told) return;
    const { account, shared } = this.#engine;
    const identity = job.mayLink ? this.#own.checkMayChange().unsafeSeed() : NONE;
    const named = (await this.#own.devices()).filter(({ name }) => name !== "");
    const names = named.map(({ id, name }) => [unhex(id), name] as const);
    await line.say(session.seal("grant", account.manifest.raw, identity, account.name, names));
    const people = [...shared.trust].map(
      ([user, record]) => [utf8(user), serializeTrust(record), utf8(shared.names.get(user) ?? "")] as const,
    );
    for (let at = 0; at < people.length; at += PEOPLE_PER_MESSAGE) {
      await line.say(session.seal("people", people.slice(at, at + PEOPLE_PER_MESSAGE)));
    }
    const conversations = await this.#conversations();
    for (const conversation of conversations) {
      await line.say(session.seal("floor", conversation.id, ...floorOf(conversation, shared.sharesReading)));
    }
    const floors = conversations.length;
    const unsaid = shared.sharesReading || floors > 0 ? [] : [false]; // no floor has said it
    await line.say(session.seal("floors", people.length, floors, ...unsaid));
    await hearKind(line, session, "stored", this.#end.signal);
    job.told = true;
    await keepJob(this.#engine.vault, job);
  }

  /** All that this person has: also those that no part of the page has asked for yet. */
  async #conversations(): Promise<readonly Conversation[]> {
    for (const { id } of this.#engine.engagements) {
      try {
        await this.#engine.opened(id);
      } catch (error) {
        if (!(error instanceof EngagementUnavailable)) throw error; // it is over: what is here of it is handed on
      }
    }
    return this.#engine.conversations();
  }

  /** Send what is not sent yet; false if a conversation has not let the device in so far. */
  async #sendHistories(
    job: Job,
    line: Line,
    session: LinkSession,
    progress: (done: number, of: number) => void,
  ): Promise<boolean> {
    let waiting = false;
    for (const conversation of await this.#conversations()) {
      if (job.sent.has(conversation.id)) continue;
      if (await this.#isLetIn(conversation, job)) {
        await this.#sendHistory(job, conversation, line, session, progress);
        job.sent.add(conversation.id);
        await keepJob(this.#engine.vault, job);
      } else waiting = true;
    }
    return !waiting;
  }

  /** Whether all that the device will not get from the stream itself is here by now. */
  async #isLetIn(conversation: Conversation, job: Job): Promise<boolean> {
    const { environment } = this.#engine;
    const wanted = hex(deviceId(job.hello.deviceKey));
    for (const end = environment.nowMs() + ADDED_MS; ; await environment.sleep(LOOK_MS, this.#end.signal)) {
      const { view, situation } = conversation;
      if (conversation.engagement?.status === "ended") return true;
      if (view === null && situation.opened !== null) return true; // nor is this device in: nobody adds it from here
      if (view?.leaves.some((leaf) => hex(deviceId(leaf.deviceKey)) === wanted)) return true;
      if (view !== null && view.leaves.length >= MAX_MEMBER_DEVICES) return true;
      if (environment.nowMs() >= end) return false;
      this.#end.signal.throwIfAborted();
    }
  }

  async #sendHistory(
    job: Job,
    conversation: Conversation,
    line: Line,
    session: LinkSession,
    progress: (done: number, of: number) => void,
  ): Promise<void> {
    const via = await this.#via(conversation);
    if (via === null) {
      // Nothing can be left at a relay where no conversation goes on.
      await line.say(session.seal("history", conversation.id, "", "", NONE, 0));
    } else {
      const { key, blob, size } = await this.#uploaded(job, conversation, via, progress);
      await line.say(session.seal("history", conversation.id, via, blob, key, size));
    }
    const [answer] = await hearKind(line, session, "have", this.#end.signal);
    if (answer !== conversation.id) {
      throw new LinkTampered("The other device answers something else than what was said to it.");
    }
    await this.#spools().remove(spoolName(job, conversation));
  }

  #spools(): PrivateSpools {
    const { portal, user } = this.#engine.account;
    return new PrivateSpools(vaultName(portal, user));
  }

  async #via(conversation: Conversation): Promise<string | null> {
    if (conversation.engagement?.status === "active") return conversation.id;
    return this.#engine.engagements.find(({ status }) => status === "active")?.id ?? null;
  }

  /** Sealed once; cut off, the rest of the same bytes goes. */
  async #uploaded(
    job: Job,
    conversation: Conversation,
    via: string,
    progress: (done: number, of: number) => void,
  ): Promise<{ readonly key: Bytes; readonly blob: BlobId; readonly size: number }> {
    const { environment } = this.#engine;
    const [spools, name] = [this.#spools(), spoolName(job, conversation)];
    const begun = job.sealed.get(name) ?? { key: environment.rng(HANDOVER_KEY_BYTES), blob: null };
    if (!job.sealed.has(name)) {
      const spool = await spools.open(name);
      try {
        spool.truncate(0);
        await this.#seal(conversation, begun.key, async (piece) => spool.append(piece));
        spool.flush();
      } finally {
        spool.close();
      }
      job.sealed.set(name, begun);
      await keepJob(this.#engine.vault, job);
    }
    try {
      const sealed = await spools.blob(name);
      const blob = await upload({
        sealed,
        environment,
        blob: job.sealed.get(name)?.blob ?? null,
        access: accessBy(this.#engine, via),
        remember: async (id) => {
          job.sealed.set(name, { key: begun.key, blob: id });
          await keepJob(this.#engine.vault, job);
        },
        progress: (done) => progress(done, sealed.size),
        signal: this.#end.signal,
      });
      return { key: begun.key, blob, size: sealed.size };
    } catch (error) {
      // Only a copy that was lost is sealed anew.
      if (error instanceof SpoolMissing || error instanceof BlobGone) job.sealed.delete(name);
      throw error;
    }
  }

  async #seal(conversation: Conversation, key: Bytes, sink: (piece: Bytes) => Promise<void>): Promise<void> {
    const sealing = new HistorySealing(key, sink);
    let count = 0;
    for await (const page of itemsFrom(this.#engine.vault, conversation.id, PAGE)) {
      for (const row of page.flatMap((stored) => rowsOf(stored, conversation.id))) {
        await sealing.add(["item", row]);
        count++;
      }
    }
    await sealing.add(["end", count]);
    await sealing.finish();
  }
}

const keyOf = (job: Job): string => deviceName(deviceId(job.hello.deviceKey));

const spoolName = (job: Job, { id }: Conversation): string =>
  `link-${deviceName(deviceId(job.hello.deviceKey))}-${id}`;

/** Below what the new device is never to go in this conversation. */
function floorOf({ stored, engagement }: Conversation, shares: boolean): readonly Packable[] {
  const shown = engagement === null ? NONE : encode([{ frame: "EngagementChanged", engagement }]);
  return [
    shown,
    shares,
    stored.incarnation ?? NONE,
    // What the relay lost may take another course.
    (isUnsettled(stored) ? stored.branch : stored.highestEpoch) + 1,
    stored.transcript,
    stored.suite,
    stored.lastCommit,
    stored.met,
    stored.admitted,
    [...stored.peers].map(([device, [user, seq]]) => [parseDeviceId(unhex(device)), user, seq] as const),
    stored.read,
    [...stored.reads].map(([user, seq]) => [user, seq] as const),
  ];
}
