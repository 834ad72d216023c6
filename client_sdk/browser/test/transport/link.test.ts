import { beforeAll, expect, test } from "vitest";
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

/** A relay that greets, and an environment whose time passes when it is told to. */
class Stage {
  readonly device = new KeyPair(new Uint8Array(32).fill(7));
  readonly told: string[] = [];
  readonly #timers: { readonly at: number; readonly wake: () => void }[] = [];
  closed = 0;
  dials = 0;
  socket: Socket | null = null;
  now = 0;

  readonly environment: Environment = {
    nowMs: () => this.now,
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
      this.socket = {
        onMessage: () => undefined,
        onClose: () => undefined,
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
    if (frame?.frame === "Hello")
      this.say({ frame: "Challenge", version: 1, relayNonce: new Uint8Array(32) });
    if (frame?.frame === "Authenticate") this.say(this.ready);
  }

  get ready(): RelayFrame {
    return {
      frame: "Ready",
      device: deviceId(this.device.public),
      portal: parsePortalId("growth"),
      user: parseUserId("anna"),
      tokenExpires: 100_000,
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
