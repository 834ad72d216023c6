/** Made-up people for tests: an identity, a device, key packages. */

import type { Bytes } from "../../src/bytes.ts";
import { serializeInfo } from "../../src/identity/conversation.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import { firstManifest, MAY_LINK } from "../../src/identity/manifest.ts";
import { Group } from "../../src/mls/group.ts";
import type { KeyPackageBundle } from "../../src/mls/keyPackages.ts";
import { checkPackage, makeKeyPackage, packOffer, readOffered } from "../../src/mls/keyPackages.ts";
import type { SuiteId } from "../../src/mls/suites.ts";
import { KNOWN_SUITES } from "../../src/mls/suites.ts";
import { deviceId, parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";

export const PORTAL = parsePortalId("growth");
export const ENGAGEMENT = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
export const NOW = 1_800_000_000;
const rng = (length: number): Bytes => crypto.getRandomValues(new Uint8Array(length));

export function person(name: string, portal = PORTAL) {
  const [identity, recovery, device] = [KeyPair.generate(rng), KeyPair.generate(rng), KeyPair.generate(rng)];
  const user = parseUserId(name);
  const devices = [{ deviceKey: device.public, flags: MAY_LINK }];
  const recoveryKey = recovery.public;
  const manifest = firstManifest({ portal, user, identity, recoveryKey, devices, suites: [...KNOWN_SUITES] });
  return { user, identity, recovery, device, manifest, id: deviceId(device.public) };
}

export type Person = ReturnType<typeof person>;

export const keyPackage = (of: Person, suite: SuiteId): Promise<KeyPackageBundle> =>
  makeKeyPackage(suite, of.device, of.manifest, Math.floor(Date.now() / 1000), false);

export function infoOf(...people: readonly Person[]): Bytes {
  const participants = people.map(({ user, identity }, at) => ({
    user,
    role: at === 0 ? ("coach" as const) : ("client" as const),
    identityKey: identity.public,
  }));
  const policy = new Map();
  return serializeInfo({
    portal: PORTAL,
    engagement: ENGAGEMENT,
    generation: 1,
    features: [],
    policy,
    participants,
  });
}

export async function candidate(of: Person, bundle: KeyPackageBundle) {
  const now = Math.floor(Date.now() / 1000);
  return checkPackage(readOffered(packOffer([bundle]), of.id, PORTAL), of.id, bundle.suite, now);
}

export async function pair(suite: SuiteId) {
  const { groupId } = await import("../../src/identity/conversation.ts");
  const [anna, ben] = [person("anna"), person("ben")];
  const own = await keyPackage(anna, suite);
  const id = groupId(PORTAL, ENGAGEMENT, 1);
  const alone = await Group.create(id, infoOf(anna), own, anna.device, PORTAL);
  const bundle = await keyPackage(ben, suite);
  const made = await alone.commit({ adds: [await candidate(ben, bundle)], info: infoOf(anna, ben) });
  const find = async (ref: Bytes) => (ref.join() === bundle.ref.join() ? bundle : null);
  const joined = await Group.join(made.welcome ?? new Uint8Array(), find, ben.device, PORTAL);
  return { anna, ben, first: made.after, second: joined.group, made, alone };
}
