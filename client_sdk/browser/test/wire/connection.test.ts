import { expect, test } from "vitest";
import { concat } from "../../src/bytes.ts";
import { pack } from "../../src/msgpack.ts";
import { decodeFromDevice, decodeFromRelay, encode, encodeFrame } from "../../src/wire/codec.ts";
import { Connection } from "../../src/wire/connection.ts";
import { WireError } from "../../src/wire/errors.ts";
import type { DeviceFrame, RelayFrame } from "../../src/wire/frames.ts";

const hello: DeviceFrame = { frame: "Hello", versions: [1], clientNonce: new Uint8Array(32) };
const list: DeviceFrame = { frame: "ListEngagements", request: 1 };
const challenge: RelayFrame = { frame: "Challenge", version: 1, relayNonce: new Uint8Array(32) };
const low: RelayFrame = { frame: "KeyPackagesLow", left: 1 };
const goodbye: RelayFrame = { frame: "Goodbye", code: "draining", detail: "", reconnectAfterMs: 0 };

test("frames pass in their state alone", () => {
  const connection = new Connection();
  connection.sent(hello);
  expect(() => connection.sent(list)).toThrow(WireError);
  expect(() => connection.received(low)).toThrow(WireError);
  connection.received(challenge);
  expect(connection.state).toBe("authenticating");
  expect(() => connection.received(challenge)).toThrow(WireError);
  connection.received(goodbye);
  expect(connection.state).toBe("draining");
  expect(() => connection.sent(list)).toThrow(WireError);
  connection.received(low);
  connection.closed();
  expect(() => connection.received(low)).toThrow(WireError);
});

test("nothing large comes before the greeting is over", () => {
  expect(() => new Connection().checkSize(new Uint8Array(16 * 1024 + 1))).toThrow(WireError);
  new Connection().checkSize(new Uint8Array(16 * 1024));
});

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof WireError) return error.code;
    throw error;
  }
  return "accepted";
};

test("messages, frames and their number are bounded", () => {
  expect(codeOf(() => decodeFromRelay(new Uint8Array(2 * 1024 * 1024 + 1)))).toBe("too_big");
  const frame = encodeFrame(list);
  const many = (count: number) => concat(...Array.from({ length: count }, () => frame));
  expect(codeOf(() => decodeFromDevice(many(512)))).toBe("accepted");
  expect(codeOf(() => decodeFromDevice(many(513)))).toBe("too_big");
  expect(codeOf(() => encode(Array.from({ length: 513 }, () => list)))).toBe("too_big");
  expect(codeOf(() => encode([]))).toBe("too_big");
  const empty = pack(Array.from({ length: 512 }, () => Array.from({ length: 512 }, () => [])));
  expect(codeOf(() => decodeFromRelay(empty))).toBe("too_big");
});

test("a frame of a later version is skipped", () => {
  expect(decodeFromRelay(pack([120, "new"]))).toEqual([{ frame: "Unknown", frameType: 120 }]);
  expect(codeOf(() => decodeFromRelay(pack([-1])))).toBe("malformed");
});
