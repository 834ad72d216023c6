/** One device's view of an MLS group in one epoch (RFC 9420). Frozen: each step gives the next one. */

import type { ClientState, Extension, Proposal, Reinit } from "ts-mls";
import {
  createApplicationMessage,
  createCommit,
  createGroup,
  decodeGroupState,
  decodeRequiredCapabilities,
  encodeGroupState,
  encodeMlsMessage,
  joinGroup,
  makePskIndex,
  mlsExporter,
  processMessage,
} from "ts-mls";
import { createGroupInfo } from "ts-mls/createCommit.js";
import { unprotectPrivateMessage } from "ts-mls/messageProtection.js";
import { encodeRatchetTree } from "ts-mls/ratchetTree.js";
import { consumeRatchet } from "ts-mls/secretTree.js";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { paddedLength } from "../content/padding.ts";
import { UsageError } from "../errors.ts";
import { EXTENSION_TYPE } from "../identity/conversation.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { GroupFacts, MemberFacts } from "../identity/membership.ts";
import type { PortalId } from "../wire/ids.ts";
import { configFor, groupExtensions, identityOf, MOST_LIFETIME_SECONDS } from "./config.ts";
import { GroupError, GroupRefused, NotForUs, UnknownKeyPackage, WrongEpoch } from "./errors.ts";
import type { Candidate, KeyPackageBundle } from "./keyPackages.ts";
import { decoded, privateParts, readKeyPackage } from "./keyPackages.ts";
import type { SuiteId } from "./suites.ts";
import { implementation, suiteName, suiteOfName, withHeader } from "./suites.ts";

/** The signature and its length, which stand between the application data and the padding. */
const SIGNATURE_FIELD_BYTES = 66;

/** A message of another member. */
export interface Decrypted {
  readonly group: Group;
  readonly plaintext: Bytes;
  readonly sender: number;
}

/** A commit that keeps the rules of RFC 9420; whether it keeps ours is for `checkCommit` to say. */
export interface Staged {
  /** The group after it; null: it removes this device. */
  readonly group: Group | null;
  readonly sender: number | null;
  readonly external: boolean;
  /** The leaf of who came back by an external commit. */
  readonly joiner: number | null;
  readonly proposals: readonly string[];
  /** What the group is to be followed by; then `group` has ended, and nothing is said in it any more. */
  readonly reinit: Reinit | null;
}

/** A commit of ours: `after` counts once it is accepted, `current` is the group to go on from until then. */
export interface Made {
  readonly commit: Bytes;
  readonly welcome: Bytes | null;
  readonly groupInfo: Bytes;
  readonly after: Group;
  readonly current: Group;
}

/** What a commit is to do. `info` replaces the description of the conversation. */
export interface Changes {
  readonly adds?: readonly Candidate[];
  readonly removes?: readonly number[];
  readonly info?: Bytes;
  /** The newest device list of our user, for our own leaf: in a commit that has a path. */
  readonly manifest?: Bytes;
}

export class Group {
  readonly suite: SuiteId;
  /** @internal For src/mls alone. */
  readonly state: ClientState;

  /** @internal */
  constructor(state: ClientState) {
    const suite = suiteOfName(state.groupContext.cipherSuite);
    if (suite === undefined) throw new GroupRefused("The group has a suite that this version does not have.");
    this.suite = suite;
    this.state = state;
  }

  /** A group of this device alone, at epoch 0. */
  static async create(
    id: Bytes,
    info: Bytes,
    bundle: KeyPackageBundle,
    device: KeyPair,
    portal: PortalId,
  ): Promise<Group> {
    const cs = await implementation(bundle.suite);
    const [own, keys] = [readKeyPackage(bundle.message), privateParts(bundle, device)];
    return new Group(await createGroup(id, own, keys, groupExtensions(info), cs, configFor(portal)));
  }

  /**
   * Enter by a Welcome, into the group that takes over from `ended` if that is given; raises GroupRefused or
   * UnknownKeyPackage. `find` gives the packages that it names.
   */
  static async join(
    message: Bytes,
    find: (ref: Bytes) => Promise<KeyPackageBundle | null>,
    device: KeyPair,
    portal: PortalId,
    ended?: Group,
  ): Promise<{ readonly group: Group; readonly used: KeyPackageBundle }> {
    const found = decoded(message);
    if (found.wireformat !== "mls_welcome") throw new GroupRefused("It is no Welcome.");
    const suite = suiteOfName(found.welcome.cipherSuite);
    if (suite === undefined) throw new GroupRefused("A Welcome of an unknown suite.");
    const cs = await implementation(suite);
    for (const { newMember } of found.welcome.secrets) {
      const used = await find(newMember);
      if (used === null || used.suite !== suite) continue;
      const [own, keys] = [readKeyPackage(used.message), privateParts(used, device)];
      const psks = makePskIndex(ended?.state, {});
      const state = await refusing(
        joinGroup(found.welcome, own, keys, psks, cs, undefined, ended?.state, configFor(portal)),
      );
      const group = new Group(state);
      group.checkTree();
      return { group, used };
    }
    throw new UnknownKeyPackage("This device was added by keys that it does not have any more.");
  }

  /** The group's own epoch, not the conversation's number of it. */
  get epoch(): number {
    return Number(this.state.groupContext.epoch);
  }

  get groupId(): Bytes {
    return this.state.groupContext.groupId;
  }

  get epochAuthenticator(): Bytes {
    return this.state.keySchedule.epochAuthenticator;
  }

  /** The same object as long as the group is in this epoch, as this device has it in memory. */
  get context(): object {
    return this.state.groupContext;
  }

  /** Whether every member's leaf says that its device has this suite. */
  supports(suite: SuiteId): boolean {
    return this.state.ratchetTree.every(
      (node) => node?.nodeType !== "leaf" || node.leaf.capabilities.ciphersuites.includes(suiteName(suite)),
    );
  }

  get transcript(): Bytes {
    return this.state.groupContext.confirmedTranscriptHash;
  }

  get ownLeaf(): number {
    return this.state.privatePath.leafIndex;
  }

  /** The members' leaves. */
  get members(): readonly MemberFacts[] {
    return this.state.ratchetTree.flatMap((node, at) => {
      if (node?.nodeType !== "leaf") return [];
      const { credential, signaturePublicKey } = node.leaf;
      return [{ index: at / 2, signatureKey: signaturePublicKey, identity: identityOf(credential) }];
    });
  }

  /** What the rules of membership read. */
  get facts(): GroupFacts {
    const { extensions, groupId } = this.state.groupContext;
    const infos = extensions.filter((one) => one.extensionType === EXTENSION_TYPE);
    const [info] = infos;
    return {
      groupId,
      info: infos.length === 1 && info !== undefined ? info.extensionData : null,
      demandsInfo: demandsInfo(extensions),
      members: this.members,
    };
  }

  /** MLS-Exporter(label, context, length) (RFC 9420 section 8.5). */
  async exporter(label: string, context: Bytes, length: number): Promise<Bytes> {
    const cs = await implementation(this.suite);
    return mlsExporter(this.state.keySchedule.exporterSecret, label, context, length, cs);
  }

  /** Application data as an MLSMessage, padded; the group after it is to be stored before the message goes. */
  async encrypt(plaintext: Bytes): Promise<{ readonly group: Group; readonly message: Bytes }> {
    const cs = await implementation(this.suite);
    const header = plaintext.length < 64 ? 1 : plaintext.length < 16_384 ? 2 : 4;
    const padUntilLength = header + paddedLength(plaintext.length) + SIGNATURE_FIELD_BYTES;
    const paddingConfig = { kind: "padUntilLength", padUntilLength } as const;
    const padded = { ...this.state, clientConfig: { ...this.state.clientConfig, paddingConfig } };
    const { newState, privateMessage } = await createApplicationMessage(padded, plaintext, cs);
    return {
      group: new Group({ ...newState, clientConfig: this.state.clientConfig }),
      message: encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage }),
    };
  }

  /** Another member's message; raises GroupRefused or WrongEpoch. */
  async decrypt(message: Bytes): Promise<Decrypted> {
    const found = decoded(message);
    if (found.wireformat !== "mls_private_message") throw new GroupRefused("A message is not a private one.");
    const { privateMessage } = found;
    this.#checkPlace(privateMessage.groupId, privateMessage.epoch);
    if (privateMessage.contentType !== "application") {
      throw new GroupRefused("Proposals and commits do not come as messages.");
    }
    const cs = await implementation(this.suite);
    const { senderDataSecret } = this.state.keySchedule;
    const { secretTree, ratchetTree, groupContext, clientConfig } = this.state;
    const windows = clientConfig.keyRetentionConfig;
    const opened = await refusing(
      unprotectPrivateMessage(
        senderDataSecret,
        privateMessage,
        secretTree,
        ratchetTree,
        groupContext,
        windows,
        cs,
      ),
    );
    const { content } = opened.content;
    if (content.contentType !== "application" || content.sender.senderType !== "member") {
      throw new GroupRefused("A message is not application data of a member.");
    }
    if (content.sender.leafIndex === this.ownLeaf)
      throw new GroupRefused("A message names us as its sender.");
    const group = new Group({ ...this.state, secretTree: opened.tree });
    return { group, plaintext: content.applicationData, sender: content.sender.leafIndex };
  }

  /**
   * Process a commit without entering its epoch: drop the result if it breaks a rule of ours. Raises GroupRefused
   * (void for every member), NotForUs (it did not open here) or WrongEpoch.
   */
  async stage(message: Bytes): Promise<Staged> {
    const found = decoded(message);
    const isPublic = found.wireformat === "mls_public_message";
    if (!isPublic && found.wireformat !== "mls_private_message") throw new GroupRefused("It is no commit.");
    const place = isPublic ? found.publicMessage.content : found.privateMessage;
    this.#checkPlace(place.groupId, place.epoch);
    if (place.contentType !== "commit") throw new GroupRefused("A commit entry holds something else.");
    const cs = await implementation(this.suite);
    let sender: number | null = null;
    let proposals: readonly string[] = [];
    const seen = (incoming: Parameters<Parameters<typeof processMessage>[3]>[0]) => {
      if (incoming.kind !== "commit") return "reject";
      sender = incoming.senderLeafIndex ?? null;
      proposals = incoming.proposals.map(({ proposal }) => String(proposal.proposalType));
      return "accept";
    };
    const none = makePskIndex(undefined, {});
    const result = await refusing(processMessage(found, this.state, none, seen, cs), NotForUs);
    const external = sender === null;
    if (result.kind !== "newState") throw new GroupRefused("A commit entry holds something else.");
    if (result.newState.groupActiveState.kind === "removedFromGroup") {
      return { group: null, sender, external, joiner: null, proposals, reinit: null };
    }
    const group = new Group(result.newState);
    group.checkTree();
    group.#checkFreshKeys(this.state, sender);
    const { groupActiveState: active } = result.newState;
    const reinit = active.kind === "suspendedPendingReinit" ? active.reinit : null;
    const joiner = external ? changedLeaf(this.state, result.newState) : null;
    return { group, sender, external, joiner, proposals, reinit };
  }

  /** Make a commit; raises what receivers would find wrong with it. */
  async commit(changes: Changes): Promise<Made> {
    const cs = await implementation(this.suite);
    const state = changes.manifest === undefined ? this.state : this.#withManifest(changes.manifest);
    const made = await createCommit(
      { state, cipherSuite: cs, pskIndex: makePskIndex(undefined, {}) },
      { extraProposals: this.#proposals(changes), ratchetTreeExtension: true },
    );
    // The key that encrypted this commit is used up also if another commit is first.
    const { newTree } = await consumeRatchet(this.state.secretTree, 2 * this.ownLeaf, "commit", cs);
    const after = new Group(made.newState);
    const welcome = made.welcome && { version: "mls10", wireformat: "mls_welcome", welcome: made.welcome };
    return {
      commit: encodeMlsMessage(made.commit),
      welcome: welcome ? encodeMlsMessage(welcome as Parameters<typeof encodeMlsMessage>[0]) : null,
      groupInfo: await after.groupInfo(),
      after,
      current: new Group({ ...this.state, secretTree: newTree }),
    };
  }

  /** The path of a commit takes over what our leaf says, and signs it. */
  #withManifest(identity: Bytes): ClientState {
    const ratchetTree = this.state.ratchetTree.slice();
    const own = ratchetTree[2 * this.ownLeaf];
    if (own?.nodeType !== "leaf") return this.state;
    const leaf = { ...own.leaf, credential: { credentialType: "basic", identity } as const };
    ratchetTree[2 * this.ownLeaf] = { ...own, leaf };
    return { ...this.state, ratchetTree };
  }

  #proposals({ adds = [], removes = [], info }: Changes): Proposal[] {
    const { extensions } = this.state.groupContext;
    const described =
      info &&
      extensions.map((one) => (one.extensionType === EXTENSION_TYPE ? { ...one, extensionData: info } : one));
    return [
      ...removes.map((removed): Proposal => ({ proposalType: "remove", remove: { removed } })),
      ...adds.map(({ keyPackage }): Proposal => ({ proposalType: "add", add: { keyPackage } })),
      ...(described
        ? [
            {
              proposalType: "group_context_extensions",
              groupContextExtensions: { extensions: described },
            } as const,
          ]
        : []),
    ];
  }

  /** The GroupInfo of this epoch with `external_pub` and `ratchet_tree`, as an MLSMessage. */
  async groupInfo(): Promise<Bytes> {
    const cs = await implementation(this.suite);
    const { groupContext, confirmationTag, keySchedule, ratchetTree } = this.state;
    const pair = await cs.hpke.deriveKeyPair(keySchedule.externalSecret);
    const key = await cs.hpke.exportPublicKey(pair.publicKey);
    const extensions: Extension[] = [
      { extensionType: "external_pub", extensionData: withHeader(key) },
      { extensionType: "ratchet_tree", extensionData: encodeRatchetTree(ratchetTree) },
    ];
    const info = await createGroupInfo(groupContext, confirmationTag, this.state, extensions, cs);
    return encodeMlsMessage({ version: "mls10", wireformat: "mls_group_info", groupInfo: info });
  }

  /** The whole state, with every secret, for the vault alone. */
  serialize(): Bytes {
    return encodeGroupState(this.state);
  }

  /** A stored state; raises GroupRefused. */
  static parse(data: Bytes, portal: PortalId): Group {
    const found = decodeGroupState(data, 0);
    if (found === undefined || found[1] !== data.length) throw new GroupRefused("A stored group is damaged.");
    return new Group({ ...found[0], clientConfig: configFor(portal) });
  }

  #checkPlace(groupId: Bytes, epoch: bigint): void {
    if (!equal(groupId, this.groupId)) throw new GroupRefused("A message is of another group.");
    if (epoch !== this.state.groupContext.epoch) throw new WrongEpoch(Number(epoch), this.epoch);
  }

  /** @internal What ts-mls leaves unchecked in a tree: lifetimes that are too long, one key in two places. */
  checkTree(): void {
    const keys = new Set<string>();
    for (const node of this.state.ratchetTree) {
      if (node === undefined) continue;
      const key = node.nodeType === "leaf" ? node.leaf.hpkePublicKey : node.parent.hpkePublicKey;
      if (keys.size === keys.add(key.join()).size) throw new GroupRefused("A key is in the tree twice.");
      if (node.nodeType !== "leaf" || node.leaf.leafNodeSource !== "key_package") continue;
      const { notBefore, notAfter } = node.leaf.lifetime;
      if (notAfter < notBefore || notAfter - notBefore > MOST_LIFETIME_SECONDS) {
        throw new GroupRefused("A leaf is to be valid for too long.");
      }
    }
  }

  /** A commit's path has keys that are new to the whole tree (RFC 9420 section 12.4.2). */
  #checkFreshKeys(before: ClientState, sender: number | null): void {
    if (sender === null) return;
    const leafBefore = before.ratchetTree[2 * sender];
    const leafAfter = this.state.ratchetTree[2 * sender];
    if (leafBefore?.nodeType !== "leaf" || leafAfter?.nodeType !== "leaf") return;
    if (equal(leafBefore.leaf.signature, leafAfter.leaf.signature)) return; // a commit without a path
    const old = new Set(
      before.ratchetTree.map((node) =>
        node?.nodeType === "leaf" ? node.leaf.hpkePublicKey.join() : node?.parent.hpkePublicKey.join(),
      ),
    );
    if (old.has(leafAfter.leaf.hpkePublicKey.join())) throw new GroupRefused("A commit's key is not new.");
  }
}

/** An external commit signs one leaf anew: that of its sender. */
function changedLeaf(before: ClientState, after: ClientState): number | null {
  const at = after.ratchetTree.findIndex((node, index) => {
    const old = before.ratchetTree[index];
    if (node?.nodeType !== "leaf") return false;
    return old?.nodeType !== "leaf" || !equal(old.leaf.signature, node.leaf.signature);
  });
  return at < 0 ? null : at / 2;
}

/** @internal */
export function demandsInfo(extensions: readonly Extension[]): boolean {
  const required = extensions.find((one) => one.extensionType === "required_capabilities");
  const found = required && decodeRequiredCapabilities(required.extensionData, 0);
  return found?.[0].extensionTypes.includes(EXTENSION_TYPE) ?? false;
}

/** @internal What ts-mls raises as our errors: all of it is about bytes that others sent. */
export async function refusing<T>(
  working: Promise<T>,
  kind: new (message: string, options?: { cause?: unknown }) => GroupError = GroupRefused,
): Promise<T> {
  try {
    return await working;
  } catch (error) {
    if (error instanceof GroupError || error instanceof UsageError) throw error;
    throw new kind("It does not keep the rules of MLS.", { cause: error });
  }
}
