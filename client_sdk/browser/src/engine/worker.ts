/** The Worker: keys and MLS live here, in that of the tab that leads. */

import type { Me } from "../api.ts";
import { callsPart, SAFE_CALLS } from "../calls/methods.ts";
import { devicesPart, SAFE_DEVICES } from "../devices/methods.ts";
import { browserEnvironment } from "../environment.ts";
import { CoachRelayError, RelayUnreachable, UsageError } from "../errors.ts";
import { filesPart, SAFE_FILES } from "../files/methods.ts";
import { NOT_SIGNED_IN } from "../transport/refusals.ts";
import { checkPowers } from "../vault/powers.ts";
import { vaultName } from "../vault/vault.ts";
import { tokenSubject } from "./account.ts";
import { Engine } from "./engine.ts";
import type { Failure, Happening, ToPage, ToWorker } from "./messages.ts";
import { relayMethods, SAFE_RELAY } from "./methods/relay.ts";
import { roomMethods, SAFE_ROOM } from "./methods/room.ts";
import type { Asked, Said, Tab } from "./tabs.ts";
import { Tabs } from "./tabs.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: ToPage): void;
};

interface Question {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What the leader greets other tabs with. */
interface Greeting {
  readonly me: Me;
  readonly online: boolean;
}

interface Start {
  readonly url: string;
  readonly name: string;
  readonly asks: boolean;
}

type Methods = Readonly<Record<string, (...args: readonly never[]) => Promise<unknown>>>;

const questions = new Map<string, Question>();
let lastQuestion = 0;

const tellPage = (happening: Happening): void => scope.postMessage({ kind: "event", happening });

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
    throw new RelayUnreachable(NOT_SIGNED_IN);
  }
}

/** An error of the program itself tells the page nothing but that it happened. */
const failureOf = (error: unknown): Failure =>
  error instanceof CoachRelayError
    ? { code: error.code, message: error.message }
    : { code: "internal", message: "Something went wrong. Reload the page." };

/** What may be asked a second time, also by a tab that has never led. */
const SAFE: ReadonlySet<string> = new Set([
  ...SAFE_RELAY,
  ...SAFE_ROOM,
  ...SAFE_CALLS,
  ...SAFE_DEVICES,
  ...SAFE_FILES,
]);

/** This tab's part of the device. */
class Desk implements Tab {
  readonly #start: Start;
  readonly #tabs: Tabs;
  #engine: Engine | null = null;
  #methods: Methods = {};
  #begun: ((me: Me) => void) | null = null;
  #refused: (error: unknown) => void = () => undefined;

  constructor(start: Start, name: string) {
    this.#start = start;
    this.#tabs = new Tabs(name, this);
  }

  /** Resolves with whose device it is, as soon as some tab leads. */
  async begin(): Promise<Me> {
    const begun = new Promise<Me>((resolve, reject) => {
      this.#begun = resolve;
      this.#refused = reject;
    });
    if ((await this.#tabs.begin()) === "follows") {
      tellPage({ event: "waiting", engagement: null, detail: null });
    }
    return begun;
  }

  ask(asked: Asked): Promise<void> {
    return this.#tabs.ask(asked);
  }

  end(): void {
    this.#engine?.destroy();
    this.#tabs.end();
  }

  // Tab

  say(said: Said): void {
    scope.postMessage(said);
  }

  tell(happening: Happening): void {
    tellPage(happening);
  }

  async serve({ id, method, args }: Asked): Promise<Said> {
    try {
      const found = this.#methods[method];
      if (found === undefined) throw new UsageError("There is no such method.");
      return { kind: "answer", id, value: await found(...(args as readonly never[])) };
    } catch (error) {
      return { kind: "failure", id, failure: failureOf(error) };
    }
  }

  isSafe(method: string): boolean {
    return SAFE.has(method);
  }

  async lead(): Promise<Greeting> {
    let online = false;
    const tell = (happening: Happening) => {
      if (happening.event === "online" || happening.event === "offline")
        online = happening.event === "online";
      this.#tabs.tell(happening);
    };
    const engine = await Engine.start({ ...this.#start, token, ask, tell, environment: browserEnvironment });
    this.#engine = engine;
    await engine.bringUpToDate();
    const parts = [filesPart(engine), callsPart(engine), devicesPart(engine)];
    engine.listen(parts.map((part) => part.listening));
    const methods: Record<string, unknown> = { ...relayMethods(engine), ...roomMethods(engine) };
    for (const part of parts) Object.assign(methods, part.methods);
    this.#methods = methods as Methods;
    engine.run();
    this.#begun?.(engine.me);
    return {
      get me() {
        return engine.me;
      },
      get online() {
        return online;
      },
    };
  }

  follow(greeting: unknown): void {
    const { me, online } = greeting as Greeting;
    this.#begun?.(me);
    const event = online ? "online" : "offline";
    tellPage({ event, engagement: null, detail: null });
  }

  failed(error: unknown): Failure {
    const failure = failureOf(error);
    this.#refused(error);
    tellPage({ event: "failed", engagement: null, detail: failure });
    return failure;
  }
}

let desk: Desk | null = null;

async function start(options: Start): Promise<Me> {
  if (desk !== null) throw new UsageError("It is started already.");
  checkPowers(globalThis);
  const { portal, user } = tokenSubject(await token());
  const made = new Desk(options, vaultName(portal, user));
  desk = made;
  try {
    return await made.begin();
  } catch (error) {
    made.end();
    desk = null;
    throw error;
  }
}

async function call({ id, method, args }: Asked): Promise<void> {
  try {
    if (method === "start") scope.postMessage({ kind: "answer", id, value: await start(args[0] as Start) });
    else if (method === "destroy") {
      desk?.end();
      scope.postMessage({ kind: "answer", id, value: null });
    } else if (desk === null) throw new UsageError("It is not started yet.");
    else await desk.ask({ id, method, args });
  } catch (error) {
    scope.postMessage({ kind: "failure", id, failure: failureOf(error) });
  }
}

scope.onmessage = ({ data }) => {
  if (data.kind === "call") void call(data);
  else if (data.kind === "reply") questions.get(data.id)?.resolve(data.value);
  else questions.get(data.id)?.reject(new UsageError(data.failure.message));
};
