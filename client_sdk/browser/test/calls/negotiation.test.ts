/** The negotiation of a call: each step in order, and then everything out of order. */

import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { CallMessageInvalid, CallNotPossible } from "../../src/calls/errors.ts";
import type { Message } from "../../src/calls/messages.ts";
import { callIdOf, messageBody, parseMessage } from "../../src/calls/messages.ts";
import { PLACES, TABLE } from "../../src/calls/negotiation.ts";
import type { Event } from "../../src/calls/states.ts";
import {
  begin,
  MAX_CANDIDATES,
  MAX_REPLIES,
  RETURN_MS,
  RING_MS,
  RING_SILENCE_MS,
} from "../../src/calls/states.ts";
import { ready } from "../../src/crypto.ts";
import type { ValueMap } from "../../src/msgpack.ts";
import { pack, unpack } from "../../src/msgpack.ts";
import type { Device } from "./world.ts";
import { BEN, CALL, CLARA, description, nonce, World } from "./world.ts";

beforeAll(ready);

function ringing(...callees: (readonly [string, Uint8Array])[]): World {
  const world = callees.length === 0 ? new World() : new World(callees);
  world.invite();
  world.deliverAll();
  return world;
}

function connected(...callees: (readonly [string, Uint8Array])[]): World {
  const world = ringing(...callees);
  world.happen(world.ben, { type: "accepted" });
  world.settle(2000);
  expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["connected", "connected"]);
  return world;
}

const outcomes = (world: World) => world.devices.map(({ outcome }) => outcome);
const from = (world: World, sender: Device, to: Device, message: Message): void =>
  world.happen(to, {
    type: "received",
    device: sender.id,
    identity: sender.identity,
    message,
    authenticator: world.authenticator,
  });

test("no two rows are for one place", () => expect(TABLE.size).toBe(PLACES));

describe("in order", () => {
  test("a device rings only after the caller has said that it still rings", () => {
    const world = new World();
    world.invite();
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["inviting", "inviting"]);
    expect(world.flying.map(({ kind }) => kind)).toEqual(["call.probe"]);
    world.deliverAll();
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["ringing", "ringing"]);
  });

  test("an accepted call connects with the same words and ends alike", () => {
    const world = connected();
    expect(world.caller.words.get(1)).toBe(world.ben.words.get(1));
    expect(world.caller.words.get(1)?.split(" ")).toHaveLength(5);
    world.now += 63_900;
    world.happen(world.caller, { type: "hungUp" });
    world.settle(1000);
    expect(outcomes(world)).toEqual(["answered", "answered"]);
    expect(world.caller.state.end?.seconds).toBeGreaterThanOrEqual(63);
    expect([world.caller.connection, world.ben.connection]).toEqual([null, null]);
  });

  test.each(["declined", "hungUp"] as const)("who is called says no: %s", (type) => {
    const world = ringing();
    world.happen(world.ben, { type });
    world.settle(1000);
    expect(outcomes(world)).toEqual(["declined", "declined"]);
  });

  test("cancelled, missed, and nobody there", () => {
    const [cancelled, missed, alone] = [ringing(), ringing(), new World([])];
    cancelled.happen(cancelled.caller, { type: "hungUp" });
    cancelled.settle(1000);
    expect(outcomes(cancelled)).toEqual(["cancelled", "cancelled"]);
    missed.settle(RING_MS - 1000);
    expect(missed.ben.state.phase).toBe("ringing");
    missed.settle(2000);
    expect(outcomes(missed)).toEqual(["missed", "missed"]);
    alone.invite();
    alone.settle(RING_MS);
    expect(outcomes(alone)).toEqual(["missed"]);
  });

  test.each(["call.probe", "call.ringing"])("it still rings when each %s was lost for 35 s", (lost) => {
    const world = new World();
    world.invite();
    for (let passed = 0; passed < RING_MS - 10_000; passed += 500) {
      for (let next = world.flying.shift(); next !== undefined; next = world.flying.shift()) {
        if (next.kind !== lost) world.deliver(next);
      }
      world.tick(500);
    }
    expect(world.ben.state.phase).toBe("inviting");
    world.settle(5000);
    expect(world.ben.state.phase).toBe("ringing");
    world.happen(world.ben, { type: "accepted" });
    world.settle(2000);
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["connected", "connected"]);
  });

  test("an old invitation does not ring", () => {
    const world = new World();
    world.invite();
    for (let passed = 0; passed <= RING_MS; passed += 500) {
      world.flying = [];
      expect(world.ben.state.phase).not.toBe("ringing");
      world.tick(500);
    }
    expect(world.ben.outcome).toBe("missed");
  });

  test("a caller that vanishes is not rung for long", () => {
    const world = ringing();
    for (let passed = 0; passed <= RING_SILENCE_MS; passed += 500) {
      world.flying = [];
      world.tick(500);
    }
    expect(world.ben.outcome).toBe("missed");
  });

  test("the first acceptance wins, and the other device is told who took it", () => {
    const world = ringing(["ben", BEN], ["ben2", BEN]);
    const [first, second] = world.callees as [Device, Device];
    world.happen(second, { type: "accepted" });
    world.happen(first, { type: "accepted" });
    world.settle(5000);
    expect([world.caller.state.phase, second.state.phase]).toEqual(["connected", "connected"]);
    expect(first.state.end).toMatchObject({ outcome: "answered", reason: "elsewhere", device: second.id });
  });

  test("a person declines on one device: the others stop", () => {
    const world = ringing(["ben", BEN], ["ben2", BEN]);
    world.happen(world.ben, { type: "declined" });
    world.deliverAll();
    expect(outcomes(world)).toEqual(["declined", "declined", "declined"]);
  });

  test("glare: the lower position wins", () => {
    const [lower, higher, unknown] = [ringing(), ringing(), new World()];
    lower.happen(lower.caller, { type: "peerInvited", seq: 8 });
    higher.happen(higher.caller, { type: "peerInvited", seq: 6 });
    unknown.happen(unknown.caller, { type: "invite" });
    unknown.happen(unknown.caller, { type: "peerInvited", seq: 8 });
    expect([lower, higher, unknown].map(({ caller }) => caller.state.end?.reason)).toEqual([
      undefined,
      "glare",
      "glare",
    ]);
  });

  test.each(["caller", "callee"])("the network of the %s changes: another attempt, other words", (who) => {
    const world = connected();
    world.happen(who === "caller" ? world.caller : world.ben, { type: "networkChanged" });
    expect(world.caller.state.connectedAt).not.toBeNull();
    world.settle(3000);
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["connected", "connected"]);
    expect(world.caller.state.attempt?.number).toBe(2);
    expect(world.caller.words.get(2)).toBe(world.ben.words.get(2));
    expect(world.caller.words.get(2)).not.toBe(world.caller.words.get(1));
  });

  test("a call that was connected outlives a network that is away for a while", () => {
    const world = connected();
    for (let passed = 0; passed < 20_000; passed += 500) {
      world.flying = [];
      world.tick(500);
    }
    world.happen(world.ben, { type: "networkChanged" });
    world.settle(10_000);
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["connected", "connected"]);
  });

  const leaves = (world: World, device: Device, deadline = RETURN_MS): void => {
    const { facts, attempt, peerDevice, peerIdentity, connectedAt } = device.state;
    if (!attempt || !peerDevice || !peerIdentity || connectedAt === null) throw new Error("not connected");
    device.state = begin(facts);
    device.connection = null;
    world.happen(device, {
      type: "interrupted",
      attempt: attempt.number,
      device: peerDevice,
      identity: peerIdentity,
      connectedAt,
      deadline: world.now + deadline,
    });
  };

  describe.each(["caller", "ben"] as const)("the page of %s is opened anew in mid-call", (who) => {
    test.each([0, 4000, RETURN_MS - 8000])(
      "and returns after %i ms, as another attempt of the same call",
      (ms) => {
        const world = connected();
        const other = who === "caller" ? world.ben : world.caller;
        leaves(world, world[who]);
        world.happen(other, { type: "mediaLost", attempt: 1 });
        world.settle(ms);
        expect(other.state.phase).toBe("connecting");
        world.happen(world[who], { type: "returned" });
        world.settle(6000);
        expect(world.devices.map(({ state }) => state.phase)).toEqual(["connected", "connected"]);
        const [one, two] = world.devices.map(({ state }) => state.attempt?.words?.join(" "));
        expect(one).toBe(two);
        expect(one).not.toBe(world.ben.words.get(1));
        world.happen(world[who], { type: "hungUp" });
        world.settle(1000);
        expect(outcomes(world)).toEqual(["answered", "answered"]);
      },
    );

    test("before the other one has noticed", () => {
      const world = connected();
      leaves(world, world[who]);
      world.happen(world[who], { type: "returned" });
      world.settle(6000);
      expect(world.devices.map(({ state }) => state.phase)).toEqual(["connected", "connected"]);
    });

    test("and the other one ends the call, or the person does, or nobody returns", () => {
      const [ended, over, alone] = [connected(), connected(), connected()];
      for (const world of [ended, over, alone]) leaves(world, world[who]);
      const other = who === "caller" ? ended.ben : ended.caller;
      ended.happen(other, { type: "hungUp" });
      ended.settle(1000);
      over.happen(over[who], { type: "hungUp" });
      over.settle(1000);
      alone.settle(RETURN_MS + 1000);
      for (const world of [ended, over, alone]) expect(outcomes(world)).toEqual(["answered", "answered"]);
      expect(ended[who].state.end?.reason).toBe("peer_hung_up");
      expect(alone[who].state.end?.reason).toBe("not_connected");
    });
  });

  test("nothing of a call that nobody has left is returned to", () => {
    const world = new World();
    world.happen(world.caller, { type: "returned" });
    world.happen(world.ben, { type: "returned" });
    expect(world.devices.map(({ state }) => state.phase)).toEqual(["idle", "idle"]);
    world.happen(world.ben, { type: "hungUp" });
    expect(world.flying).toEqual([]);
  });

  test("an offer that goes out again in a later epoch is another attempt", () => {
    const world = ringing();
    world.happen(world.ben, { type: "accepted" });
    world.deliverAll();
    world.doWork(world.caller);
    world.flying = []; // the offer got lost, and somebody committed
    world.epoch = 2;
    world.settle(8000);
    expect([world.caller.state.phase, world.ben.state.phase]).toEqual(["connected", "connected"]);
    expect(world.caller.state.attempt?.number).toBe(2);
  });
});

describe("refused", () => {
  test("a reveal that is not what was committed ends the call, and says so", () => {
    const world = ringing();
    world.happen(world.ben, { type: "accepted" });
    for (const device of [world.caller, world.ben]) {
      world.deliverAll();
      world.doWork(device);
    }
    world.flying = []; // the answer is lost: the true reveal does not come
    from(world, world.caller, world.ben, { kind: "call.reveal", attempt: 1, nonce: nonce("another") });
    expect(world.ben.state.end).toMatchObject({ outcome: "failed", reason: "tampered", tampered: true });
    world.settle(1000);
    expect(world.caller.outcome).toBe("failed");
    expect(world.ben.words.size).toBe(0);
  });

  test("a changed fingerprint gives other words on the two sides", () => {
    const world = ringing();
    world.happen(world.ben, { type: "accepted" });
    world.deliverAll();
    world.doWork(world.caller);
    world.flying = world.flying.map((flying) => {
      if (flying.kind !== "call.offer") return flying;
      const body = unpack(flying.body) as ValueMap;
      return { ...flying, body: pack(new Map([...body, ["sdp", description("in between")]])) };
    });
    world.settle(3000);
    expect(world.caller.words.get(1)).not.toBe(world.ben.words.get(1));
  });

  test("whoever is not called neither rings it nor takes it", () => {
    const world = new World([["clara", CLARA]]);
    world.invite();
    from(world, world.ben, world.caller, { kind: "call.probe" });
    from(world, world.ben, world.caller, { kind: "call.accept", device: world.ben.id, after: 0 });
    expect(world.caller.state.phase).toBe("inviting");
  });

  test("a device that speaks for another, and messages of strangers, change nothing", () => {
    const world = connected(["ben", BEN], ["ben2", BEN]);
    const [ben, other] = world.callees as [Device, Device];
    const before = world.caller.state;
    from(world, other, world.caller, { kind: "call.accept", device: ben.id, after: 1 });
    from(world, other, world.caller, { kind: "call.hangup", reason: "hung_up" });
    from(world, other, world.caller, {
      kind: "call.candidate",
      attempt: 1,
      candidate: "",
      mid: "0",
      index: 0,
    });
    expect(world.caller.state).toEqual(before);
  });

  test.each([
    ["two fingerprints", description("a") + description("b").slice(description("b").indexOf("m="))],
    ["other media", description("a", ["application"])],
    ["more than was invited", description("a", ["audio", "video", "audio"])],
  ])("an offer with %s ends the call", (_, sdp) => {
    const world = ringing();
    world.happen(world.ben, { type: "accepted" });
    const commit = new Uint8Array(32);
    from(world, world.caller, world.ben, { kind: "call.offer", to: world.ben.id, attempt: 1, sdp, commit });
    expect(world.ben.state.end).toMatchObject({ outcome: "failed", reason: "description" });
  });

  test("candidates and answers to what is over are bounded", () => {
    const world = connected();
    let used = 0;
    for (let index = 0; index < 2 * MAX_CANDIDATES; index++) {
      const before = world.ben.state;
      from(world, world.caller, world.ben, {
        kind: "call.candidate",
        attempt: 1,
        candidate: `candidate:${index}`,
        mid: "0",
        index: 0,
      });
      if (world.ben.state !== before) used++;
    }
    expect(used).toBe(MAX_CANDIDATES);
    world.happen(world.caller, { type: "hungUp" });
    world.flying = [];
    for (let asked = 0; asked < 2 * MAX_REPLIES; asked++)
      from(world, world.ben, world.caller, { kind: "call.probe" });
    expect(world.flying).toHaveLength(MAX_REPLIES);
  });

  test("a wish out of place is refused with a sentence", () => {
    const world = new World();
    world.invite();
    world.happen(world.ben, { type: "declined" });
    expect(() => world.happen(world.ben, { type: "accepted" })).toThrow(CallNotPossible);
  });

  test.each([
    ["call.accept", { device: new Uint8Array(15), after: 0 }],
    ["call.accept", { device: new Uint8Array(16), after: -1 }],
    ["call.offer", { to: new Uint8Array(16), attempt: 0, sdp: "", commit: new Uint8Array(32) }],
    ["call.answer", { attempt: 1, sdp: "x".repeat(25_000), nonce: new Uint8Array(32) }],
    ["call.hangup", { reason: "Because" }],
    ["call.hangup", {}],
    ["call.unknown", {}],
  ])("a malformed %s is none", (kind, fields) => {
    const body = unpack(pack({ call: CALL, ...fields })) as ValueMap;
    expect(() => parseMessage(kind, body)).toThrow(CallMessageInvalid);
  });

  test("a message has to say which call it is about", () => {
    expect(() => callIdOf(new Map())).toThrow(CallMessageInvalid);
    const body = messageBody({ kind: "call.hangup", reason: "failed" }, CALL);
    expect(callIdOf(new Map(body) as ValueMap)).toEqual(CALL);
    expect(parseMessage("call.accept", unpack(pack({ device: CALL })) as ValueMap)).toMatchObject({
      after: 0,
    });
  });
});

test("whatever is lost, doubled and reordered: nothing breaks, and both sides agree on the words", () => {
  const wishes: readonly Event["type"][] = ["accepted", "declined", "hungUp", "networkChanged", "mediaLost"];
  const moves = fc.array(fc.tuple(fc.nat(9), fc.nat(30), fc.nat(2)), { maxLength: 80 });
  fc.assert(
    fc.property(moves, (steps) => {
      const world = new World([
        ["ben", BEN],
        ["ben2", BEN],
      ]);
      world.invite();
      for (const [move, which, who] of steps) move_(world, move, which, world.devices[who] as Device, wishes);
      world.settle(120_000);
      for (const device of world.devices)
        for (const [attempt, words] of device.words)
          for (const other of world.devices)
            if (other.words.has(attempt) && other.state.peerDevice !== null)
              expect(other.words.get(attempt)).toBe(words);
      const phases = world.devices.map(({ state }) => state.phase);
      expect(phases.every((phase) => phase === "ended" || phase === "connected")).toBe(true);
    }),
    { numRuns: 150 },
  );
});

function move_(world: World, move: number, which: number, device: Device, wishes: readonly Event["type"][]) {
  const at = world.flying.length === 0 ? 0 : which % world.flying.length;
  const [one] = world.flying.slice(at, at + 1);
  if (move < 3 && one !== undefined) world.flying.splice(at, 1);
  if (move < 2 && one !== undefined) world.deliver(one);
  if (move === 3 && one !== undefined) world.deliver(one);
  if (move === 4) for (const each of world.devices) world.doWork(each);
  if (move === 5) world.media();
  if (move === 6) world.tick(500 * which);
  if (move === 7) world.deliverAll();
  if (move === 8) world.epoch += 1;
  if (move !== 9) return;
  const type = wishes[which % wishes.length];
  try {
    if (type === "mediaLost") world.happen(device, { type, attempt: device.state.attempt?.number ?? 1 });
    else world.happen(device, { type } as Event);
  } catch (error) {
    if (!(error instanceof CallNotPossible)) throw error;
  }
}
