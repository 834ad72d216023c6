/** What we read in a session description, and how little we forgive. */

import { expect, test } from "vitest";
import { unhex } from "../../src/bytes.ts";
import { DescriptionRefused } from "../../src/calls/errors.ts";
import { MAX_SDP_CHARS } from "../../src/calls/messages.ts";
import { readDescription } from "../../src/calls/sdp.ts";

const PRINT = `${"AB:".repeat(31)}CD`;
const OTHER = `${"AB:".repeat(31)}CE`;
const HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
const AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n";
const VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\n";
const line = (value = PRINT, algorithm = "sha-256") => `a=fingerprint:${algorithm} ${value}\r\n`;

test.each([
  ["both", HEAD + AUDIO + line() + VIDEO + line()],
  ["of the session", HEAD + line() + AUDIO + VIDEO],
  ["both places", HEAD + line() + AUDIO + line() + VIDEO],
  ["other algorithms too", HEAD + AUDIO + line(PRINT.toLowerCase(), "SHA-256") + line("00:11", "sha-1")],
  ["a rejected section", `${HEAD + AUDIO + line()}m=video 0 UDP/TLS/RTP/SAVPF 97\r\n`],
  ["bare newlines", (HEAD + AUDIO + line()).replaceAll("\r\n", "\n")],
])("usual forms are read: %s", (_, sdp) => {
  expect(readDescription(sdp).fingerprint).toEqual(unhex(PRINT.replaceAll(":", "")));
});

test.each([
  ["nothing", ""],
  ["no media", HEAD + line()],
  ["no fingerprint", HEAD + AUDIO],
  ["two", HEAD + AUDIO + line() + line(OTHER)],
  ["two sections, two values", HEAD + AUDIO + line() + VIDEO + line(OTHER)],
  ["one section without", HEAD + AUDIO + line() + VIDEO],
  ["only bundled", `${HEAD + AUDIO + line() + VIDEO.replace(" 9 ", " 0 ")}a=bundle-only\r\n`],
  ["too short", HEAD + AUDIO + line(PRINT.slice(3))],
  ["too long", HEAD + AUDIO + line(`${PRINT}:00`)],
  ["another algorithm", HEAD + AUDIO + line(PRINT, "sha-1")],
  ["spaces", `${HEAD + AUDIO + line()}a=fingerprint:sha-256  ${OTHER}\r\n`],
  ["capitals", `${HEAD + AUDIO + line()}a=Fingerprint:sha-256 ${OTHER}\r\n`],
  ["a lone return", `${HEAD + AUDIO + line()}a=x\ra=fingerprint:sha-256 ${OTHER}\r\n`],
  ["twice the same kind", HEAD + line() + AUDIO + AUDIO],
  ["data", `${HEAD + line()}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n`],
  ["no last newline", (HEAD + AUDIO + line()).slice(0, -2)],
  ["not ASCII", `${HEAD + AUDIO + line()}a=ü\r\n`],
  ["too much", `${HEAD + AUDIO + line()}a=${"x".repeat(MAX_SDP_CHARS)}\r\n`],
  ["too many addresses", HEAD + AUDIO + line() + "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n".repeat(101)],
])("refused: %s", (_, sdp) => {
  expect(() => readDescription(sdp)).toThrow(DescriptionRefused);
});

test("media that were not agreed are refused", () => {
  expect(() => readDescription(HEAD + AUDIO + line() + VIDEO + line(), ["audio"])).toThrow(
    DescriptionRefused,
  );
  expect(readDescription(HEAD + AUDIO + line(), ["audio"]).kinds).toEqual(["audio"]);
});
