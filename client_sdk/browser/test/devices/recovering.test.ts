import { beforeAll, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";
import type { Place } from "../../src/devices/archive/parts.ts";
import { headOf, NO_HEAD, sealPart, signedWriter } from "../../src/devices/archive/parts.ts";
import type { Contact } from "../../src/devices/contact.ts";
import { RecoveryRefused } from "../../src/devices/errors.ts";
import type { Arrival } from "../../src/devices/first.ts";
import { ACCOUNT } from "../../src/devices/first.ts";
import { recover } from "../../src/devices/recovering.ts";
import { archiveColumns, rowsOf } from "../../src/devices/rows.ts";
import { parseAccount } from "../../src/engine/account.ts";
import { itemsBefore } from "../../src/engine/pages.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import type { Manifest } from "../../src/identity/manifest.ts";
import {
  eraOf,
  MAY_LINK,
  nextManifest,
  recoveredManifest,
  verifyManifest,
} from "../../src/identity/manifest.ts";
import { recoveryKey, recoveryWords } from "../../src/identity/recovery.ts";
import { makeKeyPackage, packOffer } from "../../src/mls/keyPackages.ts";
import type { Asked } from "./world.ts";
import { ANNA, ENGAGEMENT, message, PORTAL, rng, World } from "./world.ts";

beforeAll(ready);

const SERIES = new Uint8Array(16).fill(7);

/** An archive of two parts, by the device of this account. */
async function archive(world: World, writer = world.account.device, device = world.account.device) {
  const { account } = world;
  const recovery = recoveryKey(account.recoverySeed);
  const word = signedWriter({ deviceKey: writer.public, rank: 0, before: [] }, PORTAL, ANNA, recovery);
  const parts: Bytes[] = [];
  for (const number of [1, 2]) {
    const previous = parts.at(-1);
    const head = previous === undefined ? NO_HEAD : headOf(previous);
    const whose = { portal: PORTAL, user: ANNA, engagement: ENGAGEMENT, series: SERIES };
    const place: Place = { ...whose, number, previous: head };
    const items = rowsOf(message(number, number), ENGAGEMENT).map(archiveColumns);
    const content = { atMs: 1, items, people: [], writer: number === 1 ? word : new Uint8Array() };
    parts.push(await sealPart(place, content, { recoveryKey: recovery.public, device }));
  }
  return parts;
}

/** A relay that holds this list and this archive; `cut` breaks the connection for good at a frame. */
function relay(world: World, parts: readonly Bytes[]) {
  const lost = { user: ANNA, device: world.account.deviceId, member: true, hasKeyPackage: true };
  const state = {
    cut: "",
    held: world.account.manifest as Manifest | null,
    offers: [] as readonly (Bytes | null)[],
    claimed: [] as Asked[],
    taken: [] as Manifest[],
    series: [SERIES],
  };
  const answer = async (question: Asked): Promise<unknown> => {
    if (question.frame === state.cut) throw new Error("the page was closed");
    if (question.frame === "PutManifest") {
      const put = verifyManifest(question.manifest as Bytes);
      state.held = put;
      state.taken.push(put);
      return { manifest: put.raw };
    }
    if (question.frame === "ListEngagements") {
      return { engagements: [{ id: ENGAGEMENT, status: "active", devices: [lost] }] };
    }
    if (question.frame === "ClaimKeyPackages") {
      state.claimed.push(question);
      const given = state.offers.map((offer) => ({ device: lost.device, package: offer, lastResort: false }));
      return { packages: given };
    }
    if (question.frame === "ListArchive") {
      return { series: state.series.map((series) => ({ series, parts: parts.length })) };
    }
    return { parts: parts.slice(question.after as number) };
  };
  return { state, answer };
}

async function empty(world: World, { answer, state }: ReturnType<typeof relay>) {
  const { vault } = await World.begin();
  const device = KeyPair.generate(rng);
  const contact = { device, held: async () => state.held, insist: answer, ask: answer } as unknown as Contact;
  const { environment } = world;
  const arrival = { portal: PORTAL, user: ANNA, name: "Anna", vault, environment } as unknown as Arrival;
  const words = recoveryWords(world.account.recoverySeed);
  const come = (unchecked = false) =>
    recover(arrival, contact, { words, unchecked }, async () => Promise.reject(new Error("no progress")));
  const told = async () => {
    const items = await itemsBefore(vault, ENGAGEMENT, 50, null);
    const said = items.map(({ notice, envelope }) => notice?.text.split(".")[1] ?? envelope?.content);
    return said.map((one) => (typeof one === "object" && "text" in one ? one.text : one));
  };
  return { vault, come, told };
}

const ENDS = " Your archive ends here: what was said from here until your return is not on this device";
const BROKEN =
  " The relay lost, withheld or altered a part of your archive: something may be missing above," +
  " and what was said from here until your return is not on this device";

test("an archive comes back whole, though the page fails to show how far it is", async () => {
  const world = await World.begin();
  const { come, told, vault } = await empty(world, relay(world, await archive(world)));
  await come();
  expect(await told()).toEqual(["message 1", "message 2", ENDS]);
  expect(parseAccount((await vault.get(ACCOUNT)) ?? new Uint8Array()).manifest.version).toBeGreaterThan(
    2 ** 32,
  );
  expect([...(await vault.scan("first/")).keys()]).toEqual([]);
});

test.each(["ListEngagements", "ClaimKeyPackages", "PutManifest", "ListArchive", "ReadArchive"])(
  "closed at %s, there is no account yet, and the same words go on with the same identity",
  async (frame) => {
    const world = await World.begin();
    const there = relay(world, await archive(world));
    const { come, told, vault } = await empty(world, there);
    there.state.cut = frame;
    await expect(come()).rejects.toThrow("the page was closed");
    expect(await vault.get(ACCOUNT)).toBeNull();
    there.state.cut = "";
    await come();
    expect(await told()).toEqual(["message 1", "message 2", ENDS]);
    const raw = there.state.taken.map((one) => one.raw);
    expect(raw.every((one) => one.every((byte, at) => byte === raw[0]?.[at]))).toBe(true);
  },
);

test("after another recovery elsewhere, the one that was cut off is not gone on with", async () => {
  const world = await World.begin();
  const there = relay(world, await archive(world));
  const [first, second] = [await empty(world, there), await empty(world, there)];
  there.state.cut = "ListArchive";
  await expect(first.come()).rejects.toThrow("closed");
  there.state.cut = "";
  await second.come();
  await first.come();
  const versions = there.state.taken.map(({ version }) => BigInt(version));
  expect(versions.map((one, at) => at === 0 || one > (versions[at - 1] ?? 0n))).toEqual([true, true, true]);
});

test("a series that is told twice comes back once", async () => {
  const world = await World.begin();
  const there = relay(world, await archive(world));
  there.state.series = [SERIES, SERIES.slice()];
  const { come, told } = await empty(world, there);
  await come();
  expect(await told()).toEqual(["message 1", "message 2", ENDS]);
});

test.each<readonly [string, (parts: Bytes[]) => Bytes[], readonly string[]]>([
  ["the first is altered", ([one, two]) => [flipped(one), two] as Bytes[], []],
  ["the second is altered", ([one, two]) => [one, flipped(two)] as Bytes[], ["message 1"]],
  ["they are in another order", ([one, two]) => [two, one] as Bytes[], []],
  ["one is left out", ([, two]) => [two] as Bytes[], []],
  ["one comes twice", ([one]) => [one, one] as Bytes[], ["message 1"]],
])("a relay that lies is found out: %s", async (_, change, left) => {
  const world = await World.begin();
  const { come, told } = await empty(world, relay(world, change(await archive(world))));
  await come();
  // With no series that counts it says so; what is whole before the damage stays.
  const found = await told();
  expect(found.slice(0, -1)).toEqual(left);
  expect([BROKEN]).toContain(found.at(-1));
});

test("what a thief's device signed does not come back", async () => {
  const world = await World.begin();
  const parts = await archive(world, world.account.device, KeyPair.generate(rng));
  const { come, told } = await empty(world, relay(world, parts));
  await come();
  expect(await told()).toEqual([BROKEN]);
});

test("the words of another account are refused, and nothing is stored", async () => {
  const [world, other] = [await World.begin(), await World.begin()];
  const { come, vault } = await empty(other, relay(world, []));
  await expect(come()).rejects.toThrow(RecoveryRefused);
  expect([...(await vault.scan("")).keys()]).toEqual([]);
});

/** What the device of this account has published, with this list of devices. */
async function offer({ account }: World, manifest: Manifest, device = account.device): Promise<Bytes> {
  return packOffer([await makeKeyPackage(3, device, manifest, 1_800_000_000, false)]);
}

/** The list of a recovery in the far future: a machine's clock was wrong, and the relay does not show it. */
function ofAnotherRecovery({ account }: World): Manifest {
  const devices = [{ deviceKey: account.device.public, flags: MAY_LINK }];
  const recovery = recoveryKey(account.recoverySeed);
  const identityKey = KeyPair.generate(rng).public;
  return recoveredManifest({
    portal: PORTAL,
    user: ANNA,
    devices,
    suites: [3],
    era: 2n ** 30n,
    recovery,
    identityKey,
  });
}

test("a relay that shows no list has its person come back by the key packages of the lost device", async () => {
  const world = await World.begin();
  const there = relay(world, await archive(world));
  there.state.held = null;
  there.state.offers = [await offer(world, world.account.manifest)];
  const { come, told } = await empty(world, there);
  await come();
  expect(await told()).toEqual(["message 1", "message 2", ENDS]);
  expect(there.state.claimed).toEqual([
    { frame: "ClaimKeyPackages", stream: ENGAGEMENT, devices: [world.account.deviceId] },
  ]);
});

test("a relay that shows an old list does not have an older one made than what the devices carry", async () => {
  const world = await World.begin();
  const there = relay(world, []);
  const newest = ofAnotherRecovery(world);
  there.state.offers = [await offer(world, newest)];
  const { come } = await empty(world, there);
  await come();
  expect(there.state.taken.map((one) => eraOf(one))).toEqual([eraOf(newest) + 1n]);
});

test.each([2n ** 31n - 1n, 2n ** 31n - 2n])(
  "a list of era %s that a stolen identity key signed neither stops the kit nor takes its room",
  async (era) => {
    const world = await World.begin();
    const there = relay(world, []);
    const { manifest, identity } = world.account;
    if (identity === null) throw new Error("no identity key");
    const before = { ...manifest, version: ((era << 32n) + 7n) as unknown as Manifest["version"] };
    const forged = nextManifest(before, identity, {});
    there.state.held = forged;
    there.state.offers = [await offer(world, forged)];
    await (await empty(world, there)).come();
    there.state.offers = [await offer(world, forged)];
    await (await empty(world, there)).come();
    const eras = there.state.taken.map((one) => eraOf(one));
    expect(eras.every((one) => one < 2n ** 30n)).toBe(true);
    expect(eras[1]).toBe((eras[0] ?? 0n) + 1n);
  },
);

test("a relay that shows no device at all delays nobody who is sure", async () => {
  const world = await World.begin();
  const there = relay(world, await archive(world));
  there.state.held = null;
  there.state.offers = [null];
  const { come, told, vault } = await empty(world, there);
  await expect(come()).rejects.toThrow("The relay knows no earlier device of yours.");
  expect(there.state.taken).toEqual([]);
  expect([...(await vault.scan("")).keys()]).toEqual([]);
  await come(true);
  expect(await told()).toEqual(["message 1", "message 2", ENDS]);
});

test("who is sure and is cut off goes on with the same words, and is not asked again", async () => {
  const world = await World.begin();
  const there = relay(world, await archive(world));
  there.state.held = null;
  there.state.cut = "PutManifest";
  const { come } = await empty(world, there);
  await expect(come(true)).rejects.toThrow("the page was closed");
  there.state.cut = "";
  await come();
  expect(there.state.taken.length).toBe(1);
});

test.each<readonly [string, (world: World, other: World) => Promise<Bytes | null>]>([
  ["nothing", async () => null],
  ["noise", async () => new Uint8Array(64).fill(9)],
  ["a package of another device", (_, other) => offer(other, other.account.manifest)],
  ["a package whose list does not name the device", (world, other) => offer(world, other.account.manifest)],
])("what is no key package of the lost device says nothing of its list: %s", async (_, give) => {
  const [world, other] = [await World.begin(), await World.begin()];
  const there = relay(world, []);
  there.state.held = null;
  there.state.offers = [await give(world, other)];
  const { come } = await empty(world, there);
  await expect(come()).rejects.toThrow("The relay knows no earlier device of yours.");
});

const flipped = (part: Bytes | undefined): Bytes =>
  (part ?? new Uint8Array()).map((byte, at) => (at === 80 ? byte ^ 1 : byte));
