/** How our groups are configured: our authentication policy, windows, lifetimes, capabilities. */

import type { Capabilities, ClientConfig, Credential, Extension } from "ts-mls";
import { encodeRequiredCapabilities } from "ts-mls";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { IdentityError } from "../errors.ts";
import { EXTENSION_TYPE } from "../identity/conversation.ts";
import { manifestOf } from "../identity/membership.ts";
import type { PortalId } from "../wire/ids.ts";
import { KNOWN_SUITES, suiteName } from "./suites.ts";

export const LAST_RESORT = 0x000a;
const LIFETIME_SECONDS = 90 * 86_400; // a device that was away for longer publishes new ones when it returns
const CLOCK_LEEWAY_SECONDS = 3_600; // the clocks of those who add may be behind ours
/** Longer ones are void for every member. */
export const MOST_LIFETIME_SECONDS = 31_622_400n;

/** 5 generations back, 1000 forward; keys of past epochs are deleted at once (docs/PROTOCOL.md section 7). */
const WINDOWS = {
  retainKeysForGenerations: 5,
  retainKeysForEpochs: 0,
  maximumForwardRatchetSteps: 1000,
};

export const CAPABILITIES: Capabilities = {
  versions: ["mls10"],
  ciphersuites: KNOWN_SUITES.map(suiteName),
  extensions: [LAST_RESORT, EXTENSION_TYPE],
  proposals: [],
  credentials: ["basic"],
};

export const lifetime = (nowSeconds: number) => ({
  notBefore: BigInt(nowSeconds - CLOCK_LEEWAY_SECONDS),
  notAfter: BigInt(nowSeconds + LIFETIME_SECONDS),
});

/** The identity of a BasicCredential; null for a credential of another type. */
export const identityOf = (credential: Credential): Bytes | null =>
  credential.credentialType === "basic" ? credential.identity : null;

/**
 * Our authentication service (RFC 9420 section 5.3.1): a leaf's credential is a manifest of this portal that
 * verifies and lists the leaf's key. Who takes part, `checkCommit` and `checkJoined` judge by the result.
 */
const authService = (portal: PortalId) => ({
  validateCredential: async (credential: Credential, signatureKey: Bytes): Promise<boolean> => {
    try {
      return manifestOf(identityOf(credential), signatureKey).portal === portal;
    } catch (error) {
      if (!(error instanceof IdentityError)) throw error;
      return false;
    }
  },
});

export const configFor = (portal: PortalId): ClientConfig => ({
  keyRetentionConfig: WINDOWS,
  lifetimeConfig: { maximumTotalLifetime: MOST_LIFETIME_SECONDS, validateLifetimeOnReceive: false },
  // A client is its device key (RFC 9420 section 12.2: no client twice).
  keyPackageEqualityConfig: {
    compareKeyPackages: (one, other) =>
      equal(one.leafNode.signaturePublicKey, other.leafNode.signaturePublicKey),
    compareKeyPackageToLeafNode: (one, leaf) =>
      equal(one.leafNode.signaturePublicKey, leaf.signaturePublicKey),
  },
  paddingConfig: { kind: "padUntilLength", padUntilLength: 0 },
  authService: authService(portal),
});

/** The extensions of a conversation's GroupContext: its description, and the demand to understand it. */
export const groupExtensions = (info: Bytes): Extension[] => [
  {
    extensionType: "required_capabilities",
    extensionData: encodeRequiredCapabilities({
      extensionTypes: [EXTENSION_TYPE],
      proposalTypes: [],
      credentialTypes: [],
    }),
  },
  { extensionType: EXTENSION_TYPE, extensionData: info },
];
