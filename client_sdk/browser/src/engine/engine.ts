/** The loop that joins delivery, vault and transport: one device of one person, in a Worker. */

import { SecurityAlarm } from "../alarms.ts";
import type { Me, Notice } from "../api.ts";
import { equal, text as utf8Text } from "../bytes.ts";
import { profile } from "../content/messages.ts";
import { ready } from "../crypto.ts";
import { WANTED } from "../devices/archive/keeping.ts";
import { ACCOUNT, CONFIRMED, firstAccount } from "../devices/first.ts";
import type { Environment } from "../environment.ts";
import {
  AccessRefused,
  CoachRelayError,
  EngagementUnavailable,
  ManifestInvalid,
  RelayError,
  RelayRefused,
  VaultMissing,
  VaultUnavailable,
} from "../errors.ts";
import { checkSuccessor, lists, verifyManifest } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import { governing } from "../identity/membership.ts";
import { safetyNumber } from "../identity/safety.ts";
import { parseTrust } from "../identity/trust.ts";
import type { RelayAddress } from "../transport/address.ts";
import { relayAddress } from "../transport/address.ts";
import type { LinkHandler } from "../transport/link.ts";
import { Link } from "../transport/link.ts";
import { Vault } from "../vault/vault.ts";
import type { DeviceFrame, Engagement, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId, UserId } from "../wire/ids.ts";
import { parseEngagementId, parseUserId } from "../wire/ids.ts";
import type { Account } from "./account.ts";
import { parseAccount, serializeAccount, tokenSubject } from "./account.ts";
import { Conversation } from "./conversation.ts";
import type { ConversationEvents } from "./events.ts";
import { FORGOTTEN, findKeyPackage, publish } from "./keyPackages.ts";
import type { Happening } from "./messages.ts";
import type { Listening } from "./part.ts";
import { withKnownSuites } from "./upToDate.ts";
import type { Shared } from "./work.ts";

const PRIVATE_READING = "setting/private-reading";

const GONE = new VaultMissing(
  "What this browser had stored of your conversations is gone: it was erased, or the browser made room. " +
    "Link this browser from your other device, or use your recovery kit.",
);
const ELSEWHERE = new VaultMissing(
  "You are set up on another device, or this browser has erased what was stored here. " +
    "Link this browser from your other device, or use your recovery kit.",
);
const REMOVED = new AccessRefused(
  "This device was removed from the list of your devices. Link it anew from another one, or use your recovery kit.",
  "device_revoked",
);

/** What the page is told of an error. */
const told = (error: CoachRelayError): Notice => ({
  code: error.code,
  message: error.message,
  ...(error instanceof AccessRefused && { reason: error.reason }),
});

export interface EngineOptions {
  readonly url: string;
  readonly token: () => Promise<string>;
  /** What this person wants to be called. */
  readonly name: string;
  /** Whether the page may be asked how to begin. */
  readonly asks: boolean;
  readonly environment: Environment;
  /** Ask the page. */
  ask(question: string, ...args: readonly unknown[]): Promise<unknown>;
  /** Tell the page. */
  tell(happening: Happening): void;
}

export class Engine implements LinkHandler {
  readonly #options: EngineOptions;
  /** What is stored of this person in this browser. */
  readonly vault: Vault;
  readonly environment: Environment;
  readonly address: RelayAddress;
  readonly #shared: Shared;
  readonly #link: Link;
  #listening: readonly Listening[] = [];
  readonly #conversations = new Map<EngagementId, Promise<Conversation>>();
  /** Being opened at the relay, over this connection. */
  readonly #opening = new Map<EngagementId, Promise<void>>();
  readonly #engagements = new Map<EngagementId, Engagement>();
  #changedMeanwhile = new Set<EngagementId>();
  #publishing: Promise<void> = Promise.resolve();
  #destroyed = false;
  #toldAgain = false;
  #failure: CoachRelayError | null = null;

  private constructor(options: EngineOptions, vault: Vault, account: Account) {
    this.#options = options;
    this.vault = vault;
    this.environment = options.environment;
    this.#shared = {
      account,
      trust: new Map(),
      names: new Map(),
      archives: false,
      sharesReading: true,
      rng: options.environment.rng,
      nowMs: options.environment.nowMs,
      read: (name) => vault.get(name),
      pages: vault,
      findKeyPackage: (ref) => findKeyPackage(vault, ref),
    };
    const { token, environment, url } = options;
    this.address = relayAddress(url);
    this.#link = new Link(
      { address: this.address, portal: account.portal, device: account.device, token, environment },
      this,
    );
    vault.onLost = () => this.#lost();
  }

  /** Open the vault of the person whom the token names; raises CoachRelayError. */
  static async start(options: EngineOptions): Promise<Engine> {
    await ready();
    const { portal, user } = tokenSubject(await options.token());
    const vault = await Vault.open(portal, user);
    const stored = await vault.get(ACCOUNT);
    const { name, asks, environment, token, ask } = options;
    const address = relayAddress(options.url);
    const account =
      stored === null
        ? await firstAccount({
            ...{ portal, user, name, asks, vault, environment, address, token, ask },
            offline: (error) => options.tell({ event: "offline", engagement: null, detail: told(error) }),
          })
        : parseAccount(stored);
    const engine = new Engine(options, vault, account);
    await engine.#loadPeople();
    return engine;
  }

  /** The parts that are told what happens. */
  listen(listening: readonly Listening[]): void {
    this.#listening = listening;
  }

  /** An account that an earlier version made learns what this one can. */
  async bringUpToDate(): Promise<void> {
    const account = withKnownSuites(this.account);
    if (account !== this.account) await this.useAccount(account);
  }

  /** Connect, and stay connected. */
  run(): void {
    this.#link.run().catch((error: unknown) => this.fault(error));
  }

  async #loadPeople(): Promise<void> {
    for (const data of (await this.vault.scan("trust/")).values()) {
      const record = parseTrust(data);
      this.#shared.trust.set(record.newest.user, record);
    }
    for (const [name, data] of await this.vault.scan("name/")) {
      this.#shared.names.set(parseUserId(name.slice("name/".length)), utf8Text(data));
    }
    this.#shared.archives = (await this.vault.get(WANTED)) !== null;
    this.#shared.sharesReading = (await this.vault.get(PRIVATE_READING)) === null;
  }

  // What the parts of the engine use

  /** This device and its user, as they are now. */
  get account(): Account {
    return this.#shared.account;
  }

  /** What this device knows of people, by their user ids; names are what they call themselves. */
  get shared(): Shared {
    return this.#shared;
  }

  get me(): Me {
    const { portal, user, name, manifest } = this.account;
    return { portal, user, name, safetyNumber: safetyNumber(portal, user, manifest.identityKey) };
  }

  get online(): boolean {
    return this.#link.online;
  }

  get engagements(): readonly { readonly id: string; readonly status: string }[] {
    return [...this.#engagements.values()].map(({ id, status }) => ({ id, status }));
  }

  /** The user's device list, or what this device knows of itself, has changed: durable when this resolves. */
  async useAccount(account: Account): Promise<void> {
    await this.vault.write([{ name: ACCOUNT, value: serializeAccount(account) }]);
    this.#shared.account = account;
    this.tell("devices", null, null);
    for (const conversation of await this.conversations()) conversation.accountChanged();
    if (this.online) this.#publish(0).catch((error: unknown) => this.fault(error));
  }

  /** The network may be another one: notice soon if the connection is dead. */
  checkConnection(): void {
    this.#link.check();
  }

  /** Ask the relay and wait for its answer; raises RelayRefused or RelayUnreachable. */
  readonly askRelay: Link["ask"] = (question, answer) => this.#link.ask(question, answer);

  /** Tell the relay something that it does not answer; offline it is lost. */
  tellRelay(frame: DeviceFrame): void {
    this.#link.send(frame);
  }

  /** What a person calls themselves, as far as this device knows. */
  nameOf(user: string): string {
    return this.#shared.names.get(user as UserId) ?? "";
  }

  /** The conversations that are open in this browser. */
  async conversations(): Promise<readonly Conversation[]> {
    const all = await Promise.allSettled(this.#conversations.values());
    return all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  }

  /** Tell the page an event of src/api.ts, or one whose name begins with @. */
  tell(event: string, engagement: string | null, detail: unknown): void {
    this.#options.tell({ event, engagement, detail });
  }

  /** Ask the page; raises UsageError where it gives no answer. */
  ask(question: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#options.ask(question, ...args);
  }

  // What a person does

  /** What this person wants to be called, from now on and by everybody. */
  async setName(name: string): Promise<void> {
    const said = profile(name);
    await this.useAccount({ ...this.account, name: said.name });
    for (const conversation of await this.conversations()) {
      if (conversation.member && conversation.alarm === null) await conversation.say(said, { quiet: true });
    }
  }

  get readReceipts(): boolean {
    return this.#shared.sharesReading;
  }

  /** Whether others are told how far this person has read; who does not tell is not told of others either. */
  async setReadReceipts(on: boolean): Promise<void> {
    await this.vault.write([{ name: PRIVATE_READING, value: on ? null : Uint8Array.of(1) }]);
    this.#shared.sharesReading = on;
    for (const conversation of await this.conversations()) {
      await conversation.readReceiptsChanged();
      this.tell("changed", conversation.id, null);
    }
  }

  // Conversations

  /** The conversation of an engagement, as this browser has it; raises WireError for what is no id. */
  conversation(engagement: string): Promise<Conversation> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const id = parseEngagementId(engagement);
    const known = this.#conversations.get(id);
    if (known !== undefined) return known;
    const loading = this.#load(id);
    this.#conversations.set(id, loading);
    loading.catch(() => this.#conversations.delete(id)); // it is tried again when it is asked for again
    return loading;
  }

  /** The same, and open at the relay if there is a connection; raises EngagementUnavailable. */
  async opened(engagement: string): Promise<Conversation> {
    const conversation = await this.conversation(engagement);
    if (this.online && conversation.situation.opened === null && conversation.alarm === null) {
      try {
        await this.#open(conversation);
      } catch (error) {
        if (error instanceof EngagementUnavailable || !(error instanceof RelayError)) throw error;
      }
    }
    return conversation;
  }

  #load(id: EngagementId): Promise<Conversation> {
    const events: ConversationEvents = {
      item: (item, stored) => {
        this.tell("message", id, item);
        this.#conversationOf(id, (conversation) => {
          for (const one of this.#listening) one.item?.(conversation, stored);
        });
      },
      removed: (item) => this.tell("removed", id, { id: item }),
      changed: () => this.tell("changed", id, null),
      alarm: (alarm) => this.tell("alarm", id, alarm),
      whisper: (whisper) => {
        if (whisper.kind === "typing") {
          this.tell("typing", id, { user: whisper.sender.user, on: whisper.body.get("on") === true });
        }
        this.#conversationOf(id, (conversation) => {
          for (const one of this.#listening) one.whisper?.(conversation, whisper);
        });
      },
      restored: () => this.#restored(),
      keyPackagesSpent: () => void this.#publish(0).catch((error: unknown) => this.fault(error)),
      entered: (view) => this.#follow(id, view),
      fault: (error) => this.fault(error),
    };
    return Conversation.load(id, this.#shared, this.vault, this.#options.environment, events);
  }

  #conversationOf(id: EngagementId, action: (conversation: Conversation) => void): void {
    const loading = this.#conversations.get(id);
    loading?.then(action).catch((error: unknown) => this.fault(error));
  }

  /** Whoever asks meanwhile waits for the same. */
  #open(conversation: Conversation): Promise<void> {
    const { id } = conversation;
    const begun = this.#opening.get(id);
    if (begun !== undefined) return begun;
    const opening = this.#openNow(conversation).finally(() => {
      if (this.#opening.get(id) === opening) this.#opening.delete(id);
    });
    this.#opening.set(id, opening);
    return opening;
  }

  async #openNow(conversation: Conversation): Promise<void> {
    try {
      await conversation.open(this.#link, this.#engagements.get(conversation.id) ?? null);
    } catch (error) {
      if (error instanceof RelayRefused && (error.code === "not_found" || error.code === "ended")) {
        throw new EngagementUnavailable("There is no such engagement, it is not yours, or it has ended.");
      }
      throw error;
    }
  }

  /** A member device of this user vouches for a newer list of devices in a conversation: use it here too. */
  async #follow(id: EngagementId, view: ConversationView): Promise<void> {
    const own = this.account.manifest;
    const found = governing(view, own.user);
    if (found === null || found.version < own.version || equal(found.raw, own.raw)) return;
    try {
      if (found.version === own.version) throw new ManifestInvalid("Two lists claim the same version.");
      checkSuccessor(own, found);
    } catch (error) {
      if (!(error instanceof ManifestInvalid)) throw error;
      const alarm = new SecurityAlarm("manifest_forked", { user: own.user, version: Number(own.version) });
      await (await this.conversation(id)).step(async (work) => work.raise(alarm));
      return;
    }
    if (lists(found, this.account.device.public)) await this.useAccount({ ...this.account, manifest: found });
  }

  // What the link brings

  async connected(frame: RelayFrames["Ready"]): Promise<void> {
    this.#toldAgain = false;
    this.#opening.clear(); // of a former connection
    await this.#confirm();
    await this.#publish(frame.keyPackagesLeft);
    this.#changedMeanwhile = new Set();
    const { engagements } = await this.#link.ask({ frame: "ListEngagements" }, "Engagements");
    for (const engagement of engagements) {
      // What was told of it since the question is the newer word.
      if (!this.#changedMeanwhile.has(engagement.id)) this.#engagements.set(engagement.id, engagement);
    }
    this.tell("online", null, null);
    this.tell("engagements", null, null);
    for (const one of this.#listening) one.online?.().catch((error: unknown) => this.fault(error));
    for (const conversation of await this.conversations()) {
      try {
        await this.#open(conversation);
      } catch (error) {
        if (!(error instanceof EngagementUnavailable)) throw error;
        this.tell("changed", conversation.id, null);
      }
    }
  }

  /** The device list that the relay holds is ours; another one's means that this browser lost its vault. */
  async #confirm(): Promise<void> {
    const { manifest, portal, user } = this.account;
    const confirmed = (await this.vault.get(CONFIRMED)) !== null;
    if (confirmed) {
      await this.#link.ask({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
      return;
    }
    const held = (await this.#link.ask({ frame: "PutManifest", manifest: null }, "HeldManifest")).manifest;
    if (held !== null && !equal(verifyManifest(held).raw, manifest.raw)) {
      this.destroy();
      await Vault.erase(portal, user); // nothing is in it but keys that nobody has seen
      this.failed(ELSEWHERE);
      throw ELSEWHERE;
    }
    await this.#link.ask({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
    await this.vault.write([{ name: CONFIRMED, value: Uint8Array.of(1) }]);
  }

  /** Have the relay know this user's device list and key packages again; once a connection is enough. */
  #restored(): void {
    if (this.#toldAgain) return;
    this.#toldAgain = true;
    this.vault
      .write(FORGOTTEN)
      .then(() => this.#confirm())
      .then(() => this.#publish(0))
      .catch((error: unknown) => this.fault(error));
  }

  /** One publication after the other: each makes what the one before left open. */
  #publish(left: number): Promise<void> {
    const next = this.#publishing.then(() =>
      publish(this.vault, this.#link, this.account, left, this.#options.environment.nowMs()),
    );
    this.#publishing = next.catch(() => undefined); // the next connection tells what the relay lacks
    return next;
  }

  async received(frame: RelayFrame, isOver: () => boolean): Promise<void> {
    if (frame.frame === "EngagementChanged") this.#changed(frame.engagement);
    else if (frame.frame === "KeyPackagesLow") await this.#publish(frame.left);
    else if ("stream" in frame) await (await this.#conversations.get(frame.stream))?.received(frame, isOver);
    else for (const one of this.#listening) await one.frame?.(frame);
  }

  #changed(engagement: Engagement): void {
    const known = this.#engagements.get(engagement.id);
    this.#changedMeanwhile.add(engagement.id);
    this.#engagements.set(engagement.id, engagement);
    if (known?.status !== engagement.status) this.tell("engagements", null, null);
    this.#conversationOf(engagement.id, (conversation) => conversation.changed(engagement));
  }

  async disconnected(error: CoachRelayError | null): Promise<void> {
    if (this.#destroyed) return;
    this.tell("offline", null, error && told(error));
    if (error instanceof AccessRefused && error.reason === "device_revoked") this.failed(REMOVED);
    for (const one of this.#listening) one.offline?.();
    for (const conversation of await this.conversations()) await conversation.disconnected();
  }

  /** The portal is asked for another token, as the one that is used ends soon. */
  tokenExpiring(endsMs: number): void {
    this.tell("token-expiring", null, { endsMs });
  }

  /** Something that nobody waits for failed: what the relay did not do is tried again, all else is told. */
  fault(error: unknown): void {
    if (this.#destroyed || error instanceof RelayError) return;
    const known = error instanceof CoachRelayError;
    this.failed(known ? error : new VaultUnavailable("Something went wrong. Reload the page."));
  }

  /** This device cannot go on: the page is told why, and what a person can do. */
  failed({ code, message }: CoachRelayError): void {
    this.tell("failed", null, { code, message });
  }

  /** The browser took away what was stored: nothing here has a ground to stand on any more. */
  #lost(): void {
    if (this.#destroyed) return;
    this.#failure = GONE;
    this.destroy();
    this.failed(GONE);
  }

  /** End: what waits is kept for the next time. */
  destroy(): void {
    this.#destroyed = true;
    for (const one of this.#listening) one.destroyed?.();
    this.#link.close();
    this.vault.close();
  }
}
