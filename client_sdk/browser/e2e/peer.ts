/**
 * The browser's engine without a browser: JSON requests, one a line on stdin, their answers on stdout in any order.
 * Its IndexedDB is one in memory, its clock and its network are the test's.
 */

import "fake-indexeddb/auto";
import { createInterface } from "node:readline";
import { ALARM_CODES, sentenceAbout } from "../src/alarms.ts";
import { ready } from "../src/crypto.ts";
import { createAccount, serializeAccount, tokenSubject } from "../src/engine/account.ts";
import { Engine } from "../src/engine/engine.ts";
import { relayMethods } from "../src/engine/methods/relay.ts";
import { roomMethods } from "../src/engine/methods/room.ts";
import { PROTECTION, REASONS } from "../src/engine/waiting.ts";
import { browserEnvironment } from "../src/environment.ts";
import { CoachRelayError } from "../src/errors.ts";
import { firstManifest } from "../src/identity/manifest.ts";
import { SUITE_3 } from "../src/mls/suites.ts";
import { pack, unpack } from "../src/msgpack.ts";
import { Vault } from "../src/vault/vault.ts";

interface Peer {
  readonly engine: Engine;
  readonly methods: Readonly<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>;
  readonly happened: unknown[];
  readonly sockets: Set<{ close(): void }>;
  offline: boolean;
}

const peers = new Map<string, Peer>();
const tokens = new Map<number, (token: string) => void>();
let shiftMs = 0;
let asked = 0;

const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function token(name: string): Promise<string> {
  const id = ++asked;
  say({ token: name, id });
  return new Promise((resolve) => tokens.set(id, resolve));
}

/** A user of an earlier version: their first device list names suite 3 alone. */
async function older(token: string, name: string): Promise<void> {
  await ready();
  const { portal, user } = tokenSubject(token);
  const vault = await Vault.open(portal, user);
  if ((await vault.get("account")) === null) {
    const made = createAccount(portal, user, name, browserEnvironment.rng);
    const { manifest, identity } = made;
    if (identity === null) throw new Error("a first device has the identity key");
    const { recoveryKey, devices } = manifest;
    const list = firstManifest({ portal, user, identity, recoveryKey, devices, suites: [SUITE_3] });
    await vault.write([{ name: "account", value: serializeAccount({ ...made, manifest: list }) }]);
  }
  vault.close();
}

const commands: Readonly<Record<string, (request: Record<string, never>) => Promise<unknown>>> = {
  async open({ name, url, called, old }) {
    const fetchToken = () => token(name);
    if (old) await older(await fetchToken(), called);
    const happened: unknown[] = [];
    const sockets = new Set<{ close(): void }>();
    const environment = {
      ...browserEnvironment,
      nowMs: () => Date.now() + shiftMs,
      async dial(address: string, signal: AbortSignal) {
        if (peers.get(name)?.offline) throw new Error("there is no network");
        const socket = await browserEnvironment.dial(address, signal);
        sockets.add(socket);
        return socket;
      },
    };
    const engine = await Engine.start({
      ...{ url, name: called, asks: false, environment },
      token: fetchToken,
      ask: async () => null,
      tell: (happening) => void happened.push(happening),
    });
    if (!old) await engine.bringUpToDate();
    const methods = { ...relayMethods(engine), ...roomMethods(engine) } as unknown as Peer["methods"];
    peers.set(name, { engine, methods, happened, sockets, offline: false });
    engine.run();
    return engine.me;
  },
  async call({ name, method, args }) {
    const found = peers.get(name)?.methods[method];
    if (found === undefined) throw new Error("there is no such method");
    return found(...(args as readonly unknown[]));
  },
  happened: async ({ name }) => peers.get(name)?.happened.splice(0) ?? [],
  async offline({ name, offline }) {
    const peer = peers.get(name);
    if (peer === undefined) return;
    peer.offline = offline;
    if (offline) for (const socket of peer.sockets) socket.close();
    peer.sockets.clear();
  },
  async close({ name }) {
    peers.get(name)?.engine.destroy();
    peers.delete(name);
  },
  /** This person's page is gone, instead of its so-many-th write from now: what it had stored is what is left. */
  async crash({ name, after }) {
    const peer = peers.get(name);
    if (peer === undefined) return;
    const { vault } = peer.engine;
    const write = vault.write.bind(vault);
    let left = Number(after);
    vault.write = async (writes) => {
      if (left-- > 0) return write(writes);
      peer.engine.destroy();
      if (peers.get(name) === peer) peers.delete(name);
      throw new Error("the page is gone");
    };
  },
  alive: async ({ name }) => peers.has(name),
  /** Damage what is stored of a conversation's group, as a disk might. */
  async damage({ token_of: user, engagement }) {
    const subject = tokenSubject(await token(user));
    const vault = await Vault.open(subject.portal, subject.user);
    const stored = await vault.get(`state/${engagement}`);
    const values = stored && unpack(stored);
    if (!Array.isArray(values)) throw new Error("there is nothing to damage");
    values[4] = Uint8Array.of(1, 2, 3);
    await vault.write([{ name: `state/${engagement}`, value: pack(values) }]);
    vault.close();
  },
  /** Forget the keys by which this person's device can be let in, as a disk might. */
  async forget_keys({ token_of: user }) {
    const subject = tokenSubject(await token(user));
    const vault = await Vault.open(subject.portal, subject.user);
    const names = [...(await vault.scan("kp/")).keys()];
    if (names.length === 0) throw new Error("there is nothing to forget");
    await vault.write(names.map((name) => ({ name, value: null })));
    vault.close();
  },
  /** What people are told: of each alarm, with this name in it, and of what keeps a message waiting. */
  sentences: async ({ who }) => ({
    alarms: Object.fromEntries(ALARM_CODES.map((code) => [code, sentenceAbout(code, who)])),
    reasons: Object.values(REASONS),
    protection: Object.values(PROTECTION),
  }),
  // Everybody here lives so much later.
  async shift({ ms }) {
    shiftMs += Number(ms);
  },
};

async function answer(line: string): Promise<void> {
  const { id, command, token: given, ...request } = JSON.parse(line);
  if (given !== undefined) {
    tokens.get(id)?.(given);
    tokens.delete(id);
    return;
  }
  try {
    say({ id, value: (await commands[command]?.(request)) ?? null });
  } catch (error) {
    const code = error instanceof CoachRelayError ? error.code : "internal";
    say({ id, error: code, detail: String((error as Error).stack) });
  }
}

for await (const line of createInterface({ input: process.stdin })) void answer(line);
process.exit(0);
