/** A group that takes over from another one, in a stronger suite (RFC 9420 section 11.2, docs/PROTOCOL.md 7.1). */

import type { Extension, Reinit } from "ts-mls";
import { createCommit, createGroup, encodeMlsMessage, makePskIndex } from "ts-mls";
import { makeResumptionPsk } from "ts-mls/resumption.js";
import { consumeRatchet } from "ts-mls/secretTree.js";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { EXTENSION_TYPE } from "../identity/conversation.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { PortalId } from "../wire/ids.ts";
import { configFor } from "./config.ts";
import { GroupRefused } from "./errors.ts";
import type { Made } from "./group.ts";
import { Group, refusing } from "./group.ts";
import type { Candidate, KeyPackageBundle } from "./keyPackages.ts";
import { privateParts, readKeyPackage } from "./keyPackages.ts";
import type { Described } from "./offer.ts";
import { contextBytes } from "./offer.ts";
import type { SuiteId } from "./suites.ts";
import { implementation, suiteName } from "./suites.ts";

/** A group that takes over begins with this epoch. */
export const FIRST_EPOCH = 1;

const sameExtensions = (one: readonly Extension[], other: readonly Extension[]): boolean =>
  one.length === other.length &&
  one.every((extension, at) => {
    const another = other[at];
    return (
      another !== undefined &&
      String(extension.extensionType) === String(another.extensionType) &&
      equal(extension.extensionData, another.extensionData)
    );
  });

/** These extensions with another description of the conversation. */
const described = (extensions: readonly Extension[], info: Bytes): Extension[] =>
  extensions.map((one) => (one.extensionType === EXTENSION_TYPE ? { ...one, extensionData: info } : one));

/** Whether a ReInit changes nothing of a group but the suite, and its description to this one. */
export const changesTheSuiteAlone = (reinit: Reinit, group: Group, info: Bytes): boolean =>
  reinit.version === "mls10" &&
  sameExtensions(reinit.extensions, described(group.state.groupContext.extensions, info));

/** Whether the group that is offered is the one that the ReInit asks for. */
export function isAskedFor(reinit: Reinit, offer: Described): boolean {
  const found = offer.info.groupContext;
  return (
    equal(reinit.groupId, found.groupId) &&
    reinit.version === found.version &&
    reinit.cipherSuite === found.cipherSuite &&
    sameExtensions(reinit.extensions, found.extensions) &&
    offer.epoch === FIRST_EPOCH
  );
}

/** Whether this group is the very one that is offered to everybody. */
export const isOffered = (group: Group, { info }: Described): boolean =>
  equal(contextBytes(group.state.groupContext), contextBytes(info.groupContext)) &&
  equal(group.state.confirmationTag, info.confirmationTag);

/** End this group in favour of a new one with the same members. `own` and `others` are of the new suite. */
export async function moveGroup(
  group: Group,
  to: { readonly suite: SuiteId; readonly groupId: Bytes; readonly info: Bytes },
  own: KeyPackageBundle,
  others: readonly Candidate[],
  device: KeyPair,
  portal: PortalId,
): Promise<Made> {
  const extensions = described(group.state.groupContext.extensions, to.info);
  const cipherSuite = suiteName(to.suite);
  const reinit: Reinit = { groupId: to.groupId, version: "mls10", cipherSuite, extensions };
  const old = await implementation(group.suite);
  // Without a path there is nothing in the commit that could open for one member and not for another.
  const ended = await createCommit(
    { state: group.state, cipherSuite: old, pskIndex: makePskIndex(undefined, {}) },
    { extraProposals: [{ proposalType: "reinit", reinit }] },
  );
  const { newTree } = await consumeRatchet(group.state.secretTree, 2 * group.ownLeaf, "commit", old);
  const cs = await implementation(to.suite);
  const keys = privateParts(own, device);
  const alone = await createGroup(
    to.groupId,
    readKeyPackage(own.message),
    keys,
    extensions,
    cs,
    configFor(portal),
  );
  const psk = makeResumptionPsk(ended.newState, "reinit", cs);
  const founded = await refusing(
    createCommit(
      { state: alone, cipherSuite: cs, pskIndex: makePskIndex(ended.newState, {}) },
      {
        extraProposals: [
          ...others.map(({ keyPackage }) => ({ proposalType: "add", add: { keyPackage } }) as const),
          { proposalType: "psk", psk: { preSharedKeyId: psk.id } },
        ],
        ratchetTreeExtension: true,
      },
    ),
  );
  if (founded.welcome === undefined) throw new GroupRefused("There is nobody to move with.");
  const after = new Group(founded.newState);
  after.checkTree();
  return {
    commit: encodeMlsMessage(ended.commit),
    welcome: encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome: founded.welcome }),
    groupInfo: await after.groupInfo(),
    after,
    current: new Group({ ...group.state, secretTree: newTree }),
  };
}
