/** A world for negotiations without I/O: devices, a network, connections, a clock that is moved by hand. */

import type { Bytes } from "../../src/bytes.ts";
import { utf8 } from "../../src/bytes.ts";
import type { Message } from "../../src/calls/messages.ts";
import { messageBody, parseMessage } from "../../src/calls/messages.ts";
import { step } from "../../src/calls/negotiation.ts";
import type { Action, CallFacts, Event, Negotiation } from "../../src/calls/states.ts";
import { begin, wakeAt } from "../../src/calls/states.ts";
import { sha256 } from "../../src/crypto.ts";
import type { ValueMap } from "../../src/msgpack.ts";
import { pack, unpack } from "../../src/msgpack.ts";

export const CALL = new Uint8Array(16).fill(0x63);
export const ANNA = new Uint8Array(32).fill(0xaa);
export const BEN = new Uint8Array(32).fill(0xbb);
export const CLARA = new Uint8Array(32).fill(0xcc);

/** A small session description whose fingerprint is that of `name`. */
export function description(name: string, kinds: readonly string[] = ["audio", "video"]): string {
  const print = [...sha256(utf8(name))].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase());
  const lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"];
  for (const kind of kinds) {
    lines.push(`m=${kind} 9 UDP/TLS/RTP/SAVPF 96`, `a=fingerprint:sha-256 ${print.join(":")}`);
  }
  return `${lines.join("\r\n")}\r\n`;
}

export const nonce = (name: string): Bytes => sha256(utf8(`nonce ${name}`));

export class Device {
  readonly name: string;
  readonly identity: Bytes;
  state: Negotiation;
  /** What the negotiation asked of the connection and is not done yet. */
  work: Action[] = [];
  /** The attempt whose connection is open, whether it has both descriptions, and whether it came up. */
  connection: number | null = null;
  ready = false;
  up = false;
  readonly words = new Map<number, string>();

  constructor(name: string, identity: Bytes, facts: Omit<CallFacts, "ownDevice" | "ownIdentity">) {
    this.name = name;
    this.identity = identity;
    this.state = begin({ ...facts, ownDevice: this.id, ownIdentity: identity });
  }

  get id(): Bytes {
    return utf8(this.name.padEnd(16, "."));
  }

  get outcome(): string | null {
    return this.state.end?.outcome ?? null;
  }
}

/** A message on its way to one device. */
export interface Flying {
  readonly from: Device;
  readonly to: Device;
  readonly kind: Message["kind"];
  readonly body: Bytes;
  readonly authenticator: Bytes;
}

export class World {
  now = 1_000_000;
  epoch = 1;
  flying: Flying[] = [];
  readonly caller: Device;
  readonly callees: readonly Device[];

  constructor(callees: readonly (readonly [string, Bytes])[] = [["ben", BEN]], peer: Bytes | null = BEN) {
    const facts = { call: CALL, groupId: utf8("group"), kinds: ["audio", "video"] as const };
    const caller = { ...facts, role: "caller", peerIdentity: peer, callerDevice: null } as const;
    this.caller = new Device("anna", ANNA, caller);
    const callee = { ...facts, role: "callee", peerIdentity: ANNA, callerDevice: this.caller.id } as const;
    this.callees = callees.map(([name, identity]) => new Device(name, identity, callee));
  }

  get devices(): readonly Device[] {
    return [this.caller, ...this.callees];
  }

  get ben(): Device {
    const [first] = this.callees;
    if (first === undefined) throw new Error("nobody was called");
    return first;
  }

  invite(): void {
    this.happen(this.caller, { type: "invite" });
    this.happen(this.caller, { type: "inviteStored", seq: 7 });
    for (const callee of this.callees) this.happen(callee, { type: "invited", seq: 7 });
  }

  happen(device: Device, event: Event): void {
    const was = device.state.phase;
    const [state, actions] = step(device.state, event, this.now);
    if (was === "ended" && state.phase !== "ended") throw new Error("what has ended stays ended");
    device.state = state;
    this.#noteWords(device);
    for (const action of actions) this.#do(device, action);
  }

  #noteWords({ state: { attempt }, words }: Device): void {
    if (attempt?.words == null) return;
    const said = attempt.words.join(" ");
    if ((words.get(attempt.number) ?? said) !== said) throw new Error("the words of an attempt never change");
    words.set(attempt.number, said);
  }

  #do(device: Device, action: Action): void {
    if (action.type === "send") this.#send(device, action.message);
    else if (action.type === "makeOffer" || action.type === "makeAnswer") {
      [device.connection, device.ready, device.up] = [null, false, false];
      device.work = [action];
    } else if (action.type === "applyAnswer") device.ready = device.connection === action.attempt;
    else if (action.type === "closeMedia") [device.connection, device.work] = [null, []];
    else if (action.candidate.attempt !== device.state.attempt?.number) throw new Error("an old candidate");
  }

  get authenticator(): Bytes {
    return sha256(utf8(`epoch ${this.epoch}`));
  }

  #send(from: Device, message: Message): void {
    const [kind, body] = [message.kind, pack(messageBody(message, CALL))];
    for (const to of this.devices.filter((one) => one !== from)) {
      this.flying.push({ from, to, kind, body, authenticator: this.authenticator });
    }
    if (kind === "call.offer" && message.kind === "call.offer") {
      const { attempt } = message;
      this.happen(from, { type: "offerSent", attempt, authenticator: this.authenticator });
    }
  }

  deliver({ from, to, kind, body, authenticator }: Flying): void {
    const message = parseMessage(kind, unpack(body) as ValueMap);
    this.happen(to, { type: "received", device: from.id, identity: from.identity, message, authenticator });
  }

  deliverAll(): void {
    for (let next = this.flying.shift(); next !== undefined; next = this.flying.shift()) this.deliver(next);
  }

  /** The next thing that the device's connection was asked for is ready. */
  doWork(device: Device): void {
    const work = device.work.shift();
    if (work?.type !== "makeOffer" && work?.type !== "makeAnswer") return;
    const name = `${device.name} ${work.attempt}`;
    device.connection = work.attempt;
    device.ready = work.type === "makeAnswer";
    const type = work.type === "makeOffer" ? "offerReady" : "answerReady";
    this.happen(device, { type, attempt: work.attempt, sdp: description(name), nonce: nonce(name) });
  }

  /** Connections that both sides have come up; those that one side has dropped are lost. */
  media(): void {
    for (const device of this.devices) {
      const attempt = device.connection;
      if (attempt === null || !device.ready) continue;
      const others = device === this.caller ? this.callees : [this.caller];
      const both = others.some((other) => other.connection === attempt && other.ready);
      if (both === device.up) continue;
      device.up = both;
      this.happen(device, { type: both ? "mediaUp" : "mediaLost", attempt });
    }
  }

  tick(ms: number): void {
    this.now += ms;
    for (const device of this.devices) {
      const due = wakeAt(device.state);
      if (due !== null && this.now >= due) this.happen(device, { type: "tick" });
    }
  }

  /** Everything gets its turn for so long; nothing is lost. */
  settle(ms: number): void {
    for (const until = this.now + ms; this.now < until; this.tick(100)) {
      this.deliverAll();
      for (const device of this.devices) this.doWork(device);
      this.media();
    }
    this.deliverAll();
  }
}
