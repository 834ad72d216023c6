import { beforeAll, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { ready, sha256 } from "../../src/crypto.ts";
import { Outbox } from "../../src/delivery/outbox.ts";
import type { ConversationEvents } from "../../src/engine/events.ts";
import type { State } from "../../src/engine/state.ts";
import { NEW_STATE } from "../../src/engine/state.ts";
import type { Steps } from "../../src/engine/steps.ts";
import { Stream } from "../../src/engine/stream.ts";
import { Work } from "../../src/engine/work.ts";
import type { Environment } from "../../src/environment.ts";
import type { Link } from "../../src/transport/link.ts";
import type { Entry, RelayFrame } from "../../src/wire/frames.ts";
import { ENGAGEMENT, World } from "../devices/world.ts";

const id = utf8("message".padEnd(16, "."));
const CURSOR = 5;

beforeAll(ready);

/** A member's stream as the relay has opened it, with one message of ours on its way. */
async function opened(): Promise<Stream> {
  const world = await World.begin();
  const shared = { ...world.shared, account: world.account };
  const box = new Outbox()
    .enqueue(id)
    .encrypted(id, 3, sha256(utf8("body")))
    .sent();
  const group = {} as State["group"]; // only whether there is one is asked
  let state: State = { ...NEW_STATE, cursor: CURSOR, lastCommit: 3, group, box };
  const step = async <T>(action: (work: Work) => Promise<T>): Promise<T> => {
    const work = new Work(shared, ENGAGEMENT, state);
    const result = await action(work);
    state = work.state;
    return result;
  };
  const steps = {
    get state() {
      return state;
    },
    locked: <T>(action: () => Promise<T>) => action(),
    ...{ step, work: step, alarming: step },
  } as unknown as Steps;
  const position = {
    incarnation: utf8("incarnation"),
    head: CURSOR,
    lastCommit: 3,
    first: 1,
    cursor: CURSOR,
  };
  const link = {
    ask: async () => ({ ...position, lastCounter: 0, member: true }),
    send: () => undefined,
  } as unknown as Link;
  const events = {} as ConversationEvents;
  const environment = world.environment as unknown as Environment; // as much of one as is used
  const stream = new Stream(ENGAGEMENT, shared, steps, environment, events, () => undefined);
  await stream.open(link, null);
  return stream;
}

const isOver = () => false;

test("a refusal from before this device was let in again does not count once it is handed entries", async () => {
  const stream = await opened();
  const refused = { frame: "Refused", stream: ENGAGEMENT, counter: 1, code: "not_member", lastCommit: 4 };
  await stream.received(refused as RelayFrame, isOver);
  expect(stream.situation.stopped).toBe("not_member");
  const passed = { seq: CURSOR } as Entry; // it is known already
  await stream.received({ frame: "Entries", stream: ENGAGEMENT, entries: [passed] } as RelayFrame, isOver);
  expect(stream.situation.stopped).toBe("");
  expect(stream.situation.state.box.items.map(({ state }) => state)).toEqual(["queued"]);
});
