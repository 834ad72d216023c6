import { beforeAll, describe, expect, test } from "vitest";
import { ready } from "../../src/crypto.ts";
import { begunRecord, writeRecord } from "../../src/devices/archive/keeping.ts";
import {
  heardOfArchives,
  knownOf,
  restoredName,
  restoredValue,
  saying,
} from "../../src/devices/witnessing.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import { MAY_LINK, recoveredManifest } from "../../src/identity/manifest.ts";
import type { ConversationView } from "../../src/identity/membership.ts";
import { recoveryKey } from "../../src/identity/recovery.ts";
import type { Value } from "../../src/msgpack.ts";
import { some } from "../vectors/make.ts";
import { ANNA, ENGAGEMENT, PORTAL, rng, World } from "./world.ts";

beforeAll(ready);

const SERIES = some("series", 16);
const tells = (...archives: Value[]): ReadonlyMap<string, Value> => new Map([["archives", archives]]);
const hears = (world: World, sender: string, extra: ReadonlyMap<string, Value>) =>
  world.conversation.step((work) => heardOfArchives(work, sender, extra));
const view = (...leaves: (readonly [string, string])[]) =>
  ({ leaves: leaves.map(([name, user]) => ({ name, user })) }) as unknown as ConversationView;
const known = (world: World, before: readonly string[] = []) =>
  world.conversation.step((work) => knownOf(work, view(["phone", "ben"], ["own", ANNA]), new Set(before)));

/** A device that came back by recovery. */
async function recovered(): Promise<World> {
  const world = await World.begin();
  const { device, recoverySeed } = world.account;
  const manifest = recoveredManifest({
    ...{ portal: PORTAL, user: ANNA, era: 5n, recovery: recoveryKey(recoverySeed) },
    identityKey: KeyPair.generate(rng).public,
    devices: [{ deviceKey: device.public, flags: MAY_LINK }],
    suites: [3],
  });
  Object.assign(world.account, { manifest });
  return world;
}

describe("what others keep", () => {
  test("what somebody says of their own is told to a device of theirs that joins, the newest alone", async () => {
    const world = await World.begin();
    await hears(world, "ben", tells(["ben", SERIES, 3]));
    await hears(world, "ben", tells(["ben", SERIES, 4]));
    expect(await known(world)).toEqual([["ben", SERIES, 4]]);
    expect(saying(await known(world))).toEqual(tells(["ben", SERIES, 4]));
    expect(await known(world, ["phone"])).toEqual([]); // it was there before
  });

  test("nothing is believed of the archive of a third", async () => {
    const world = await World.begin();
    await hears(world, "mallory", tells(["ben", SERIES, 3]));
    expect(await known(world)).toEqual([]);
  });

  test.each<readonly [string, Value]>([
    ["no list", "ben"],
    ["too short", ["ben", SERIES]],
    ["no series", ["ben", SERIES.slice(1), 3]],
    ["no part", ["ben", SERIES, 0]],
    ["too many parts", ["ben", SERIES, 65_537]],
    ["a number beyond", ["ben", SERIES, 2n ** 60n]],
    ["no user", [null, SERIES, 3]],
    ["a user that is too long", ["b".repeat(65), SERIES, 3]],
  ])("%s is dropped", async (_, value) => {
    const world = await World.begin();
    await hears(world, "ben", tells(value));
    await hears(world, "b".repeat(65), tells(value));
    await hears(world, "ben", new Map([["archives", value]]));
    expect([...(await world.vault.scan("witness/")).keys()]).toEqual([]);
  });

  test("a damaged record of it is as if there were none", async () => {
    const world = await World.begin();
    await world.vault.write([{ name: `witness/${ENGAGEMENT}/ben`, value: Uint8Array.of(0xc1) }]);
    expect(await known(world)).toEqual([]);
    expect(saying([])).toEqual(new Map());
  });
});

describe("a device that came back", () => {
  const restored = (world: World, parts: number) =>
    world.vault.write([{ name: restoredName(ENGAGEMENT, SERIES), value: restoredValue(parts) }]);

  test("is warned once when it was given less", async () => {
    const world = await recovered();
    await restored(world, 2);
    await hears(world, "ben", tells([ANNA, SERIES, 3]));
    await hears(world, "ben", tells([ANNA, SERIES, 4]));
    expect(world.alarms.map(({ code, evidence }) => [code, evidence])).toEqual([
      ["archive_withheld", { restored: 2, known: 3 }],
    ]);
  });

  test("is warned when it was given nothing of a series", async () => {
    const world = await recovered();
    await hears(world, "ben", tells([ANNA, SERIES, 1]));
    expect(world.alarms).toHaveLength(1);
  });

  test("is not warned when it has as much, nor about what it keeps itself", async () => {
    const world = await recovered();
    await restored(world, 3);
    await hears(world, "ben", tells([ANNA, SERIES, 3]));
    const own = begunRecord(rng, 0);
    await world.vault.write([writeRecord(ENGAGEMENT, own)]);
    await hears(world, "ben", tells([ANNA, own.series, 9]));
    expect(world.alarms).toEqual([]);
  });

  test("one that never lost anything has nothing to compare", async () => {
    const world = await World.begin();
    await hears(world, "ben", tells([ANNA, SERIES, 3]));
    expect(world.alarms).toEqual([]);
  });
});
