import { beforeAll, expect, test } from "vitest";
import { ready } from "../../src/crypto.ts";
import { createAccount } from "../../src/engine/account.ts";
import type { Claiming } from "../../src/engine/claiming.ts";
import { Claims } from "../../src/engine/claiming.ts";
import { NEW_STATE } from "../../src/engine/state.ts";
import { nextManifest } from "../../src/identity/manifest.ts";
import { makeKeyPackage, packOffer } from "../../src/mls/keyPackages.ts";
import { parseUserId } from "../../src/wire/ids.ts";
import { ANNA, ENGAGEMENT, PORTAL, rng, World } from "../devices/world.ts";

beforeAll(ready);

const BEN = parseUserId("ben");

/** What is made of the offer of Anna's device, by Ben who never met her, if her list is of this era. */
async function offered(era: bigint): Promise<readonly [number, boolean]> {
  const world = await World.begin();
  const { device, deviceId, identity, manifest } = world.account;
  if (identity === null) throw new Error("no identity key");
  const before = { ...manifest, version: ((era << 32n) + 7n) as unknown as typeof manifest.version };
  const signed = nextManifest(before, identity, {});
  const offer = packOffer([await makeKeyPackage(3, device, signed, 1_800_000_000, false)]);
  const claiming = {
    id: ENGAGEMENT,
    shared: { ...world.shared, account: createAccount(PORTAL, BEN, "Ben", rng) },
    state: NEW_STATE,
    engagement: { participants: [{ user: ANNA }, { user: BEN }] },
    ask: async () => ({ packages: [{ device: deviceId, package: offer, lastResort: false }] }),
    alarm: async () => undefined,
  } as unknown as Claiming;
  const claims = new Claims(world.environment.nowMs, () => undefined);
  const found = await claims.offers([deviceId], claiming);
  return [found.length, claims.isRefused(deviceId)];
}

test.each([0n, 30_000_000n, 2n ** 30n])("somebody is met first by a list of era %s", async (era) => {
  expect(await offered(era)).toEqual([1, false]);
});

test.each([2n ** 31n - 1n, 2n ** 30n + 2n ** 29n])(
  "nobody is met first by a list of era %s, which no recovery could surpass",
  async (era) => {
    expect(await offered(era)).toEqual([0, true]);
  },
);
