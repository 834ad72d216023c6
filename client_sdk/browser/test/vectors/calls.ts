/** Vectors about calls and names of files: ours, and the checks of whoever's. */

import { expect } from "vitest";
import { safeName } from "../../src/attachments/names.ts";
import type { Bytes } from "../../src/bytes.ts";
import { hex } from "../../src/bytes.ts";
import { CallMessageInvalid, DescriptionRefused } from "../../src/calls/errors.ts";
import type { Message } from "../../src/calls/messages.ts";
import { callIdOf, messageBody, parseMessage } from "../../src/calls/messages.ts";
import { readDescription } from "../../src/calls/sdp.ts";
import type { Packable, ValueMap } from "../../src/msgpack.ts";
import type { Json } from "../plain.ts";
import { plain, whole } from "../plain.ts";
import type { DescriptionVector, Vectors } from "./check.ts";

type Sample = (name: string, length?: number) => Bytes;

const HEAD = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n";
const AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n";
const VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n";
const NAMES = [
  "report.docx",
  "..\\..\\windows\\nul",
  "a/b/c/",
  "LPT1.txt",
  "\u200bzero\u2060width.png",
  "O\u0308sterreich?.pdf",
  `${"x".repeat(250)}.longsuffix`,
  `${"日本語".repeat(60)}.txt`,
  ". . .",
  "a\u00a0b.txt",
];

type Made = Pick<
  Vectors,
  "call_messages" | "call_messages_refused" | "descriptions" | "descriptions_refused" | "names"
>;

export function makeCalls(some: Sample): Made {
  const line = (name: string) =>
    `a=fingerprint:sha-256 ${hex(some(name, 32)).replace(/..(?=.)/g, "$&:")}\r\n`;
  const descriptions = [HEAD + AUDIO + line("a") + VIDEO + line("a"), HEAD + line("b") + VIDEO];
  const call = some("call");
  const messages: readonly Message[] = [
    { kind: "call.probe" },
    { kind: "call.ringing" },
    { kind: "call.accept", device: some("device"), after: 0 },
    { kind: "call.decline" },
    { kind: "call.offer", to: some("device"), attempt: 3, sdp: descriptions[0] ?? "", commit: some("c", 32) },
    { kind: "call.answer", attempt: 3, sdp: descriptions[1] ?? "", nonce: some("n", 32) },
    { kind: "call.reveal", attempt: 3, nonce: some("m", 32) },
    { kind: "call.candidate", attempt: 3, candidate: "candidate:2", mid: "audio", index: 0 },
    { kind: "call.hangup", reason: "glare" },
  ];
  const refused: readonly (readonly [string, Record<string, Packable>])[] = [
    ["call.probes", {}],
    ["call.accept", { device: some("device", 17), after: 0 }],
    ["call.offer", { to: some("device"), attempt: 1001, sdp: "", commit: some("c", 32) }],
    ["call.offer", { to: some("device"), attempt: 1, sdp: null, commit: some("c", 32) }],
    ["call.answer", { attempt: 1, sdp: "", nonce: "n".repeat(32) }],
    ["call.candidate", { attempt: 1, candidate: "x".repeat(513), mid: "", index: 0 }],
    ["call.candidate", { attempt: 1, candidate: "", mid: "x".repeat(17), index: 0 }],
    ["call.hangup", { reason: "a".repeat(33) }],
  ];
  return {
    call_messages: messages.map((message) => ({
      kind: message.kind,
      body: plain(messageBody(message, call)),
    })),
    call_messages_refused: refused.map(([kind, body]) => ({
      kind,
      body: plain(new Map(Object.entries(body))),
    })),
    descriptions: descriptions.map(described),
    descriptions_refused: [
      "v=0\r\n",
      HEAD + AUDIO + line("a") + VIDEO + line("b"),
      HEAD + line("a") + VIDEO + VIDEO,
      HEAD + line("a") + AUDIO.replace("audio", "text"),
      `${HEAD + AUDIO + line("a")}a=fingerprint:sha-256 00:11\r\n`,
      `${HEAD + line("a") + AUDIO}${"a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n".repeat(101)}`,
    ],
    names: NAMES.map((name) => [name, safeName(name)]),
  };
}

function described(sdp: string): DescriptionVector {
  const { fingerprint, kinds } = readDescription(sdp);
  return { sdp, fingerprint: hex(fingerprint), kinds };
}

export function checkMessage({ kind, body }: { readonly kind: string; readonly body: Json }): void {
  const said = whole(body) as ValueMap;
  const again = messageBody(parseMessage(kind, said), callIdOf(said));
  expect(plain(again)).toEqual(plain(said));
}

export function checkNoMessage({ kind, body }: { readonly kind: string; readonly body: Json }): void {
  expect(() => parseMessage(kind, whole(body) as ValueMap)).toThrow(CallMessageInvalid);
}

export function checkDescription(vector: DescriptionVector): void {
  expect(described(vector.sdp)).toEqual(vector);
}

export function checkNoDescription(sdp: string): void {
  expect(() => readDescription(sdp)).toThrow(DescriptionRefused);
}

export function checkName(given: string, safe: string): void {
  expect(safeName(given)).toBe(safe);
}
