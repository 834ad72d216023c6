/** What the browser's SDK computes, from samples of its own. All but the sealed files is always the same. */

import { seal } from "../../src/attachments/sealing.ts";
import { concat, hex, unhex, utf8 } from "../../src/bytes.ts";
import { edit, reaction, retract } from "../../src/content/amendments.ts";
import { checkIn, checkInAnswer, question } from "../../src/content/checkin.ts";
import { parseEnvelope, serializeEnvelope } from "../../src/content/envelope.ts";
import type { Content } from "../../src/content/messages.ts";
import { callEnded, callInvite, file, profile, receipt, text } from "../../src/content/messages.ts";
import { paddedLength } from "../../src/content/padding.ts";
import { sha256, sha512 } from "../../src/crypto.ts";
import { groupId, serializeInfo } from "../../src/identity/conversation.ts";
import { KeyPair } from "../../src/identity/keys.ts";
import type { Side } from "../../src/identity/linking.ts";
import { LinkSecret } from "../../src/identity/linking.ts";
import type { Manifest } from "../../src/identity/manifest.ts";
import { checkSuccessor, firstManifest, nextManifest } from "../../src/identity/manifest.ts";
import { recoveryKey, recoveryWords } from "../../src/identity/recovery.ts";
import { safetyNumber } from "../../src/identity/safety.ts";
import { callCommit } from "../../src/identity/words.ts";
import type { Packable } from "../../src/msgpack.ts";
import { Float, pack } from "../../src/msgpack.ts";
import { serializeBundle } from "../../src/wire/bundle.ts";
import { encodeFrame } from "../../src/wire/codec.ts";
import { COMMIT, MESSAGE } from "../../src/wire/fields.ts";
import type { Engagement, Frame } from "../../src/wire/frames.ts";
import {
  parseBlobId,
  parseDeviceId,
  parseEngagementId,
  parsePortalId,
  parseUserId,
} from "../../src/wire/ids.ts";
import type { Json } from "../plain.ts";
import { plain } from "../plain.ts";
import { makeCalls } from "./calls.ts";
import type { ManifestVector, StreamVector, Vectors } from "./check.ts";
import {
  codeOf,
  described,
  greeting,
  manifestVector,
  sealedWhisper,
  streamHashes,
  wordsOf,
} from "./check.ts";
import { makeWriters, sealArchive, sealHistory } from "./devices.ts";

/** Bytes that look random and are always the same. */
export function some(seed: string, length = 16): Uint8Array {
  const pieces = Array.from({ length: Math.ceil(length / 64) }, (_, i) => sha512(utf8(`${seed}/${i}`)));
  return concat(...pieces).slice(0, length);
}

const ENGAGEMENT = parseEngagementId("eng_-_09azAZ-_09azAZ-_09aw");
const PORTAL = parsePortalId("a-b-c");
const [CLARA, DAN] = [parseUserId("Clara~1"), parseUserId("0")] as const;
const BLOB = parseBlobId("AAAAAAAAAAAAAAAAAAAAAA");
const DEVICE = parseDeviceId(some("device"));

const VALUES: readonly Packable[] = [
  null,
  true,
  0,
  23,
  200,
  40_000,
  3_000_000_000,
  Number.MAX_SAFE_INTEGER,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
  -5,
  -100,
  -1000,
  -100_000,
  -(2 ** 40),
  -(2n ** 63n),
  new Float(0.25),
  "",
  "Zoë 👩🏽‍🚀",
  "x".repeat(300),
  some("bytes", 300),
  [1, [2, [3, []]]],
  Array.from({ length: 20 }, (_, i) => i),
  new Map<string, Packable>([
    ["2", 1],
    ["1", new Map<string, Packable>([["__proto__", null]])],
  ]),
];
const NOT_VALUES = ["c1", "", "0000", "92c0", "81a161", "82a1610082a16100", "d90280ff", "c70105", "81c0c0"];

const engagement: Engagement = {
  id: ENGAGEMENT,
  status: "ended",
  created: 5,
  retentionHours: 1,
  participants: [{ user: DAN, role: "supervisor" }],
  devices: [{ user: DAN, device: DEVICE, member: true, hasKeyPackage: true }],
  lastCommit: 0,
};
const stream = ENGAGEMENT;
const FRAMES: readonly Frame[] = [
  { frame: "Hello", versions: [1], clientNonce: some("a", 32) },
  { frame: "Authenticate", token: "t", deviceKey: some("b", 32), signature: some("c", 64) },
  { frame: "Renew", request: 1, token: "" },
  { frame: "Append", stream, counter: 9, kind: COMMIT, afterCommit: 0, body: some("d", 5), blobs: [] },
  {
    frame: "Append",
    stream,
    counter: 9,
    kind: MESSAGE,
    afterCommit: 8,
    body: some("d", 400),
    blobs: [BLOB],
  },
  { frame: "Open", request: 70_000, stream, after: Number.MAX_SAFE_INTEGER },
  { frame: "Ack", stream, seq: 0 },
  { frame: "Ephemeral", stream, body: some("e", 300) },
  { frame: "PublishKeyPackages", request: 1, packages: [some("f", 9)], lastResort: null },
  { frame: "ClaimKeyPackages", request: 1, stream, devices: [DEVICE] },
  { frame: "ListEngagements", request: 1 },
  { frame: "RequestBlobAccess", request: 1, stream },
  { frame: "RequestIceServers", request: 1, stream },
  { frame: "Rendezvous", request: 1, channel: some("g"), body: new Uint8Array() },
  { frame: "PutManifest", request: 1, manifest: some("h", 10) },
  { frame: "Challenge", version: 1, relayNonce: some("i", 32) },
  {
    frame: "Ready",
    device: DEVICE,
    portal: PORTAL,
    user: CLARA,
    tokenExpires: 1,
    keyPackagesLeft: 0,
    windowEntries: 1,
    windowBytes: 1,
    time: 0,
  },
  { frame: "Renewed", request: 1, tokenExpires: 0 },
  { frame: "Error", request: 5, code: "not_found", detail: "é" },
  { frame: "Goodbye", code: "replaced", detail: "", reconnectAfterMs: 0 },
  { frame: "Appended", stream, results: [{ counter: 1, seq: 2 }] },
  { frame: "Refused", stream, counter: 1, code: "ahead", lastCommit: 0 },
  {
    frame: "Opened",
    request: 1,
    stream,
    incarnation: some("j"),
    head: 0,
    lastCommit: 0,
    first: 1,
    cursor: 0,
    lastCounter: 0,
    member: false,
  },
  {
    frame: "Entries",
    stream,
    entries: [{ seq: 1, kind: MESSAGE, afterCommit: 0, timeMs: 0, counter: 0, body: some("k", 3) }],
  },
  { frame: "EphemeralFrom", stream, body: some("l", 3) },
  { frame: "Published", request: 1, left: 0 },
  {
    frame: "KeyPackages",
    request: 1,
    packages: [{ device: DEVICE, package: some("m", 3), lastResort: true }],
  },
  { frame: "Engagements", request: 1, engagements: [engagement] },
  { frame: "EngagementChanged", engagement: { ...engagement, participants: [], devices: [] } },
  { frame: "BlobAccess", request: 1, token: "b", expires: 9 },
  { frame: "IceServers", request: 1, servers: [{ urls: [], username: "u", credential: null }], expires: 0 },
  { frame: "KeyPackagesLow", left: 0 },
  { frame: "Met", request: 1, present: false },
  { frame: "RendezvousFrom", channel: some("n"), body: some("o", 40) },
  { frame: "HeldManifest", request: 2, manifest: some("p", 40) },
  { frame: "PutArchive", request: 1, stream, series: some("q"), number: 3, part: some("r", 9) },
  { frame: "ListArchive", request: 1, stream },
  { frame: "ReadArchive", request: 1, stream, series: some("q"), after: 0 },
  { frame: "EraseArchive", request: 1, stream, series: null },
  { frame: "CallOutcome", path: "relay" },
  { frame: "ArchiveStored", request: 1, parts: 3 },
  { frame: "ArchiveListed", request: 1, series: [{ series: some("q"), parts: 3 }] },
  { frame: "ArchiveParts", request: 1, parts: [some("r", 9)] },
];
const NOT_FRAMES: readonly (readonly ["relay" | "device", Packable, string])[] = [
  ["relay", [], "malformed"],
  ["relay", 68, "malformed"],
  ["relay", [86, new Float(1)], "malformed"],
  ["relay", [86, 1, 1], "malformed"],
  ["relay", [86, null], "malformed"],
  ["relay", [67, 0, "code", "d".repeat(257)], "too_big"],
  ["relay", [85, 1, [[["u"], null]], 0], "malformed"],
  ["relay", [32, 1], "out_of_order"],
  ["device", [90, 1, true], "out_of_order"],
  ["device", [31, 1, ENGAGEMENT, []], "malformed"],
  ["device", [41, 1, new Uint8Array(2049)], "too_big"],
  ["device", [12, [[[[[1]]]]], 1], "too_deep"],
  ["device", [12, new Map([["a", 1]]), 1], "malformed"],
];

const CONTENT: readonly Content[] = [
  text("\ufeff"),
  text("a".repeat(300), some("reply"), new Map<string, Packable>([["x", [1, 2n ** 60n]]]) as never),
  checkIn("How are you?"),
  checkIn("Two things", [
    question({ id: "b", text: "One", min: 2 }),
    question({ id: "1", text: "Two", answer: "choice", choices: ["x", "y"] }),
  ]),
  checkInAnswer(
    some("checkin"),
    new Map<string, number | string>([
      ["9", 3],
      ["1", "x"],
    ]),
  ),
  profile("Clara"),
  receipt(),
  receipt(70_000),
  file({
    name: "ü.txt",
    mediaType: "text/plain",
    size: 0,
    blob: BLOB,
    key: some("key", 32),
    sealedSize: 297,
    sealedHash: some("hash", 32),
  }),
  callInvite(some("call"), ["audio", "video"]),
  callEnded({ call: some("call"), outcome: "cancelled", answeredBy: null, seconds: 0, device: null }),
  callEnded({ call: some("call"), outcome: "declined", answeredBy: "0", seconds: 0, device: DEVICE }),
  edit(some("message"), "Said better"),
  retract(some("message")),
  reaction(some("message"), "🤔"),
  text("x".repeat(2000)),
  checkIn("ß".repeat(1024)),
  {
    kind: "unknown",
    named: "later",
    kindVersion: 3,
    critical: true,
    fallback: "New",
    body: pack({ a: [true] }),
  },
];

function notContent(): Vectors["content_refused"] {
  const good: readonly Packable[] = [
    1,
    some("id"),
    1,
    [1, 2, some("s", 32)],
    [],
    0,
    "text",
    1,
    false,
    "",
    { text: "x" },
  ];
  const changed = (at: number, value: Packable, code: string) => ({
    packed: hex(pack(good.map((field, i) => (i === at ? value : field)))),
    code,
  });
  return [
    { packed: hex(pack(good.slice(1))), code: "content_malformed" },
    changed(0, 0, "content_malformed"),
    changed(1, some("id", 17), "content_malformed"),
    changed(2, -1, "content_malformed"),
    changed(3, null, "content_malformed"),
    changed(4, [[1, 2]], "content_malformed"),
    changed(5, null, "content_malformed"),
    changed(6, utf8("text"), "content_malformed"),
    changed(8, null, "content_malformed"),
    changed(10, "x", "content_malformed"),
    changed(10, {}, "body_invalid"),
    changed(10, { text: null }, "body_invalid"),
    changed(10, { text: "x", reply_to: some("short", 15) }, "body_invalid"),
  ];
}

function content(said: Content): Vectors["content"][number] {
  const attest = { epoch: 2 ** 32 + 1, seq: 70_000, hash: some("S", 32) };
  const closings = [{ epoch: 0, seq: 1, hash: some("T", 32) }];
  const envelope = {
    id: some("id"),
    counter: 300,
    attest,
    closings,
    sentMs: 1_800_000_000_123,
    content: said,
  };
  const packed = serializeEnvelope(envelope);
  return { ...described(parseEnvelope(packed)), packed: hex(packed) };
}

const keys = (name: string): KeyPair => new KeyPair(some(name, 32));

function manifests(): readonly Manifest[] {
  const [identity, recovery, next] = [keys("identity"), keys("recovery"), keys("next")];
  const [one, two] = [keys("one").public, keys("two").public];
  const devices = [{ deviceKey: one, flags: 1 }];
  const common = { portal: PORTAL, user: CLARA, identity, recoveryKey: recovery.public, devices };
  const first = firstManifest({ ...common, suites: [0xf00e, 3] });
  const second = nextManifest(first, identity, { devices: [...devices, { deviceKey: two, flags: 0 }] });
  const recovered = nextManifest(second, recovery, { identityKey: next.public, devices: [], suites: [3] });
  const other = firstManifest({ ...common, user: DAN, suites: [] });
  return [first, second, recovered, other, nextManifest(first, recovery, { suites: [1] })];
}

function notManifests(): readonly string[] {
  const [first] = manifests();
  const raw = first?.raw ?? new Uint8Array();
  const flipped = Array.from({ length: 8 }, (_, i) => {
    const copy = raw.slice();
    const at = Math.floor((i * raw.length) / 8);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return hex(copy);
  });
  return [...flipped, hex(raw.slice(0, -1)), hex(concat(raw, unhex("c0")))];
}

function successors(all: readonly Manifest[]): Vectors["successors"] {
  return all.flatMap((old, i) =>
    all.map((next, j) => [i, j, codeOf(() => checkSuccessor(old, next)) === "accepted"] as const),
  );
}

function conversation(
  features: readonly string[],
  policy: ReadonlyMap<string, number>,
): Vectors["conversations"][number] {
  const [first] = manifests();
  const people = [
    { user: CLARA, role: "coach", identityKey: first?.identityKey ?? some("x", 32) },
    { user: DAN, role: "supervisor", identityKey: some("dan", 32) },
  ] as const;
  const info = {
    portal: PORTAL,
    engagement: ENGAGEMENT,
    generation: 2,
    features,
    policy,
    participants: people,
  };
  const listed = people.map(({ user, role, identityKey }) => [user, role, identityKey] as const);
  return {
    fields: plain([PORTAL, ENGAGEMENT, 2, features, policy, listed]),
    packed: hex(serializeInfo(info)),
    group_id: hex(groupId(PORTAL, ENGAGEMENT, 2)),
  };
}

function streamVectors(): readonly StreamVector[] {
  const entry = (seq: number, kind: 0 | 1, after: number, body: string, epoch: number, size?: number) => ({
    seq,
    kind,
    after_commit: after,
    body: hex(utf8(body)),
    epoch,
    authenticator: size ? hex(some(`authenticator ${epoch}`, size)) : null,
  });
  const entries = [
    entry(1, 1, 0, "the creator alone", 0, 32),
    entry(2, 0, 1, "hello", 0),
    entry(3, 1, 1, "a commit", 1, 32),
    entry(4, 1, 3, "a void one", 0),
    entry(5, 0, 4, "", 0),
    entry(6, 1, 4, "a stronger suite", 2 ** 32 + 1, 64),
  ];
  const hashes = streamHashes(entries);
  return entries.map((one, i) => ({ ...one, S: hashes[i] ?? null }));
}

function words(name: string): Vectors["call_words"][number] {
  const of = (part: string, length = 32) => hex(some(`${name} ${part}`, length));
  const vector = {
    caller_identity: of("caller"),
    callee_identity: of("callee"),
    group_id: of("group"),
    call: of("call", 16),
    epoch_authenticator: of("epoch", 64),
    caller_fingerprint: of("fingerprint"),
    callee_fingerprint: of("other fingerprint"),
    caller_nonce: of("nonce"),
    callee_nonce: of("other nonce"),
  };
  return { ...vector, commit: hex(callCommit(unhex(vector.caller_nonce))), words: [...wordsOf(vector)] };
}

async function whisper(epoch: number, leaf: number, kind: string, body: Json) {
  const vector = {
    device_seed: hex(some("device seed", 32)),
    group_id: hex(some("group", 32)),
    exported_key: hex(some("exported", 32)),
    nonce: hex(some("nonce", 24)),
    epoch,
    leaf,
    counter: 2 ** 33,
    kind,
    body,
  };
  return { ...vector, sealed: await sealedWhisper(vector) };
}

/** Sealed with randomness of the libraries: other bytes at each call. */
type Sealed = "files" | "histories" | "archives";

export async function makeSealed(): Promise<Pick<Vectors, Sealed>> {
  const [histories, archives] = [[await sealHistory(some)], [await sealArchive(some)]];
  return { files: await sealFiles(), histories, archives };
}

/** All vectors but those that are sealed. */
export async function make(): Promise<Omit<Vectors, Sealed>> {
  const all = manifests();
  return {
    msgpack: VALUES.map((value) => ({ value: plain(value), packed: hex(pack(value)) })),
    msgpack_refused: NOT_VALUES,
    frames: FRAMES.map((one) => {
      const { frame, ...fields } = one;
      return { frame, fields: plain(Object.values(fields) as Packable), packed: hex(encodeFrame(one)) };
    }),
    frames_refused: NOT_FRAMES.map(([from, value, code]) => ({ from, message: hex(pack(value)), code })),
    bundles: [[DEVICE], []].map((adds) => {
      const bundle = {
        adds,
        removes: [],
        commit: some("commit", 99),
        welcome: null,
        groupInfo: some("info", 3),
      };
      const { removes, commit, welcome, groupInfo } = bundle;
      return {
        fields: plain([adds, removes, commit, welcome, groupInfo]),
        packed: hex(serializeBundle(bundle)),
      };
    }),
    padding: [2, 300, 511, 512, 513, 9999, 123_456, 2 ** 33 + 5].map((n) => [n, paddedLength(n)] as const),
    content: CONTENT.map(content),
    content_refused: notContent(),
    manifests: all.map((one): ManifestVector => manifestVector(one)),
    manifests_refused: notManifests(),
    successors: successors(all),
    conversations: [conversation([], new Map()), conversation(["a"], new Map([["retention_hours", 24]]))],
    stream: streamVectors(),
    safety_numbers: [all[0], all[3]].map((one) => ({
      portal: PORTAL,
      user: one?.user ?? "",
      identity_key: hex(one?.identityKey ?? new Uint8Array()),
      number: safetyNumber(PORTAL, one?.user ?? CLARA, one?.identityKey ?? new Uint8Array()),
    })),
    call_words: [words("one"), words("two")],
    ephemeral: [
      await whisper(0, 0, "typing", { map: [] }),
      await whisper(5, 2, "x", { map: [["k", [1, null]]] }),
    ],
    meetings: [meeting(some("meeting", 16))],
    recovery: ["one", "two"].map((name) => {
      const seed = some(name, 16);
      return { seed: hex(seed), words: recoveryWords(seed), recovery_key: hex(recoveryKey(seed).public) };
    }),
    ...makeCalls(some),
    archive_writers: makeWriters(some),
  };
}

/** Two devices of one person meet by a secret, and say something to each other. */
function meeting(value: Uint8Array): Vectors["meetings"][number] {
  const secret = new LinkSecret(value);
  const random = (side: Side, name: string) => ({
    device_key: hex(some(`${side} key`, 32)),
    name,
    private: hex(some(`${side} private`, 32)),
    nonce: hex(some(`${side} nonce`, 24)),
    hello: "",
  });
  const sides = { known: random("known", "Телефон"), new: random("new", "x") };
  const given = { portal: PORTAL, user: CLARA, secret: hex(value), ...sides };
  const [known, fresh] = [greeting(given, "known"), greeting(given, "new")];
  const sessions = { known: known.meet(fresh.body).session, new: fresh.meet(known.body).session };
  const say = (from: Side, kind: string, ...fields: readonly Packable[]) => ({
    from,
    fields: plain([kind, ...fields]),
    body: hex(sessions[from].seal(kind, ...fields)),
  });
  return {
    ...given,
    words: secret.words,
    code: secret.code,
    channel: hex(secret.channel),
    known: { ...sides.known, hello: hex(known.body) },
    new: { ...sides.new, hello: hex(fresh.body) },
    messages: [
      say("new", "ready"),
      say("known", "people", [["ben", some("trust", 300), some("name", 3)]]),
      say("known", "done"),
    ],
  };
}

/** Sealed files of several sizes: other bytes at each call. */
async function sealFiles(): Promise<Vectors["files"]> {
  const made: Vectors["files"][number][] = [];
  for (const size of [0, 1, 256, 300, 65_537]) {
    const plaintext = some("plaintext", size);
    const pieces: Uint8Array[] = [];
    const read = async (at: number, length: number) => plaintext.slice(at, at + length);
    const sink = async (piece: Uint8Array) => void pieces.push(piece);
    const sealed = await seal(size, read, sink, (length) => some("file key", length));
    made.push({
      size,
      key: hex(sealed.key),
      sealed_size: sealed.sealedSize,
      sealed_hash: hex(sealed.sealedHash),
      plain_hash: hex(sha256(plaintext)),
      sealed: btoa(Array.from(concat(...pieces), (byte) => String.fromCharCode(byte)).join("")),
    });
  }
  return made;
}
