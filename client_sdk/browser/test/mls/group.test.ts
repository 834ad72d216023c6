import { beforeAll, describe, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { hex, utf8 } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";
import { checkCommit, checkJoined, devicesIn, viewOf } from "../../src/identity/membership.ts";
import { GroupRefused, NotForUs, UnknownKeyPackage, WrongEpoch } from "../../src/mls/errors.ts";
import { Group } from "../../src/mls/group.ts";
import { checkPackage, packOffer, readOffered } from "../../src/mls/keyPackages.ts";
import { KNOWN_SUITES, SUITE_3, SUITE_XWING } from "../../src/mls/suites.ts";
import { parsePortalId } from "../../src/wire/ids.ts";
import { candidate, ENGAGEMENT, infoOf, keyPackage, PORTAL, pair, person } from "./people.ts";

beforeAll(ready);

const said = async (from: Group, to: Group, text: string): Promise<[Group, Group, string]> => {
  const sent = await from.encrypt(utf8(text));
  const got = await to.decrypt(sent.message);
  return [sent.group, got.group, new TextDecoder().decode(got.plaintext)];
};

describe.each(KNOWN_SUITES)("suite %d", (suite) => {
  test("two people talk, also from stored states", async () => {
    let { first, second } = await pair(suite);
    expect(hex(first.epochAuthenticator)).toBe(hex(second.epochAuthenticator));
    checkJoined(viewOf(second.facts), PORTAL, ENGAGEMENT);
    let text: string;
    [first, second, text] = await said(first, second, "hello");
    expect(text).toBe("hello");
    second = Group.parse(second.serialize(), PORTAL);
    first = Group.parse(first.serialize(), PORTAL);
    [second, first, text] = await said(second, first, "and back");
    expect(text).toBe("and back");
    const context = utf8("x");
    expect(hex(await first.exporter("l", context, 32))).toBe(hex(await second.exporter("l", context, 32)));
  });

  test("a commit adds a third device and removes it again", async () => {
    const { anna, ben, first, second } = await pair(suite);
    const carol = person("carol");
    const bundle = await keyPackage(carol, suite);
    const info = infoOf(anna, ben, carol);
    const made = await second.commit({ adds: [await candidate(carol, bundle)], info });
    const staged = await first.stage(made.commit);
    expect(staged.proposals.toSorted()).toEqual(["add", "group_context_extensions"]);
    if (staged.group === null) throw new Error("removed");
    const [before, after] = [viewOf(first.facts), viewOf(staged.group.facts)];
    checkCommit(before, after, { adds: [carol.id], removes: [] }, staged.external);
    expect(() => checkCommit(before, after, { adds: [], removes: [] }, false)).toThrow("names others");
    const joined = await Group.join(
      made.welcome ?? new Uint8Array(),
      async () => bundle,
      carol.device,
      PORTAL,
    );
    expect(devicesIn(viewOf(joined.group.facts)).size).toBe(3);
    const leaf = joined.group.ownLeaf;
    const removal = await staged.group.commit({ removes: [leaf] });
    expect((await joined.group.stage(removal.commit)).group).toBeNull();
    expect(devicesIn(viewOf(removal.after.facts)).size).toBe(2);
  });
});

test("a message's length tells little", async () => {
  const { first } = await pair(SUITE_3);
  const length = async (size: number) => (await first.encrypt(new Uint8Array(size))).message.length;
  expect(await length(1)).toBe(await length(63));
  expect(await length(64)).toBe(await length(250));
  expect(await length(257)).toBe(await length(272));
  expect(await length(300)).toBeGreaterThan(await length(256));
});

test("nothing is opened twice, by its sender, of another epoch or altered", async () => {
  const { first, second, alone } = await pair(SUITE_XWING);
  const { message, group } = await first.encrypt(utf8("once"));
  const opened = await second.decrypt(message);
  await expect(opened.group.decrypt(message)).rejects.toThrow(GroupRefused);
  await expect(group.decrypt(message)).rejects.toThrow(GroupRefused);
  await expect(alone.decrypt(message)).rejects.toThrow(WrongEpoch);
  for (const at of [0, 20, message.length >> 1, message.length - 1]) {
    const altered = message.slice();
    altered[at] = (altered[at] ?? 0) ^ 1;
    await expect(second.decrypt(altered)).rejects.toThrow();
  }
  await expect(second.decrypt(message.slice(0, -1))).rejects.toThrow(GroupRefused);
  await expect(second.stage(message)).rejects.toThrow(GroupRefused);
});

test("the window reaches a thousand forward and five back", async () => {
  const { first, second } = await pair(SUITE_3);
  const sent: Bytes[] = [];
  let group = first;
  for (let i = 0; i < 9; i++) {
    const made = await group.encrypt(Uint8Array.of(i));
    sent.push(made.message);
    group = made.group;
  }
  const at = (place: number) => sent[place] ?? new Uint8Array();
  const later = (await second.decrypt(at(8))).group;
  expect((await later.decrypt(at(4))).plaintext[0]).toBe(4);
  await expect(later.decrypt(at(1))).rejects.toThrow(GroupRefused);
});

test("two commits of one epoch never use one key", async () => {
  const { first } = await pair(SUITE_3);
  const one = await first.commit({});
  const other = await one.current.commit({});
  const generation = (group: Group) => hex(group.serialize());
  expect(generation(one.current)).not.toBe(generation(first));
  expect(hex(one.commit)).not.toBe(hex(other.commit));
});

test("who is of another portal, or not signed for, is not let in", async () => {
  const { first } = await pair(SUITE_3);
  const stranger = person("eve", parsePortalId("other"));
  const bundle = await keyPackage(stranger, SUITE_3);
  const now = Math.floor(Date.now() / 1000);
  const offer = packOffer([bundle]);
  expect(() => readOffered(offer, stranger.id, PORTAL)).toThrow("another portal");
  expect(() => readOffered(offer, person("x").id, PORTAL)).toThrow("device asked for");
  const friend = person("carol");
  const good = await keyPackage(friend, SUITE_3);
  const packages = readOffered(packOffer([good]), friend.id, PORTAL);
  await expect(checkPackage(packages, friend.id, SUITE_3, now + 10 ** 8)).rejects.toThrow(GroupRefused);
  expect(packages.bySuite.has(SUITE_XWING)).toBe(false);
  const forged = {
    ...(await candidate(friend, good)),
    keyPackage: (await import("../../src/mls/keyPackages.ts")).readKeyPackage(bundle.message),
  };
  await expect(first.commit({ adds: [forged] })).rejects.toThrow();
});

test("a Welcome for somebody else, and noise, is refused", async () => {
  const { made, ben } = await pair(SUITE_3);
  const welcome = made.welcome ?? new Uint8Array();
  await expect(Group.join(welcome, async () => null, ben.device, PORTAL)).rejects.toThrow(UnknownKeyPackage);
  const other = await keyPackage(ben, SUITE_3);
  await expect(Group.join(welcome, async () => other, ben.device, PORTAL)).rejects.toThrow(GroupRefused);
  await expect(Group.join(made.commit, async () => other, ben.device, PORTAL)).rejects.toThrow(GroupRefused);
  await expect(Group.join(new Uint8Array(7), async () => other, ben.device, PORTAL)).rejects.toThrow(
    GroupRefused,
  );
});

test("an altered commit does not open", async () => {
  const { first, second } = await pair(SUITE_3);
  const { commit } = await first.commit({});
  const altered = commit.slice();
  altered[commit.length - 1] = (altered[commit.length - 1] ?? 0) ^ 1;
  await expect(second.stage(altered)).rejects.toThrow(NotForUs);
});
