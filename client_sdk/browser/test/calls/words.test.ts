/** What a person is told about a call: what is missing, how good it is, how it ended. */

import { expect, test } from "vitest";
import type { Look } from "../../src/calls/quality.ts";
import { lookAt, qualityOf } from "../../src/calls/quality.ts";
import type { Taker } from "../../src/calls/sentences.ts";
import { stateOf, whyEnded, whyOver } from "../../src/calls/sentences.ts";
import type { CallEnd, Negotiation, Role } from "../../src/calls/states.ts";
import { begin } from "../../src/calls/states.ts";
import type { Circumstances, Source } from "../../src/calls/trouble.ts";
import { explain, LOST } from "../../src/calls/trouble.ts";
import { ANNA, BEN, CALL } from "./world.ts";

const FINE: Circumstances = { secure: true, able: true, allowed: true, framed: false, error: "" };

test.each<[Source, Partial<Circumstances>, string, RegExp]>([
  ["camera", { error: "NotAllowedError" }, "call_camera_refused", /beside the address, allow the camera/],
  [
    "microphone",
    { error: "NotAllowedError" },
    "call_microphone_refused",
    /allow the microphone.*do not hear you/,
  ],
  ["camera", { error: "NotFoundError" }, "call_camera_missing", /No camera was found/],
  ["microphone", { error: "OverconstrainedError" }, "call_microphone_missing", /No microphone was found/],
  ["camera", { error: "NotReadableError" }, "call_camera_busy", /another program/],
  ["camera", { error: "AbortError" }, "call_camera_busy", /another program/],
  ["camera", { error: "Other" }, "call_camera_failed", /does not start/],
  ["camera", { secure: false }, "call_camera_insecure", /https/],
  ["microphone", { able: false }, "call_microphone_unsupported", /this browser lacks/],
  [
    "camera",
    { allowed: false },
    "call_camera_blocked",
    /Permissions-Policy of this page must not forbid “camera”/,
  ],
  ["microphone", { allowed: false, framed: true }, "call_microphone_blocked", /iframe .* allow="microphone"/],
  ["screen", { allowed: false, framed: true }, "call_screen_blocked", /allow="display-capture"/],
  ["camera", { error: "SecurityError", framed: true }, "call_camera_blocked", /allow="camera"/],
  ["screen", { error: "NotAllowedError" }, "call_screen_refused", /No screen was chosen/],
])("the %s with %j: %s", (source, why, code, says) => {
  const notice = explain([{ source, why: { ...FINE, ...why } }]);
  expect(notice?.code).toBe(code);
  expect(notice?.message).toMatch(says);
});

test.each<[Partial<Circumstances>, string, RegExp]>([
  [
    { error: "NotAllowedError" },
    "refused",
    /^The microphone and the camera are not allowed .* allow the microphone and the camera, and switch them on here\. If they are allowed there.* The others neither hear nor see you\.$/,
  ],
  [
    { error: "NotFoundError" },
    "missing",
    /^No microphone and no camera were found\. Connect them, and switch them on/,
  ],
  [
    { error: LOST },
    "lost",
    /^The microphone and the camera were disconnected, or are not allowed .* choose others/,
  ],
  [{ error: "NotReadableError" }, "busy", /do not start: .* using them, or they are switched off/],
  [{ error: "Other" }, "failed", /do not start\. Try again, or choose others/],
  [{ secure: false }, "insecure", /^The microphone and the camera cannot be used, because .* over https\./],
  [{ able: false }, "unsupported", /^The microphone and the camera cannot be used: this browser/],
  [
    { allowed: false },
    "blocked",
    /of this page must forbid neither “microphone” nor “camera”\. The others neither/,
  ],
  [{ allowed: false, framed: true }, "blocked", /needs allow="microphone; camera", and .* nor “camera”\./],
])("both with %j: %s, said once", (why, kind, says) => {
  const both = (["microphone", "camera"] as const).map((source) => ({ source, why: { ...FINE, ...why } }));
  const notice = explain(both);
  expect(notice?.code).toBe(`call_microphone_${kind}`);
  expect(notice?.message).toMatch(says);
});

test("what is not the same is said of each; nothing is said of nothing", () => {
  const notice = explain([
    { source: "microphone", why: { ...FINE, error: "NotAllowedError" } },
    { source: "camera", why: { ...FINE, error: "NotFoundError" } },
  ]);
  expect(notice?.code).toBe("call_microphone_refused");
  expect(notice?.message).toMatch(
    /^The microphone is not allowed .* do not hear you\. No camera was found\. .* do not see you\.$/,
  );
  expect(explain([])).toBeNull();
});

const look = (changes: Partial<Look>): Look => ({
  received: 1000,
  lost: 0,
  lostThere: 0,
  roundTrip: 0.05,
  jitter: 0.01,
  path: "host",
  ...changes,
});

test.each<[Partial<Look>, string]>([
  [{}, "good"],
  [{ lost: 50 }, "weak"],
  [{ lostThere: 0.2 }, "poor"],
  [{ roundTrip: 0.4 }, "weak"],
  [{ roundTrip: 1 }, "poor"],
  [{ jitter: 0.2 }, "poor"],
  [{ received: 3, roundTrip: null }, "unknown"],
])("%j is %s", (changes, quality) => expect(qualityOf(null, look(changes))).toBe(quality));

test("what was lost before is over", () => {
  const [before, now] = [look({ lost: 500 }), look({ received: 2000, lost: 500 })];
  expect(qualityOf(before, now)).toBe("good");
});

test("a report is read", () => {
  const report: [string, Record<string, unknown>][] = [
    ["a", { type: "inbound-rtp", packetsReceived: 10, packetsLost: 1, jitter: 0.02 }],
    ["b", { type: "inbound-rtp", packetsReceived: 20, packetsLost: 2, jitter: 0.01 }],
    ["c", { type: "remote-inbound-rtp", fractionLost: 0.25 }],
    ["t", { type: "transport", selectedCandidatePairId: "p" }],
    [
      "p",
      { type: "candidate-pair", currentRoundTripTime: 0.2, localCandidateId: "l", remoteCandidateId: "r" },
    ],
    ["l", { type: "local-candidate", candidateType: "prflx" }],
    ["r", { type: "remote-candidate", candidateType: "host" }],
  ];
  expect(lookAt(report)).toEqual({
    received: 30,
    lost: 3,
    lostThere: 0.25,
    roundTrip: 0.2,
    jitter: 0.02,
    path: "srflx",
  });
  expect(lookAt([]).path).toBe("host");
});

function over(role: Role, end: Partial<CallEnd>): Negotiation {
  const facts = {
    call: CALL,
    role,
    groupId: CALL,
    ownDevice: CALL,
    ownIdentity: ANNA,
    kinds: ["audio"] as const,
    peerIdentity: BEN,
    callerDevice: null,
  };
  const whole = { outcome: "answered", seconds: 0, reason: "", tampered: false, device: null } as const;
  return { ...begin(facts), phase: "ended", end: { ...whole, ...end } };
}

test.each<[Role, Partial<CallEnd>, string, RegExp]>([
  ["caller", { outcome: "declined", reason: "declined" }, "call_declined", /^Ben declined\.$/],
  ["callee", { outcome: "declined", reason: "declined" }, "call_declined", /^You declined\.$/],
  ["caller", { outcome: "missed", reason: "missed" }, "call_missed", /^Ben did not answer\.$/],
  ["caller", { outcome: "cancelled", reason: "hung_up" }, "call_cancelled", /^You ended the call\.$/],
  [
    "callee",
    { outcome: "cancelled", reason: "peer_cancelled" },
    "call_cancelled",
    /^Ben does not call any more\.$/,
  ],
  ["caller", { outcome: "answered", reason: "peer_hung_up" }, "call_over", /^Ben ended the call\.$/],
  ["caller", { outcome: "answered", reason: "not_connected" }, "call_lost", /connection was lost/],
  ["caller", { outcome: "failed", reason: "not_connected" }, "call_failed", /another network/],
  ["caller", { outcome: "cancelled", reason: "glare" }, "call_glare", /take that call/],
  [
    "callee",
    { outcome: "failed", reason: "tampered", tampered: true },
    "call_tampered",
    /somebody may stand between/,
  ],
  ["callee", { outcome: "answered", reason: "elsewhere" }, "call_elsewhere", /another device/],
])("%s %j: %s", (role, end, code, says) => {
  const why = whyEnded(over(role, end), "Ben");
  expect(why?.code).toBe(code);
  expect(why?.message).toMatch(says);
});

test("a ring that is over says why", () => {
  const said = (end: Partial<CallEnd>, taker: Taker | null = null) =>
    whyOver(over("callee", end), "Ben", taker);
  expect(said({ outcome: "declined", device: CALL })).toBe("You declined.");
  const mine = { own: true, name: "another device of yours" };
  expect(said({ reason: "elsewhere" }, mine)).toBe("You answered on another device of yours.");
  const declined = { outcome: "declined", reason: "elsewhere" } as const;
  expect(said(declined, mine)).toBe("You declined on another device of yours.");
  expect(said({ reason: "elsewhere" }, { own: false, name: "Clara" })).toBe("Clara answered.");
  expect(said({ reason: "elsewhere" })).toBe("The call was answered on another device.");
  expect(said({ outcome: "missed" })).toBe("Ben does not call any more. You missed the call.");
  expect(whyEnded(over("callee", {}), "")?.message).toBe("The other person ended the call.");
});

test("a call that lost its connection says so", () => {
  const call = over("caller", {});
  expect(stateOf({ ...call, phase: "connecting" })).toBe("connecting");
  expect(stateOf({ ...call, phase: "connecting", connectedAt: 1 })).toBe("reconnecting");
  expect(stateOf({ ...call, phase: "inviting" })).toBe("ringing");
});
