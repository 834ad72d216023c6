/** GroupInfos: what an epoch looks like from outside, and coming back into it by external commit. */

import type { GroupContext, GroupInfo } from "ts-mls";
import { encodeMlsMessage, joinGroupExternal } from "ts-mls";
import { validateRatchetTree } from "ts-mls/clientState.js";
import { encodeGroupContext } from "ts-mls/groupContext.js";
import { ratchetTreeFromExtension, verifyGroupInfoSignature } from "ts-mls/groupInfo.js";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { EXTENSION_TYPE } from "../identity/conversation.ts";
import type { KeyPair } from "../identity/keys.ts";
import type { GroupFacts } from "../identity/membership.ts";
import type { PortalId } from "../wire/ids.ts";
import { configFor, identityOf } from "./config.ts";
import { GroupRefused } from "./errors.ts";
import { demandsInfo, Group, refusing } from "./group.ts";
import type { KeyPackageBundle } from "./keyPackages.ts";
import { decoded, privateParts, readKeyPackage } from "./keyPackages.ts";
import type { SuiteId } from "./suites.ts";
import { implementation, suiteOfName } from "./suites.ts";

/** What a GroupInfo says; nothing of it is verified before it is used. */
export interface Described {
  readonly info: GroupInfo;
  readonly facts: GroupFacts;
  readonly suite: SuiteId;
  readonly epoch: number;
  readonly transcript: Bytes;
}

/** The GroupInfo in an MLSMessage, with its tree; raises GroupRefused. */
export function describe(message: Bytes): Described {
  const found = decoded(message);
  if (found.wireformat !== "mls_group_info") throw new GroupRefused("It describes no epoch.");
  const info = found.groupInfo;
  const { groupContext } = info;
  const suite = suiteOfName(groupContext.cipherSuite);
  if (suite === undefined) throw new GroupRefused("It describes a group of an unknown suite.");
  const infos = groupContext.extensions.filter((one) => one.extensionType === EXTENSION_TYPE);
  return {
    info,
    suite,
    epoch: Number(groupContext.epoch),
    transcript: groupContext.confirmedTranscriptHash,
    facts: {
      groupId: groupContext.groupId,
      info: infos.length === 1 && infos[0] !== undefined ? infos[0].extensionData : null,
      demandsInfo: demandsInfo(groupContext.extensions),
      members: treeOf(info).flatMap((node, at) => {
        if (node?.nodeType !== "leaf") return [];
        const { credential, signaturePublicKey } = node.leaf;
        return [{ index: at / 2, signatureKey: signaturePublicKey, identity: identityOf(credential) }];
      }),
    },
  };
}

function treeOf(info: GroupInfo) {
  let tree: ReturnType<typeof ratchetTreeFromExtension>;
  try {
    tree = ratchetTreeFromExtension(info);
  } catch {
    tree = undefined; // malformed: ts-mls throws what its readers meet
  }
  if (tree === undefined) throw new GroupRefused("A description of an epoch lacks its tree.");
  return tree;
}

/** Whether the GroupInfo and its tree are valid (RFC 9420 section 12.4.3.1); raises GroupRefused. */
export async function verifyDescribed({ info, suite }: Described, portal: PortalId): Promise<void> {
  const cs = await implementation(suite);
  const { lifetimeConfig, authService } = configFor(portal);
  const { groupContext } = info;
  const tree = treeOf(info);
  const signer = tree[2 * info.signer];
  if (signer?.nodeType !== "leaf") throw new GroupRefused("Who signed a description is no member.");
  const wrong = await refusing(
    validateRatchetTree(tree, groupContext, lifetimeConfig, authService, groupContext.treeHash, cs),
  );
  const key = signer.leaf.signaturePublicKey;
  if (wrong !== undefined || !(await refusing(verifyGroupInfoSignature(info, key, cs.signature)))) {
    throw new GroupRefused("A description of an epoch is not valid.");
  }
}

/** Whether another key package than the one that this device's leaf was made of stands for it there. */
export function hasNewLeafOf({ info }: Described, { state, ownLeaf }: Group): boolean {
  const own = state.ratchetTree[2 * ownLeaf];
  return treeOf(info).some(
    (node) =>
      own?.nodeType === "leaf" &&
      node?.nodeType === "leaf" &&
      node.leaf.leafNodeSource === "key_package" &&
      equal(node.leaf.signaturePublicKey, own.leaf.signaturePublicKey) &&
      !equal(node.leaf.hpkePublicKey, own.leaf.hpkePublicKey),
  );
}

/** Whether a GroupInfo lets devices come in by external commit. */
export const letsIn = ({ info }: Described): boolean =>
  info.extensions.some((one) => one.extensionType === "external_pub");

/** The bytes of a GroupContext, which two that are the same have in common. */
export const contextBytes = (context: GroupContext): Bytes => encodeGroupContext(context);

/** Take this device's own place in the group again; raises GroupRefused. */
export async function rejoinGroup(
  described: Described,
  bundle: KeyPackageBundle,
  device: KeyPair,
  portal: PortalId,
): Promise<{ readonly commit: Bytes; readonly group: Group; readonly groupInfo: Bytes }> {
  const cs = await implementation(described.suite);
  await verifyDescribed(described, portal);
  const [own, keys] = [readKeyPackage(bundle.message), privateParts(bundle, device)];
  const { publicMessage, newState } = await refusing(
    joinGroupExternal(described.info, own, keys, true, cs, undefined, configFor(portal)),
  );
  const group = new Group(newState);
  group.checkTree();
  const commit = encodeMlsMessage({ version: "mls10", wireformat: "mls_public_message", publicMessage });
  return { commit, group, groupInfo: await group.groupInfo() };
}
