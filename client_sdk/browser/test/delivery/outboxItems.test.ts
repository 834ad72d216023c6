import { expect, test } from "vitest";
import { REFUSALS, TRANSITIONS } from "../../src/delivery/outboxItems.ts";

test("every refusal means something in every state in flight", () => {
  for (const event of REFUSALS.values()) {
    expect(TRANSITIONS.encrypted[event]).toBeDefined();
    expect(TRANSITIONS.sent[event]).toBeDefined();
  }
});
