/** The Worker: keys and MLS live here. */

import { callsPart } from "../calls/methods.ts";
import { devicesPart } from "../devices/methods.ts";
import { browserEnvironment } from "../environment.ts";
import { CoachRelayError, RelayUnreachable, UsageError } from "../errors.ts";
import { filesPart } from "../files/methods.ts";
import { vaultName } from "../vault/vault.ts";
import { tokenSubject } from "./account.ts";
import { Engine } from "./engine.ts";
import type { Failure, Happening, Implementation, ToPage, ToWorker } from "./messages.ts";
import type { StartCalls } from "./methods/relay.ts";
import { relayMethods } from "./methods/relay.ts";
import { roomMethods } from "./methods/room.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: ToPage): void;
};

interface Asked {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const questions = new Map<string, Asked>();
let lastQuestion = 0;
let engine: Engine | null = null;
let methods: Readonly<Record<string, (...args: readonly never[]) => Promise<unknown>>> = {};
let release: () => void = () => undefined;

const tell = (happening: Happening): void => scope.postMessage({ kind: "event", happening });

/** Ask the page; raises what it answered instead. */
function ask(name: string, ...args: readonly unknown[]): Promise<unknown> {
  const id = String(++lastQuestion);
  return new Promise((resolve, reject) => {
    questions.set(id, { resolve, reject });
    scope.postMessage({ kind: "question", id, name, args });
  }).finally(() => questions.delete(id));
}

async function token(): Promise<string> {
  try {
    return String(await ask("token"));
  } catch {
    throw new RelayUnreachable("The portal gave no access token.");
  }
}

/** One tab at a time has the device; the others wait until it is closed. */
async function own(name: string): Promise<void> {
  const held = (resolve: (free: boolean) => void) => (lock: Lock | null) => {
    resolve(lock !== null);
    if (lock === null) return undefined;
    return new Promise<void>((end) => {
      release = end;
    });
  };
  const free = await new Promise<boolean>((resolve, reject) => {
    navigator.locks.request(name, { ifAvailable: true }, held(resolve)).catch(reject);
  });
  if (free) return;
  tell({ event: "waiting", engagement: null, detail: null });
  await new Promise<boolean>((resolve, reject) => {
    navigator.locks.request(name, held(resolve)).catch(reject);
  });
}

const startMethods: Implementation<StartCalls> = {
  async start({ url, name, asks }) {
    if (engine !== null) throw new UsageError("It is started already.");
    const { portal, user } = tokenSubject(await token());
    await own(vaultName(portal, user));
    engine = await Engine.start({ url, name, asks, token, ask, tell, environment: browserEnvironment });
    const parts = [filesPart(engine), callsPart(engine), devicesPart(engine)];
    engine.listen(parts.map((part) => part.listening));
    for (const part of parts) methods = { ...methods, ...part.methods };
    methods = { ...methods, ...relayMethods(engine), ...roomMethods(engine) };
    engine.run();
    return engine.me;
  },
  async destroy() {
    engine?.destroy();
    release();
    return null;
  },
};
methods = { ...startMethods };

async function call(id: string, method: string, args: readonly unknown[]): Promise<void> {
  try {
    const found = methods[method];
    if (found === undefined) throw new UsageError("It is not started yet.");
    scope.postMessage({ kind: "answer", id, value: await found(...(args as readonly never[])) });
  } catch (error) {
    scope.postMessage({ kind: "failure", id, failure: failureOf(error) });
  }
}

/** An error of the program itself tells the page nothing but that it happened. */
const failureOf = (error: unknown): Failure =>
  error instanceof CoachRelayError
    ? { code: error.code, message: error.message }
    : { code: "internal", message: "Something went wrong. Reload the page." };

scope.onmessage = ({ data }) => {
  if (data.kind === "call") void call(data.id, data.method, data.args);
  else if (data.kind === "reply") questions.get(data.id)?.resolve(data.value);
  else questions.get(data.id)?.reject(new UsageError(data.failure.message));
};
