import { expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { relayAddress } from "../../src/transport/address.ts";
import { Backoff } from "../../src/transport/backoff.ts";

test.each([
  ["https://relay.example", "https://relay.example", "wss://relay.example/v1/connect"],
  ["https://relay.example:8443/", "https://relay.example:8443", "wss://relay.example:8443/v1/connect"],
  ["https://relay.example/under/", "https://relay.example", "wss://relay.example/under/v1/connect"],
  ["http://127.0.0.1:8470", "http://127.0.0.1:8470", "ws://127.0.0.1:8470/v1/connect"],
  ["http://localhost:1", "http://localhost:1", "ws://localhost:1/v1/connect"],
])("%s", (url, origin, connect) => {
  expect(relayAddress(url)).toEqual({ origin, connect });
});

test.each([
  "http://relay.example",
  "ws://127.0.0.1",
  "relay",
  "https://a:b@relay.example",
  "https://relay.example?x",
  "https://relay.example#x",
])("refused: %s", (url) => {
  expect(() => relayAddress(url)).toThrow(UsageError);
});

test("waits grow to half a minute, and begin anew after a stable connection", () => {
  const backoff = new Backoff(() => 0.5);
  const waits = Array.from({ length: 10 }, () => backoff.nextDelayMs());
  expect(waits.slice(0, 3)).toEqual([125, 250, 500]);
  expect(waits.at(-1)).toBe(15_000);
  backoff.connectionLived(1000);
  expect(backoff.nextDelayMs()).toBe(15_000);
  backoff.connectionLived(30_000);
  expect(backoff.nextDelayMs()).toBe(125);
});
