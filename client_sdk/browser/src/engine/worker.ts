/** The Worker: keys and MLS live here. */

import { unhex } from "../bytes.ts";
import { text } from "../content/messages.ts";
import { browserEnvironment } from "../environment.ts";
import { CoachRelayError, RelayUnreachable, UsageError } from "../errors.ts";
import { vaultName } from "../vault/vault.ts";
import { tokenSubject } from "./account.ts";
import { alarmText } from "./conversation.ts";
import { Engine } from "./engine.ts";
import type { Calls, Failure, Happening, Method, ToPage, ToWorker } from "./messages.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: ToPage): void;
};

const tokens = new Map<number, (token: string | null) => void>();
let lastToken = 0;
let engine: Engine | null = null;
let release: () => void = () => undefined;

const tell = (happening: Happening): void => scope.postMessage({ kind: "event", happening });

async function token(): Promise<string> {
  const id = ++lastToken;
  const found = await new Promise<string | null>((resolve) => {
    tokens.set(id, resolve);
    scope.postMessage({ kind: "token", id });
  });
  tokens.delete(id);
  if (found === null) throw new RelayUnreachable("The portal gave no access token.");
  return found;
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
  tell({ event: "waiting" });
  await new Promise<boolean>((resolve, reject) => {
    navigator.locks.request(name, held(resolve)).catch(reject);
  });
}

const failureOf = ({ code, message }: CoachRelayError): Failure => ({ code, message });

const methods: { [M in Method]: (...args: Parameters<Calls[M]>) => Promise<ReturnType<Calls[M]>> } = {
  async start({ url, name }) {
    if (engine !== null) throw new UsageError("It is started already.");
    const { portal, user } = tokenSubject(await token());
    await own(vaultName(portal, user));
    engine = await Engine.start(
      { url, name, token, environment: browserEnvironment },
      {
        online: (online, failure) => tell(online ? { event: "online" } : { event: "offline", failure }),
        message: (message) => tell({ event: "message", engagement: message.engagement, message }),
        changed: (engagement) => tell({ event: "changed", engagement }),
        alarm: (engagement, failure) => tell({ event: "alarm", engagement, failure }),
        failed: (error) => tell({ event: "failed", failure: failureOf(error) }),
      },
    );
    return engine.me;
  },
  engagements: async () => started().engagements,
  open: async (id) => ({ member: (await started().conversation(id)).member }),
  people: async (id) => (await started().conversation(id)).people,
  history: async (id, limit, before) =>
    (await started().conversation(id)).history(limit, before ?? undefined),
  send: async (id, said, replyTo) =>
    (await started().conversation(id)).say(text(said, replyTo === null ? null : unhex(replyTo))),
  safetyNumber: async (id, user) => (await started().conversation(id)).safetyNumber(user),
  async verify(id, user, number) {
    await (await started().conversation(id)).verify(user, number);
    return null;
  },
  async alarm(id) {
    const { alarm } = await started().conversation(id);
    return alarm && { code: alarm.code, message: alarmText(alarm) };
  },
  async goOn(id) {
    const conversation = await started().conversation(id);
    await conversation.goOn();
    await conversation.flush();
    return null;
  },
  async destroy() {
    engine?.destroy();
    release();
    return null;
  },
};

function started(): Engine {
  if (engine === null) throw new UsageError("It is not started yet.");
  return engine;
}

async function call(id: number, method: Method, args: readonly unknown[]): Promise<void> {
  try {
    const value = await (methods[method] as (...given: readonly unknown[]) => Promise<unknown>)(...args);
    scope.postMessage({ kind: "answer", id, value });
  } catch (error) {
    // An error of the program itself tells the page nothing but that it happened.
    const known = error instanceof CoachRelayError;
    const failure = known
      ? failureOf(error)
      : { code: "internal", message: "Something went wrong. Reload the page." };
    scope.postMessage({ kind: "failure", id, failure });
  }
}

scope.onmessage = ({ data }) => {
  if (data.kind === "token") tokens.get(data.id)?.(data.token);
  else void call(data.id, data.method, data.args);
};
