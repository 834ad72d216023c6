/** The loop that joins delivery, vault and transport: one device of one person, in a Worker. */

import type { Me } from "../api.ts";
import { text as utf8Text } from "../bytes.ts";
import { ready } from "../crypto.ts";
import { ACCOUNT, firstAccount } from "../devices/first.ts";
import type { Environment } from "../environment.ts";
import {
  CoachRelayError,
  EngagementUnavailable,
  RelayError,
  RelayRefused,
  VaultMissing,
  VaultUnavailable,
} from "../errors.ts";
import { verifyManifest } from "../identity/manifest.ts";
import { safetyNumber } from "../identity/safety.ts";
import { parseTrust } from "../identity/trust.ts";
import type { RelayAddress } from "../transport/address.ts";
import { relayAddress } from "../transport/address.ts";
import type { LinkHandler } from "../transport/link.ts";
import { Link } from "../transport/link.ts";
import { Vault } from "../vault/vault.ts";
import type { Engagement, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { parseEngagementId, parseUserId } from "../wire/ids.ts";
import type { Account } from "./account.ts";
import { parseAccount, serializeAccount, tokenSubject } from "./account.ts";
import type { ConversationEvents } from "./conversation.ts";
import { Conversation } from "./conversation.ts";
import { findKeyPackage, publish } from "./keyPackages.ts";
import type { Happening } from "./messages.ts";
import type { Listening } from "./part.ts";
import type { Shared } from "./work.ts";

const CONFIRMED = "meta/confirmed";

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
  readonly #engagements = new Map<EngagementId, Engagement>();
  #publishing: Promise<void> = Promise.resolve();
  #destroyed = false;

  private constructor(options: EngineOptions, vault: Vault, account: Account) {
    this.#options = options;
    this.vault = vault;
    this.environment = options.environment;
    this.#shared = {
      account,
      trust: new Map(),
      names: new Map(),
      rng: options.environment.rng,
      nowMs: options.environment.nowMs,
      findKeyPackage: (ref) => findKeyPackage(vault, ref),
    };
    const { token, environment, url } = options;
    this.address = relayAddress(url);
    this.#link = new Link(
      { address: this.address, portal: account.portal, device: account.device, token, environment },
      this,
    );
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
        ? await firstAccount({ portal, user, name, asks, vault, environment, address, token, ask })
        : parseAccount(stored);
    const engine = new Engine(options, vault, account);
    await engine.#loadPeople();
    return engine;
  }

  /** The parts that are told what happens. */
  listen(listening: readonly Listening[]): void {
    this.#listening = listening;
  }

  /** Connect, and stay connected. */
  run(): void {
    this.#link.run().catch((error: unknown) => this.fault(error));
  }

  /** This device and its user, as they are now. */
  get account(): Account {
    return this.#shared.account;
  }

  /** The user's device list, or what this device knows of itself, has changed: durable when this resolves. */
  async useAccount(account: Account): Promise<void> {
    await this.vault.write([{ name: ACCOUNT, value: serializeAccount(account) }]);
    this.#shared.account = account;
    this.tell("devices", null, null);
    for (const opening of this.#conversations.values()) (await opening).accountChanged();
  }

  get online(): boolean {
    return this.#link.online;
  }

  /** Ask the relay and wait for its answer; raises RelayRefused or RelayUnreachable. */
  readonly askRelay: Link["ask"] = (question, answer) => this.#link.ask(question, answer);

  /** The conversations that are open in this browser. */
  async conversations(): Promise<readonly Conversation[]> {
    return Promise.all(this.#conversations.values());
  }

  /** Tell the page an event of src/api.ts, or one whose name begins with @. */
  tell(event: string, engagement: string | null, detail: unknown): void {
    this.#options.tell({ event, engagement, detail });
  }

  /** Ask the page; raises UsageError where it gives no answer. */
  ask(question: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#options.ask(question, ...args);
  }

  async #loadPeople(): Promise<void> {
    for (const data of (await this.vault.scan("trust/")).values()) {
      const record = parseTrust(data);
      this.#shared.trust.set(record.newest.user, record);
    }
    for (const [name, data] of await this.vault.scan("name/")) {
      this.#shared.names.set(parseUserId(name.slice("name/".length)), utf8Text(data));
    }
  }

  get me(): Me {
    const { portal, user, name, manifest } = this.account;
    return { portal, user, name, safetyNumber: safetyNumber(portal, user, manifest.identityKey) };
  }

  get engagements(): readonly { readonly id: string; readonly status: string }[] {
    return [...this.#engagements.values()].map(({ id, status }) => ({ id, status }));
  }

  /** The conversation of an engagement; raises WireError for what is no id. */
  conversation(engagement: string): Promise<Conversation> {
    const id = parseEngagementId(engagement);
    const known = this.#conversations.get(id) ?? this.#load(id);
    this.#conversations.set(id, known);
    return known;
  }

  async #load(id: EngagementId): Promise<Conversation> {
    const events: ConversationEvents = {
      message: (message) => this.tell("message", id, message),
      changed: () => this.tell("changed", id, null),
      alarm: (alarm) => this.tell("alarm", id, alarm),
      keyPackagesSpent: () => void this.#publish(0).catch((error: unknown) => this.fault(error)),
      fault: (error) => this.fault(error),
    };
    const made = await Conversation.load(id, this.#shared, this.vault, this.#options.environment, events);
    if (this.#link.online) await this.#open(made);
    return made;
  }

  async #open(conversation: Conversation): Promise<void> {
    try {
      await conversation.open(this.#link, this.#engagements.get(conversation.id) ?? null);
    } catch (error) {
      if (error instanceof RelayRefused && (error.code === "not_found" || error.code === "ended")) {
        throw new EngagementUnavailable("There is no such engagement, it is not yours, or it has ended.");
      }
      throw error;
    }
  }

  // What the link brings

  async connected(frame: RelayFrames["Ready"]): Promise<void> {
    await this.#confirm();
    await this.#publish(frame.keyPackagesLeft);
    const { engagements } = await this.#link.ask({ frame: "ListEngagements" }, "Engagements");
    for (const engagement of engagements) this.#engagements.set(engagement.id, engagement);
    this.tell("online", null, null);
    this.tell("engagements", null, null);
    for (const one of this.#listening) void one.online?.().catch((error: unknown) => this.fault(error));
    for (const opening of [...this.#conversations.values()]) {
      const conversation = await opening;
      await this.#open(conversation).catch((error: unknown) => {
        if (!(error instanceof EngagementUnavailable)) throw error;
        this.tell("changed", conversation.id, null);
      });
    }
  }

  /** The device list that the relay holds is ours; another one's means that this browser lost its vault. */
  async #confirm(): Promise<void> {
    const { manifest } = this.account;
    const confirmed = (await this.vault.get(CONFIRMED)) !== null;
    const asked = confirmed ? manifest.raw : null;
    const held = (await this.#link.ask({ frame: "PutManifest", manifest: asked }, "HeldManifest")).manifest;
    if (confirmed) return;
    if (held !== null && verifyManifest(held).raw.join() !== manifest.raw.join()) {
      const { portal, user } = this.account;
      this.destroy();
      await Vault.erase(portal, user); // nothing is in it but keys that nobody has seen
      this.#failed(
        new VaultMissing(
          "You are set up on another device, or this browser has erased what was stored here. " +
            "Link this browser from your other device, or use your recovery kit.",
        ),
      );
      throw new VaultMissing("This browser's store is new, and its user is not.");
    }
    await this.#link.ask({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
    await this.vault.write([{ name: CONFIRMED, value: Uint8Array.of(1) }]);
  }

  /** One publication after the other: each makes what the one before left open. */
  #publish(left: number): Promise<void> {
    const next = this.#publishing.then(() =>
      publish(this.vault, this.#link, this.account, left, this.#options.environment.nowMs()),
    );
    this.#publishing = next.catch(() => undefined); // the next connection tells what the relay lacks
    return next;
  }

  async received(frame: RelayFrame): Promise<void> {
    if (frame.frame === "EngagementChanged") await this.#changed(frame.engagement);
    else if (frame.frame === "KeyPackagesLow") await this.#publish(frame.left);
    else if ("stream" in frame) await (await this.#conversations.get(frame.stream))?.received(frame);
    else for (const one of this.#listening) await one.frame?.(frame);
  }

  async #changed(engagement: Engagement): Promise<void> {
    this.#engagements.set(engagement.id, engagement);
    const conversation = await this.#conversations.get(engagement.id);
    if (conversation === undefined) this.tell("engagements", null, null);
    else conversation.changed(engagement);
  }

  async disconnected(error: CoachRelayError | null): Promise<void> {
    if (this.#destroyed) return;
    this.tell("offline", null, error && { code: error.code, message: error.message });
    for (const one of this.#listening) one.offline?.();
    for (const opening of this.#conversations.values()) {
      const conversation = await opening.catch(() => null); // it could not be opened: nothing is in flight
      await conversation?.disconnected();
    }
  }

  /** Something that nobody waits for failed: what the relay did not do is tried again, all else is told. */
  fault(error: unknown): void {
    if (this.#destroyed || error instanceof RelayError) return;
    const known = error instanceof CoachRelayError;
    this.#failed(known ? error : new VaultUnavailable("Something went wrong. Reload the page."));
  }

  #failed({ code, message }: CoachRelayError): void {
    this.tell("failed", null, { code, message });
  }

  /** End: what waits is kept for the next time. */
  destroy(): void {
    this.#destroyed = true;
    for (const one of this.#listening) one.destroyed?.();
    this.#link.close();
    this.vault.close();
  }
}
