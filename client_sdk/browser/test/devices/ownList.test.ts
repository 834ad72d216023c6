import { beforeAll, expect, test } from "vitest";
import { ready } from "../../src/crypto.ts";
import { OwnList } from "../../src/devices/ownList.ts";
import type { Account } from "../../src/engine/account.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { RelayRefused, RelayUnreachable } from "../../src/errors.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import type { Manifest } from "../../src/identity/manifest.ts";
import { lists, MAY_LINK, nextManifest } from "../../src/identity/manifest.ts";
import { deviceId, deviceName } from "../../src/wire/ids.ts";
import type { Asked } from "./world.ts";
import { rng, World } from "./world.ts";

beforeAll(ready);

const PHONE = KeyPair.generate(() => new Uint8Array(32).fill(9));
const PHONES_ID = () => deviceName(deviceId(PHONE.public));

/** A device whose person has a second one, and its list. */
async function two(): Promise<{ world: World; own: OwnList; before: Manifest; now: () => Manifest }> {
  const world = await World.begin();
  const { identity, manifest } = world.account;
  if (identity === null) throw new Error("a first device has the identity key");
  const devices = [...manifest.devices, { deviceKey: PHONE.public, flags: 0 }];
  let account: Account = { ...world.account, manifest: nextManifest(manifest, identity, { devices }) };
  const before = account.manifest;
  const engine = Object.defineProperty({ ...world.engine }, "account", { get: () => account });
  const useAccount = async (next: Account) => {
    account = next;
  };
  const own = new OwnList(Object.assign(engine, { useAccount }) as unknown as Engine);
  return { world, own, before, now: () => account.manifest };
}

const intended = (world: World) => world.vault.get("own-list/intended");

test("a device is removed when the relay has taken the list", async () => {
  const { world, own, now } = await two();
  world.answer = ({ manifest }: Asked) => ({ manifest });
  await own.remove(PHONES_ID());
  expect(lists(now(), PHONE.public)).toBe(false);
  expect(await intended(world)).toBeNull();
});

test.each<readonly [string, (before: Manifest) => unknown]>([
  ["keeps the list before", (before) => ({ manifest: before.raw })],
  ["says that it holds none", () => ({ manifest: null })],
  ["holds what nobody signed", () => ({ manifest: Uint8Array.of(1, 2, 3) })],
])("a relay that %s keeps nobody in: the conversations go by the new list", async (_, answer) => {
  const { world, own, before, now } = await two();
  world.answer = () => answer(before);
  await own.remove(PHONES_ID());
  expect(lists(now(), PHONE.public)).toBe(false);
  expect(await intended(world)).toBeNull();
});

test("nor does one that refuses to answer", async () => {
  const { world, own, now } = await two();
  world.answer = () => {
    throw new RelayRefused("The relay refused (internal).", "internal");
  };
  await own.remove(PHONES_ID());
  expect(lists(now(), PHONE.public)).toBe(false);
});

test("cut off, it is finished at the next connection", async () => {
  const { world, own, now } = await two();
  world.answer = () => {
    throw new RelayUnreachable("There is no connection to the relay.");
  };
  await expect(own.remove(PHONES_ID())).rejects.toMatchObject({ code: "relay_unreachable" });
  expect(lists(now(), PHONE.public)).toBe(true);
  world.answer = ({ manifest }: Asked) => ({ manifest });
  await own.goOn();
  expect(lists(now(), PHONE.public)).toBe(false);
  expect(await intended(world)).toBeNull();
});

test("cut off, it is finished also by a relay that does not take it then", async () => {
  const { world, own, before, now } = await two();
  world.answer = () => {
    throw new RelayUnreachable("There is no connection to the relay.");
  };
  await expect(own.remove(PHONES_ID())).rejects.toMatchObject({ code: "relay_unreachable" });
  world.answer = () => ({ manifest: before.raw });
  await own.goOn();
  expect(lists(now(), PHONE.public)).toBe(false);
});

test("a list that another device of this person signed meanwhile stands, and nothing is removed", async () => {
  const { world, own, before, now } = await two();
  const { identity } = world.account;
  if (identity === null) throw new Error("a first device has the identity key");
  const tablet = { deviceKey: KeyPair.generate(rng).public, flags: MAY_LINK };
  const other = nextManifest(before, identity, { devices: [...before.devices, tablet] });
  world.answer = () => ({ manifest: other.raw });
  await expect(own.remove(PHONES_ID())).rejects.toMatchObject({ code: "devices_changed" });
  expect(now()).toBe(before);
});

test("a device is added only if the relay takes the list", async () => {
  const { world, own, before, now } = await two();
  world.answer = () => ({ manifest: before.raw });
  const tablet = KeyPair.generate(rng).public;
  await expect(own.add(tablet, "tablet", false)).rejects.toMatchObject({ code: "refused" });
  expect(now()).toBe(before);
});
