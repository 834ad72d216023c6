import { beforeAll, expect, test } from "vitest";
import { ready } from "../../src/crypto.ts";
import { IdentityError } from "../../src/errors.ts";
import type { ConversationInfo } from "../../src/identity/conversation.ts";
import { conversationEpoch, groupId, parseInfo } from "../../src/identity/conversation.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import type { Manifest } from "../../src/identity/manifest.ts";
import { nextManifest } from "../../src/identity/manifest.ts";
import type { ConversationView, Leaf } from "../../src/identity/membership.ts";
import { checkCommit, leavesToRemove, manifestOf, viewOf } from "../../src/identity/membership.ts";
import type { Admission } from "../../src/identity/trust.ts";
import { checkAdmission, observe } from "../../src/identity/trust.ts";
import type { DeviceId } from "../../src/wire/ids.ts";
import { deviceId, deviceName } from "../../src/wire/ids.ts";
import type { Person } from "../mls/people.ts";
import { infoOf, person } from "../mls/people.ts";

beforeAll(ready);

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));

function leaf(index: number, of: Person, manifest: Manifest = of.manifest, device = of.device): Leaf {
  const id = deviceId(device.public);
  return { index, deviceKey: device.public, device: id, name: deviceName(id), user: of.user, manifest };
}

const view = (info: ConversationInfo, ...leaves: readonly Leaf[]): ConversationView => ({
  groupId: groupId(info.portal, info.engagement, info.generation),
  info,
  leaves,
});
const info = (...people: readonly Person[]) => parseInfo(infoOf(...people));

function verdict(
  before: ConversationView,
  after: ConversationView,
  adds: readonly DeviceId[] = [],
  removes: readonly DeviceId[] = [],
  external = false,
): string {
  try {
    checkCommit(before, after, { adds, removes }, external);
  } catch (error) {
    if (error instanceof IdentityError) return error.code;
    throw error;
  }
  return "accepted";
}

test("what keeps the rules is accepted, what breaks one is void", () => {
  const [anna, ben, eve] = [person("anna"), person("ben"), person("eve")];
  const before = view(info(anna), leaf(0, anna));
  const after = view(info(anna, ben), leaf(0, anna), leaf(1, ben));
  expect(verdict(before, after, [ben.id])).toBe("accepted");
  expect(verdict(after, before, [], [ben.id])).toBe("accepted");
  expect(verdict(before, after, [])).toBe("bundle_names_differ");
  expect(verdict(before, after, [ben.id, eve.id])).toBe("bundle_names_differ");
  expect(verdict(before, view(info(anna), leaf(0, anna), leaf(1, eve)), [eve.id])).toBe("credential_refused");
  expect(verdict(before, view(info(anna, ben), leaf(0, anna)))).toBe("membership");
  const other = { ...after, groupId: new Uint8Array(32) };
  expect(verdict(before, other, [ben.id])).toBe("membership");
  expect(verdict(before, view({ ...after.info, generation: 2 }, ...after.leaves), [ben.id])).toBe(
    "membership",
  );
  const swapped = {
    ...after.info,
    participants: after.info.participants.map((one) => ({ ...one, role: "supervisor" as const })),
  };
  expect(verdict(after, view(swapped, ...after.leaves))).toBe("membership");
  expect(verdict(after, view(after.info, leaf(0, anna), leaf(1, ben), leaf(2, ben)))).toBe("membership");
});

test("an impostor with another identity key is not let in, a recovered one is", () => {
  const [anna, ben, impostor] = [person("anna"), person("ben"), person("ben")];
  const before = view(info(anna, ben), leaf(0, anna), leaf(1, ben));
  const posing = view(info(anna, impostor), leaf(0, anna), leaf(1, impostor));
  expect(verdict(before, posing, [impostor.id], [ben.id])).toBe("membership");
  const fresh = KeyPair.generate(random);
  const recovered = nextManifest(ben.manifest, ben.recovery, { identityKey: fresh.public });
  const people = [anna, { ...ben, identity: fresh }] as const;
  expect(verdict(before, view(info(...people), leaf(0, anna), leaf(1, ben, recovered)))).toBe("accepted");
});

test("device lists only move forward, and a revoked device has to go", () => {
  const [anna, ben] = [person("anna"), person("ben")];
  const phone = KeyPair.generate(random);
  const devices = [ben.device, phone].map((pair) => ({ deviceKey: pair.public, flags: 0 }));
  const two = nextManifest(ben.manifest, ben.identity, { devices });
  const revoked = nextManifest(two, ben.identity, { devices: devices.slice(0, 1) });
  const both = info(anna, ben);
  const newer = view(both, leaf(0, anna), leaf(1, ben, two));
  expect(verdict(newer, view(both, leaf(0, anna), leaf(1, ben, ben.manifest)))).toBe("membership");
  const stolen = leaf(2, ben, two, phone);
  expect(leavesToRemove(view(both, leaf(0, anna), leaf(1, ben, revoked), stolen))).toEqual([2]);
  const gone = view(both, leaf(0, anna), leaf(1, ben, revoked));
  expect(verdict(gone, view(both, ...gone.leaves, stolen), [stolen.device])).toBe("membership");
});

test("a rejoin changes neither devices nor description", () => {
  const [anna, ben] = [person("anna"), person("ben")];
  const before = view(info(anna, ben), leaf(0, anna), leaf(1, ben));
  expect(verdict(before, before, [], [], true)).toBe("accepted");
  const more = { ...before.info, features: ["x"] };
  expect(verdict(before, view(more, ...before.leaves), [], [], true)).toBe("membership");
  expect(verdict(before, view(info(anna), leaf(0, anna)), [], [ben.id], true)).toBe("membership");
});

test("a group without its description, or with a foreign leaf, has no view", () => {
  const anna = person("anna");
  const members = [{ index: 0, signatureKey: anna.device.public, identity: anna.manifest.raw }];
  const facts = { groupId: new Uint8Array(32), info: infoOf(anna), demandsInfo: true, members };
  expect(viewOf(facts).leaves.length).toBe(1);
  expect(() => viewOf({ ...facts, info: null })).toThrow(IdentityError);
  expect(() => viewOf({ ...facts, demandsInfo: false })).toThrow(IdentityError);
  expect(() => manifestOf(null, anna.device.public)).toThrow(IdentityError);
  expect(() => manifestOf(anna.manifest.raw, person("x").device.public)).toThrow(IdentityError);
});

test("only the other one of two is taken on trust", () => {
  const [anna, ben, carol] = [person("anna"), person("ben"), person("carol")];
  const admission: Admission = {
    candidate: ben.manifest,
    deviceKey: ben.device.public,
    own: anna.manifest,
    record: null,
    roster: [anna.user, ben.user],
    met: [],
    approved: false,
    takesPart: false,
  };
  const code = (changed: Partial<Admission>) => {
    try {
      checkAdmission({ ...admission, ...changed });
    } catch (error) {
      return (error as { readonly code: string }).code;
    }
    return "admitted";
  };
  expect(code({})).toBe("admitted");
  expect(code({ roster: [anna.user] })).toBe("approval_required");
  expect(code({ roster: [anna.user, ben.user, carol.user] })).toBe("approval_required");
  expect(code({ roster: [anna.user, ben.user, carol.user], approved: true })).toBe("admitted");
  const impostor = person("ben");
  expect(code({ record: observe(null, impostor.manifest, 0) })).toBe("identity_changed");
});

test("epochs are numbered through the conversation", () => {
  expect(conversationEpoch(1, 7)).toBe(7);
  expect(conversationEpoch(2, 1)).toBe(2 ** 32 + 1);
  expect(() => conversationEpoch(0, 1)).toThrow(IdentityError);
  expect(() => conversationEpoch(1, 2 ** 32)).toThrow(IdentityError);
});
