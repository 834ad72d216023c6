/** The ephemeral messages of one conversation: sealed under its present epoch, opened if from a member. */

import type { Bytes } from "../bytes.ts";
import { text, utf8 } from "../bytes.ts";
import type { Environment } from "../environment.ts";
import type { EphemeralEpoch, EphemeralMessage } from "../ephemeral/box.ts";
import { EphemeralBox, EphemeralRefused } from "../ephemeral/box.ts";
import { UsageError } from "../errors.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { ConversationView, Leaf } from "../identity/membership.ts";
import { viewOf } from "../identity/membership.ts";
import type { Group } from "../mls/group.ts";
import type { Packable, ValueMap } from "../msgpack.ts";
import type { Vault } from "../vault/vault.ts";

/** Counters taken at once: a page that ends wastes some, and never repeats one. */
const RESERVED = 1024;

/** An ephemeral message from a device that is a member now. */
export interface Whisper {
  readonly sender: Leaf;
  /** The epoch authenticator of the epoch that it is sealed under, and that epoch's number. */
  readonly authenticator: Bytes;
  readonly epoch: number;
  readonly kind: string;
  readonly body: ValueMap;
}

/** Seals and opens; follows the group from epoch to epoch. One after the other: the caller holds the lock. */
export class Whispers {
  readonly #name: string;
  readonly #vault: Vault;
  readonly #environment: Environment;
  readonly #device: KeyPair;
  #box: EphemeralBox | null = null;
  #group: Group | null = null;
  #view: ConversationView | null = null;
  #epoch = -1;
  #next = 0;
  #end = 0;

  constructor(engagement: string, vault: Vault, environment: Environment, device: KeyPair) {
    this.#name = `whisper/${engagement}`;
    this.#vault = vault;
    this.#environment = environment;
    this.#device = device;
  }

  /** The conversation is in this epoch now; what had waited for it. */
  async follow(group: Group | null, epoch: number): Promise<readonly Whisper[]> {
    if (group === null) {
      this.#box = this.#group = this.#view = null;
      return [];
    }
    const entered = this.#epoch !== epoch || this.#group === null;
    this.#group = group;
    if (!entered) return [];
    this.#epoch = epoch;
    this.#view = viewOf(group.facts);
    if (this.#box === null) {
      this.#box = new EphemeralBox(this.#described(group), (data) => this.#device.signLabelled(data));
      return [];
    }
    const waited = await this.#box.enter(this.#described(group), this.#environment.nowMs());
    return waited.flatMap((message) => this.#heard(message));
  }

  /** A message of ours; raises UsageError outside the group, EphemeralRefused if it is too long. */
  async seal(kind: string, body: ReadonlyMap<string, Packable>): Promise<Bytes> {
    if (this.#box === null) throw new UsageError("This device does not take part in the conversation yet.");
    return this.#box.seal(await this.#counter(), kind, body, this.#environment.rng);
  }

  /** A message came; what is not from a member is dropped. */
  async open(body: Bytes): Promise<readonly Whisper[]> {
    try {
      const message = await this.#box?.open(body, this.#environment.nowMs());
      return message == null ? [] : this.#heard(message);
    } catch (error) {
      if (error instanceof EphemeralRefused) return [];
      throw error;
    }
  }

  #described(group: Group): EphemeralEpoch {
    return {
      groupId: group.groupId,
      epoch: this.#epoch,
      authenticator: group.epochAuthenticator,
      ownLeaf: group.ownLeaf,
      deviceKeys: new Map(group.members.map(({ index, signatureKey }) => [index, signatureKey])),
      exporter: (label, context, length) => group.exporter(label, context, length),
    };
  }

  /** Whoever was removed since is not heard any more. */
  #heard({ deviceKey, authenticator, epoch, kind, body }: EphemeralMessage): Whisper[] {
    const sender = this.#view?.leaves.find((leaf) => leaf.deviceKey.join() === deviceKey.join());
    return sender === undefined ? [] : [{ sender, authenticator, epoch, kind, body }];
  }

  async #counter(): Promise<number> {
    if (this.#next >= this.#end) {
      const stored = await this.#vault.get(this.#name);
      this.#next = stored === null ? 0 : Number(text(stored));
      this.#end = this.#next + RESERVED;
      await this.#vault.write([{ name: this.#name, value: utf8(String(this.#end)) }]);
    }
    return ++this.#next;
  }
}
