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
import { verifyManifest } from "../../src/identity/manifest.ts";
import { recoveryKey, recoveryWords } from "../../src/identity/recovery.ts";
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
  let held: Manifest = world.account.manifest;
  const state = { cut: "", taken: [] as Manifest[], series: [SERIES] };
  const answer = async (question: Asked): Promise<unknown> => {
    if (question.frame === state.cut) throw new Error("the page was closed");
    if (question.frame === "PutManifest") {
      held = verifyManifest(question.manifest as Bytes);
      state.taken.push(held);
      return { manifest: held.raw };
    }
    if (question.frame === "ListEngagements") return { engagements: [{ id: ENGAGEMENT, status: "active" }] };
    if (question.frame === "ListArchive") {
      return { series: state.series.map((series) => ({ series, parts: parts.length })) };
    }
    return { parts: parts.slice(question.after as number) };
  };
  return { state, answer, held: () => held };
}

async function empty(world: World, { answer, held }: ReturnType<typeof relay>) {
  const { vault } = await World.begin();
  const device = KeyPair.generate(rng);
  const contact = { device, held: async () => held(), insist: answer, ask: answer } as unknown as Contact;
  const { environment } = world;
  const arrival = { portal: PORTAL, user: ANNA, name: "Anna", vault, environment } as unknown as Arrival;
  const words = recoveryWords(world.account.recoverySeed);
  const come = () => recover(arrival, contact, words, async () => Promise.reject(new Error("no progress")));
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

test.each(["PutManifest", "ListEngagements", "ReadArchive"])(
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
  there.state.cut = "ListEngagements";
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

const flipped = (part: Bytes | undefined): Bytes =>
  (part ?? new Uint8Array()).map((byte, at) => (at === 80 ? byte ^ 1 : byte));
