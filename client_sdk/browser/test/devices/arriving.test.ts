import { beforeAll, expect, test } from "vitest";
import { ready } from "../../src/crypto.ts";
import { beLinked } from "../../src/devices/arriving.ts";
import type { Contact } from "../../src/devices/contact.ts";
import type { Arrival } from "../../src/devices/first.ts";
import { ACCOUNT, FIRST_DEVICE, firstAccount, RECOVERY_BEGUN } from "../../src/devices/first.ts";
import { Histories } from "../../src/devices/histories.ts";
import { Line, meaningOf } from "../../src/devices/line.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { historyName, parseStored } from "../../src/engine/history.ts";
import { RelayRefused, RelayUnreachable } from "../../src/errors.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import { pack } from "../../src/msgpack.ts";
import { ANNA, ENGAGEMENT, PORTAL, rng, World } from "./world.ts";

beforeAll(ready);

const arrivalOf = (world: World, slept: number[]): Arrival =>
  ({
    ...{ portal: PORTAL, user: ANNA, name: "Anna", vault: world.vault, asks: false },
    environment: {
      ...world.environment,
      // The words never become too old here; whoever waits otherwise is let go on.
      sleep: (ms: number, signal?: AbortSignal) => {
        slept.push(ms);
        return ms < 60_000
          ? Promise.resolve()
          : new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve()));
      },
    },
  }) as unknown as Arrival;

function contactOf(say: () => Promise<never>): Contact {
  const contact = {
    device: KeyPair.generate(rng),
    untilOnline: async () => undefined,
    openLine: (channel: Uint8Array) => new Line(say as never, channel),
  };
  return contact as unknown as Contact;
}

test.each(["rate_limited", "too_many_devices"])(
  "a refusal of the relay ends the linking: %s",
  async (code) => {
    const world = await World.begin();
    const contact = contactOf(() => Promise.reject(new RelayRefused("no", code)));
    await expect(beLinked(arrivalOf(world, []), contact, "phone", async () => null)).rejects.toMatchObject({
      code: "link_failed",
    });
    expect(await world.vault.get(ACCOUNT)).toBeNull();
  },
);

test("that two devices have met by the words already is said, and who has to begin again", () => {
  const meant = meaningOf(new RelayRefused("no", "too_many_devices")) as Error;
  expect(meant.message).toContain("If one of them is not yours, do not go on with the other.");
  const other = new RelayRefused("no", "internal");
  expect(meaningOf(other)).toBe(other);
});

test("between two attempts it rests", async () => {
  const world = await World.begin();
  const slept: number[] = [];
  let said = 0;
  const contact = contactOf(() => {
    said++;
    const error = said < 4 ? new RelayUnreachable("it broke") : new RelayRefused("no", "rate_limited");
    return Promise.reject(error);
  });
  await expect(beLinked(arrivalOf(world, slept), contact, "phone", async () => null)).rejects.toThrow("Wait");
  expect(slept.filter((ms) => ms === 1000)).toHaveLength(3);
});

test("whoever begins anew after a recovery that was cut off keeps nothing of it", async () => {
  const world = await World.begin();
  await world.vault.write([
    { name: FIRST_DEVICE, value: rng(32) },
    { name: RECOVERY_BEGUN, value: rng(64) },
  ]);
  await firstAccount(arrivalOf(world, []));
  expect([...(await world.vault.scan("first/")).keys()]).toEqual([]);
  expect(await world.vault.get(ACCOUNT)).not.toBeNull();
});

function historiesOf(world: World): Histories {
  const opened = async () => world.conversation;
  const engine = { ...world.engine, opened, fault: () => undefined } as unknown as Engine;
  return new Histories(engine, (channel) => new Line(world.askRelay as never, channel));
}

test.each([
  ["it is no MessagePack", Uint8Array.of(0xc1)],
  ["it is no list", pack("x")],
  ["a field is missing", pack([ENGAGEMENT, "zYxWvUtSrQpOnMlKjIhGfQ", new Uint8Array(32)])],
])("a damaged note of a history says what is missing, and is gone: %s", async (_, value) => {
  const world = await World.begin();
  await world.vault.write([{ name: `fetch/${ENGAGEMENT}`, value }]);
  await historiesOf(world).goOn();
  expect([...(await world.vault.scan("fetch/")).keys()]).toEqual([]);
  const notices = [...(await world.vault.scan(historyName(ENGAGEMENT, ""))).values()].map(parseStored);
  expect(notices.map(({ notice }) => notice?.text)).toEqual([
    "What was said before this device was linked could not be brought over. It is still on the device that let it in.",
  ]);
});

test("after a fault it listens again at the next connection", async () => {
  const world = await World.begin();
  const until = Math.floor(world.environment.nowMs() / 1000) + 60;
  await world.vault.write([{ name: "arrival", value: pack([1, rng(16), "phone", until]) }]);
  const histories = historiesOf(world);
  const faults = [new Error("a fault of the program"), new Error("another one")];
  world.answer = () => {
    throw faults.shift();
  };
  await expect(histories.goOn()).rejects.toThrow("a fault of the program");
  await expect(histories.goOn()).rejects.toThrow("another one");
});
