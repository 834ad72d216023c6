/** The loop that joins delivery, vault and transport: one device of one person, in a Worker. */

import { text as utf8Text } from "../bytes.ts";
import { ready } from "../crypto.ts";
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
import { parseTrust } from "../identity/trust.ts";
import { relayAddress } from "../transport/address.ts";
import type { LinkHandler } from "../transport/link.ts";
import { Link } from "../transport/link.ts";
import { Vault } from "../vault/vault.ts";
import type { Engagement, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId, UserId } from "../wire/ids.ts";
import { parseEngagementId, parseUserId } from "../wire/ids.ts";
import type { Account } from "./account.ts";
import { createAccount, parseAccount, serializeAccount, tokenSubject } from "./account.ts";
import type { ConversationEvents } from "./conversation.ts";
import { Conversation } from "./conversation.ts";
import type { Message } from "./history.ts";
import { findKeyPackage, publish } from "./keyPackages.ts";
import type { Shared } from "./work.ts";

const ACCOUNT = "account";
const CONFIRMED = "meta/confirmed";

export interface EngineOptions {
  readonly url: string;
  readonly token: () => Promise<string>;
  /** What this person wants to be called. */
  readonly name: string;
  readonly environment: Environment;
}

/** What the engine tells the page. */
export interface EngineEvents {
  online(online: boolean, error: { readonly code: string; readonly message: string } | null): void;
  message(message: Message): void;
  changed(engagement: string): void;
  alarm(engagement: string, alarm: { readonly code: string; readonly message: string }): void;
  /** What this browser had stored is gone, or was never here: link this device, or recover. */
  failed(error: CoachRelayError): void;
}

export class Engine implements LinkHandler {
  readonly #options: EngineOptions;
  readonly #events: EngineEvents;
  readonly #vault: Vault;
  readonly #account: Account;
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #conversations = new Map<EngagementId, Promise<Conversation>>();
  readonly #engagements = new Map<EngagementId, Engagement>();
  #publishing: Promise<void> = Promise.resolve();
  #destroyed = false;

  private constructor(options: EngineOptions, events: EngineEvents, vault: Vault, account: Account) {
    this.#options = options;
    this.#events = events;
    this.#vault = vault;
    this.#account = account;
    this.#shared = {
      account,
      trust: new Map(),
      names: new Map(),
      rng: options.environment.rng,
      nowMs: options.environment.nowMs,
      findKeyPackage: (ref) => findKeyPackage(vault, ref),
    };
    const { token, environment, url } = options;
    const address = relayAddress(url);
    this.#link = new Link(
      { address, portal: account.portal, device: account.device, token, environment },
      this,
    );
  }

  /** Open the vault of the person whom the token names, and connect; raises CoachRelayError. */
  static async start(options: EngineOptions, events: EngineEvents): Promise<Engine> {
    await ready();
    const { portal, user } = tokenSubject(await options.token());
    const vault = await Vault.open(portal, user);
    const stored = await vault.get(ACCOUNT);
    const account =
      stored === null
        ? createAccount(portal, user, options.name, options.environment.rng)
        : parseAccount(stored);
    if (stored === null) await vault.write([{ name: ACCOUNT, value: serializeAccount(account) }]);
    const engine = new Engine(options, events, vault, account);
    await engine.#loadPeople();
    engine.#link.run().catch((error: unknown) => engine.#fault(error));
    return engine;
  }

  async #loadPeople(): Promise<void> {
    for (const data of (await this.#vault.scan("trust/")).values()) {
      const record = parseTrust(data);
      this.#shared.trust.set(record.newest.user, record);
    }
    for (const [name, data] of await this.#vault.scan("name/")) {
      this.#shared.names.set(parseUserId(name.slice("name/".length)), utf8Text(data));
    }
  }

  get me(): { readonly portal: string; readonly user: UserId; readonly name: string } {
    const { portal, user, name } = this.#account;
    return { portal, user, name };
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
      message: (message) => this.#events.message(message),
      changed: () => this.#events.changed(id),
      alarm: (alarm) => this.#events.alarm(id, alarm),
      keyPackagesSpent: () => void this.#publish(0).catch((error: unknown) => this.#fault(error)),
      fault: (error) => this.#fault(error),
    };
    const made = await Conversation.load(id, this.#shared, this.#vault, this.#options.environment, events);
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
    this.#events.online(true, null);
    for (const opening of [...this.#conversations.values()]) {
      const conversation = await opening;
      await this.#open(conversation).catch((error: unknown) => {
        if (!(error instanceof EngagementUnavailable)) throw error;
        this.#events.changed(conversation.id);
      });
    }
  }

  /** The device list that the relay holds is ours; another one's means that this browser lost its vault. */
  async #confirm(): Promise<void> {
    const { manifest } = this.#account;
    const confirmed = (await this.#vault.get(CONFIRMED)) !== null;
    const asked = confirmed ? manifest.raw : null;
    const held = (await this.#link.ask({ frame: "PutManifest", manifest: asked }, "HeldManifest")).manifest;
    if (confirmed) return;
    if (held !== null && verifyManifest(held).raw.join() !== manifest.raw.join()) {
      const { portal, user } = this.#account;
      this.destroy();
      await Vault.erase(portal, user); // nothing is in it but keys that nobody has seen
      this.#events.failed(
        new VaultMissing(
          "You are set up on another device, or this browser has erased what was stored here. " +
            "Link this browser from your other device, or use your recovery kit.",
        ),
      );
      throw new VaultMissing("This browser's store is new, and its user is not.");
    }
    await this.#link.ask({ frame: "PutManifest", manifest: manifest.raw }, "HeldManifest");
    await this.#vault.write([{ name: CONFIRMED, value: Uint8Array.of(1) }]);
  }

  /** One publication after the other: each makes what the one before left open. */
  #publish(left: number): Promise<void> {
    const next = this.#publishing.then(() =>
      publish(this.#vault, this.#link, this.#account, left, this.#options.environment.nowMs()),
    );
    this.#publishing = next.catch(() => undefined); // the next connection tells what the relay lacks
    return next;
  }

  async received(frame: RelayFrame): Promise<void> {
    if (frame.frame === "EngagementChanged") await this.#changed(frame.engagement);
    else if (frame.frame === "KeyPackagesLow") await this.#publish(frame.left);
    else if ("stream" in frame) await (await this.#conversations.get(frame.stream))?.received(frame);
  }

  async #changed(engagement: Engagement): Promise<void> {
    this.#engagements.set(engagement.id, engagement);
    const conversation = await this.#conversations.get(engagement.id);
    if (conversation === undefined) this.#events.changed(engagement.id);
    else conversation.changed(engagement);
  }

  async disconnected(error: CoachRelayError | null): Promise<void> {
    if (this.#destroyed) return;
    this.#events.online(false, error && { code: error.code, message: error.message });
    for (const opening of this.#conversations.values()) {
      const conversation = await opening.catch(() => null); // it could not be opened: nothing is in flight
      await conversation?.disconnected();
    }
  }

  /** What the relay did not do is tried again on the next connection; all else the page has to know. */
  #fault(error: unknown): void {
    if (this.#destroyed || error instanceof RelayError) return;
    const known = error instanceof CoachRelayError;
    this.#events.failed(known ? error : new VaultUnavailable("Something went wrong. Reload the page."));
  }

  /** End: what waits is kept for the next time. */
  destroy(): void {
    this.#destroyed = true;
    this.#link.close();
    this.#vault.close();
  }
}
