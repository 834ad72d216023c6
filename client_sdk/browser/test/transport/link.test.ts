import { beforeAll, describe, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";
import type { Environment, Socket } from "../../src/environment.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import { relayAddress } from "../../src/transport/address.ts";
import { Link } from "../../src/transport/link.ts";
import { decodeFromDevice, encode } from "../../src/wire/codec.ts";
import type { RelayFrame } from "../../src/wire/frames.ts";
import { deviceId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";

beforeAll(ready);

const LIFE_SECONDS = 100_000;

/** A relay that greets, and an environment whose time passes when it is told to. */
class Stage {
  readonly device = new KeyPair(new Uint8Array(32).fill(7));
  readonly told: string[] = [];
  readonly #timers: { readonly at: number; readonly wake: () => void }[] = [];
  closed = 0;
  dials = 0;
  socket: Socket | null = null;
  now = 0;
  /** How far this machine's clock is from the relay's. */
  wrongMs = 0;
  renewals = 0;
  /** Signs of life that were asked for. */
  probes = 0;
  /** The network drops what goes to the relay, and says nothing. */
  drops = false;
  unsent = 0;

  readonly environment: Environment = {
    nowMs: () => this.now + this.wrongMs,
    fraction: () => 0.5,
    rng: (length) => new Uint8Array(length),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        this.#timers.push({ at: this.now + ms, wake: resolve });
        if (signal?.aborted) resolve();
        signal?.addEventListener("abort", () => resolve());
      }),
    dial: async (_url, signal) => {
      this.dials += 1;
      signal.addEventListener("abort", () => this.socket?.onClose());
      const unsent = () => this.unsent;
      this.socket = {
        onMessage: () => undefined,
        onClose: () => undefined,
        get unsent() {
          return unsent();
        },
        send: (message) => this.#answer(message),
        close: () => {
          this.closed += 1;
        },
      };
      return this.socket;
    },
  };

  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const { at, wake } of this.#timers.splice(0))
      at <= this.now ? wake() : this.#timers.push({ at, wake });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  say(frame: RelayFrame): void {
    this.socket?.onMessage(encode([frame]));
  }

  #answer(message: Bytes): void {
    const [frame] = decodeFromDevice(message);
    if (frame?.frame === "PutManifest") this.probes += 1;
    if (this.drops) return;
    if (frame?.frame === "PutManifest")
      this.say({ frame: "HeldManifest", request: frame.request, manifest: null });
    if (frame?.frame === "Hello")
      this.say({ frame: "Challenge", version: 1, relayNonce: new Uint8Array(32) });
    if (frame?.frame === "Authenticate") this.say(this.ready);
    if (frame?.frame === "Renew") {
      this.renewals += 1;
      const { request } = frame;
      this.say({ frame: "Renewed", request, tokenExpires: Math.floor(this.now / 1000) + LIFE_SECONDS });
    }
  }

  get ready(): RelayFrame {
    return {
      frame: "Ready",
      device: deviceId(this.device.public),
      portal: parsePortalId("growth"),
      user: parseUserId("anna"),
      tokenExpires: LIFE_SECONDS,
      keyPackagesLeft: 0,
      windowEntries: 1,
      windowBytes: 1,
      time: 0,
    };
  }

  link(): Link {
    const options = {
      address: relayAddress("https://relay.example"),
      portal: parsePortalId("growth"),
      device: this.device,
      token: async () => "token",
      environment: this.environment,
    };
    return new Link(options, {
      connected: async () => void this.told.push("connected"),
      received: async ({ frame }) => void this.told.push(frame),
      disconnected: async (error) => void this.told.push(`disconnected ${error?.code ?? ""}`),
    });
  }
}

test("a connection lives longer than its greeting may take, and breaks when the relay says so", async () => {
  const stage = new Stage();
  const link = stage.link();
  const running = link.run();
  await stage.pass(0);
  expect(stage.told).toEqual(["connected"]);
  await stage.pass(11_000);
  expect(link.online).toBe(true);
  stage.say({ frame: "KeyPackagesLow", left: 1 });
  await stage.pass(0);
  stage.say({ frame: "Goodbye", code: "draining", detail: "", reconnectAfterMs: 500 });
  await stage.pass(0);
  expect(stage.told).toEqual(["connected", "KeyPackagesLow", "disconnected draining"]);
  await stage.pass(500);
  expect(stage.dials).toBe(2);
  expect(stage.told.at(-1)).toBe("connected");
  link.close();
  await stage.pass(0);
  await running;
});

test.each([-7_200_000_000, 0, 7_200_000_000])(
  "a clock that is wrong by %s ms has a token renewed no more and no less",
  async (wrongMs) => {
    const stage = new Stage();
    stage.wrongMs = wrongMs;
    const link = stage.link();
    const running = link.run();
    await stage.pass(0);
    for (let times = 0; times < 3; times++) {
      await stage.pass(LIFE_SECONDS * 900);
      for (let seconds = 0; seconds < 30; seconds += 10) await stage.pass(10_000);
    }
    expect(stage.renewals).toBe(3);
    link.close();
    await stage.pass(0);
    await running;
  },
);

test("who is not let in is told why", async () => {
  const stage = new Stage();
  const link = stage.link();
  const running = link.run();
  await stage.pass(0);
  stage.say({ frame: "Goodbye", code: "device_revoked", detail: "", reconnectAfterMs: 0 });
  await stage.pass(0);
  expect(stage.told.at(-1)).toBe("disconnected access_refused");
  link.close();
  await stage.pass(0);
  await running;
});

describe("a connection that the network dropped", () => {
  const [SILENT_MS, ANSWER_MS, MOVED_MS] = [20_000, 20_000, 5000];

  /** One look after the other, as timers go. */
  const passes = async (stage: Stage, ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 5000) await stage.pass(Math.min(5000, ms - at));
  };

  async function connected(): Promise<{ stage: Stage; link: Link; end: () => Promise<void> }> {
    const stage = new Stage();
    const link = stage.link();
    const running = link.run();
    await stage.pass(0);
    expect(stage.told.splice(0)).toEqual(["connected"]);
    const end = async () => {
      link.close();
      await stage.pass(0);
      await running;
    };
    return { stage, link, end };
  }

  test("is noticed by its silence, and made anew", async () => {
    const { stage, end } = await connected();
    await passes(stage, SILENT_MS);
    expect(stage.probes).toBe(1);
    stage.drops = true;
    await passes(stage, SILENT_MS + 5000);
    expect(stage.probes).toBe(2);
    expect(stage.told).toEqual([]);
    await passes(stage, ANSWER_MS);
    expect(stage.told).toEqual(["disconnected relay_unreachable"]);
    stage.drops = false;
    await passes(stage, 20_000);
    expect(stage.told.at(-1)).toBe("connected");
    await end();
  });

  test("is not looked for while the relay says something", async () => {
    const { stage, end } = await connected();
    for (let times = 0; times < 10; times++) {
      await passes(stage, SILENT_MS - 5000);
      stage.say({ frame: "KeyPackagesLow", left: 1 });
      await stage.pass(4999);
    }
    expect(stage.probes).toBe(0);
    await end();
  });

  test("is not one over which something still goes out", async () => {
    const { stage, end } = await connected();
    Object.assign(stage, { drops: true, unsent: 2_000_000 });
    await passes(stage, SILENT_MS);
    stage.unsent = 1_000_000;
    await passes(stage, ANSWER_MS);
    expect([stage.probes, stage.told]).toEqual([2, []]);
    await passes(stage, ANSWER_MS);
    expect(stage.told).toEqual(["disconnected relay_unreachable"]);
    await end();
  });

  test("is none that refuses", async () => {
    const { stage, end } = await connected();
    stage.drops = true;
    await passes(stage, SILENT_MS);
    stage.say({ frame: "Error", request: 1, code: "rate_limited", detail: "" });
    await passes(stage, ANSWER_MS);
    expect([stage.probes, stage.told]).toEqual([1, []]);
    await end();
  });

  test("is noticed at once when this machine comes to another network", async () => {
    const { stage, link, end } = await connected();
    link.check();
    await stage.pass(MOVED_MS);
    expect([stage.probes, stage.told]).toEqual([1, []]);
    stage.drops = true;
    link.check();
    await stage.pass(MOVED_MS);
    expect(stage.told).toEqual(["disconnected relay_unreachable"]);
    await end();
  });

  test("is noticed also when something of before came in meanwhile", async () => {
    const { stage, link, end } = await connected();
    stage.drops = true;
    link.check();
    stage.say({ frame: "KeyPackagesLow", left: 1 });
    await stage.pass(MOVED_MS);
    expect(stage.told).toEqual(["KeyPackagesLow"]);
    await stage.pass(MOVED_MS);
    expect(stage.told.at(-1)).toBe("disconnected relay_unreachable");
    await end();
  });

  test("is made anew as soon as there is a network, however long it was away; a relay's own word counts more", async () => {
    const { stage, link, end } = await connected();
    stage.drops = true;
    const attempts = () => stage.told.filter((one) => one === "disconnected relay_unreachable").length;
    for (let times = 0; times < 100 && attempts() < 10; times++) await stage.pass(30_000);
    stage.drops = false;
    expect(attempts()).toBe(10); // it waits for the next one now
    link.check();
    await stage.pass(0);
    expect(stage.told.at(-1)).toBe("connected");
    stage.say({ frame: "Goodbye", code: "draining", detail: "", reconnectAfterMs: 500 });
    await stage.pass(0);
    link.check();
    await stage.pass(499);
    expect(stage.told.at(-1)).toBe("disconnected draining");
    await stage.pass(1);
    expect(stage.told.at(-1)).toBe("connected");
    await end();
  });
});
