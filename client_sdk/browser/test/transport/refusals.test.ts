import { expect, test } from "vitest";
import { NOT_SIGNED_IN, whyEnded, whyRefused } from "../../src/transport/refusals.ts";
import { ENDING_CODES, STAYING_CODES } from "../../src/wire/errors.ts";

const CODES = [...ENDING_CODES, ...STAYING_CODES, "constructor", "something_new"];

test("a person reads sentences, and never a code", () => {
  for (const code of CODES) {
    for (const said of [whyEnded(code), whyRefused(code)]) {
      expect(said).toMatch(/^[A-Z][^_()]+\.$/u);
      expect(said).not.toMatch(/\btoken\b|\bframe\b|\bhandshake\b/iu);
    }
  }
});

test("who is not let in reads why, and what to do", () => {
  expect(whyEnded("token_invalid")).toBe(NOT_SIGNED_IN);
  expect(whyEnded("device_limit")).toMatch(/remove one/u);
  expect(whyRefused("rate_limited")).toMatch(/Wait a minute/u);
});
