/**
 * What the browser's parsers make of bytes, as a program of Node: lists of `[parser, bytes in hex]` as JSON, one list
 * a line on stdin; a list of verdicts for each on stdout. A verdict is `ok` and what was read, or `no`.
 */

import { createInterface } from "node:readline";
import { safeName } from "../src/attachments/names.ts";
import type { Bytes } from "../src/bytes.ts";
import { concat, hex, text, unhex, utf8 } from "../src/bytes.ts";
import { callIdOf, messageBody, parseMessage } from "../src/calls/messages.ts";
import { readDescription } from "../src/calls/sdp.ts";
import { parseEnvelope, serializeEnvelope } from "../src/content/envelope.ts";
import { ready, sha256 } from "../src/crypto.ts";
import { openPart, verifyWriter } from "../src/devices/archive/parts.ts";
import { openHistory } from "../src/devices/handover.ts";
import { archivedRow, rowIn } from "../src/devices/rows.ts";
import { checkWhole, readGrant, readHistoryRef, readMore } from "../src/devices/told.ts";
import { EphemeralBox } from "../src/ephemeral/box.ts";
import { CoachRelayError } from "../src/errors.ts";
import { parseInfo, serializeInfo } from "../src/identity/conversation.ts";
import { KeyPair } from "../src/identity/keys.ts";
import { Greeting, LinkSecret } from "../src/identity/linking.ts";
import { devicesOf, verifyManifest } from "../src/identity/manifest.ts";
import { recoveryKey, recoverySeed } from "../src/identity/recovery.ts";
import { checkScanned } from "../src/identity/safety.ts";
import { parseTrust, serializeTrust } from "../src/identity/trust.ts";
import type { Packable, Value, ValueMap } from "../src/msgpack.ts";
import { PackingError, pack, unpack } from "../src/msgpack.ts";
import { parseBundle, serializeBundle } from "../src/wire/bundle.ts";
import { decodeFromDevice, decodeFromRelay, encodeFrame } from "../src/wire/codec.ts";
import type { Frame, UnknownFrame } from "../src/wire/frames.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../src/wire/ids.ts";

await ready();

/** Of tests/abuse/parsers.py, where what is sealed is made. */
const [PORTAL, ANNA, BEN] = [parsePortalId("growth"), parseUserId("anna"), parseUserId("ben@example:7")];
const ENGAGEMENT = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
const [KEY, SEED] = [filled(1, 32), filled(2, 16)];
const DEVICE = new KeyPair(filled(3, 32));
const OTHER = new KeyPair(filled(4, 32));
const SELF = { portal: PORTAL, user: ANNA, deviceKey: DEVICE.public, name: "here" };
const PLACE = { portal: PORTAL, user: ANNA, engagement: ENGAGEMENT, series: SEED, number: 1 };

function filled(byte: number, length: number): Bytes {
  return new Uint8Array(length).fill(byte);
}

const values = (data: Bytes): readonly Value[] => {
  const found = unpack(data);
  if (!Array.isArray(found)) throw new PackingError("no list");
  return found;
};

const shown = (frame: Frame | UnknownFrame): string =>
  frame.frame === "Unknown" ? `unknown ${frame.frameType}` : hex(encodeFrame(frame as Frame));

/** What of an item both SDKs keep: its envelope as it came is the Python SDK's, what it says is ours. */
function kept(row: ReturnType<typeof rowIn>): Packable {
  if ("gone" in row) return ["gone", row.gone];
  if ("act" in row) return [row.act.id, row.act.seq, row.act.user, row.act.what.kind];
  const { id, seq, user, device, sentMs, notice } = row.item;
  return [id, seq, user, device, sentMs, notice === null ? "" : notice.text];
}

const whisperBox = () =>
  new EphemeralBox(
    {
      ...{ groupId: KEY, epoch: 7, authenticator: KEY, ownLeaf: 2 },
      deviceKeys: new Map([[1, DEVICE.public]]),
      exporter: async () => KEY,
    },
    (labelled) => DEVICE.signLabelled(labelled),
  );

const told = () => ({
  ...{ account: null as never, names: new Map(), people: new Map(), floors: new Map(), sharesReading: true },
});

const PARSERS: Readonly<Record<string, (data: Bytes) => unknown>> = {
  value: (data) => hex(pack(unpack(data))),
  relay: (data) => decodeFromRelay(data).map(shown).join(),
  device: (data) => decodeFromDevice(data).map(shown).join(),
  bundle: (data) => hex(serializeBundle(parseBundle(data))),
  envelope: (data) => hex(serializeEnvelope(parseEnvelope(data))),
  manifest: (data) => {
    const { version, suites, devices, ...rest } = verifyManifest(data);
    const flags = devices.map((device) => device.flags);
    return hex(
      pack([version, [...suites], [...devicesOf({ ...rest, version, suites, devices } as never)], flags]),
    );
  },
  info: (data) => hex(serializeInfo(parseInfo(data))),
  trust: (data) => hex(serializeTrust(parseTrust(data))),
  call: (data) => {
    const [kind, body] = values(data);
    if (typeof kind !== "string" || !(body instanceof Map)) throw new PackingError("no call");
    return hex(pack(messageBody(parseMessage(kind, body), callIdOf(body))));
  },
  sdp: (data) => {
    const { fingerprint, kinds } = readDescription(text(data));
    return `${hex(fingerprint)} ${kinds.join()}`;
  },
  name: (data) => hex(utf8(safeName(text(data)))),
  words: (data) => hex(recoverySeed(text(data))),
  link: (data) => hex(LinkSecret.read(text(data)).unsafeValue()),
  safety: (data) =>
    checkScanned(
      { portal: PORTAL, user: ANNA, identityKey: DEVICE.public, other: BEN, otherKey: OTHER.public },
      text(data),
    ),
  whisper: async (data) => {
    const opened = await whisperBox().open(data, 0);
    return opened === null ? "waits" : hex(pack([opened.leaf, opened.kind, opened.body]));
  },
  hello: (data) => {
    const greeting = new Greeting(new LinkSecret(SEED), "new", SELF, (length) => filled(5, length));
    const { hello } = greeting.meet(data);
    return hex(pack([hello.portal, hello.user, hello.deviceKey, hello.name]));
  },
  grant: (data) => {
    const other = { ...SELF, deviceKey: OTHER.public };
    const { account, names } = readGrant(values(data), DEVICE, SELF, other);
    const identity = account.identity?.public ?? new Uint8Array();
    return hex(
      pack([account.name, identity, account.manifest.raw, [...names].map(([id, name]) => [id, name])]),
    );
  },
  people: (data) => {
    const found = told();
    readMore(found, "people", values(data));
    return hex(pack([...found.people].map(([user, { trust, name }]) => [user, trust, name])));
  },
  floor: (data) => {
    const found = told();
    readMore(found, "floor", values(data));
    return [...found.floors]
      .map(([id, state]) => {
        const { lastCommit, highestEpoch, transcript, suite, met, admitted, read } = state;
        const incarnation = state.incarnation ?? new Uint8Array();
        const peers = [...state.peers].map(([device, [user, seq]]) => [device, user, seq]);
        const reads = [...state.reads].map(([user, seq]) => [user, seq]);
        const whole = [id, incarnation, lastCommit, highestEpoch, transcript, suite, [...met], [...admitted]];
        return hex(pack([...whole, peers, read, reads] as Packable));
      })
      .join();
  },
  floors: (data) => {
    const found = told();
    checkWhole(found, values(data));
    return String(found.sharesReading);
  },
  ref: (data) => {
    const [engagement, ref] = readHistoryRef(values(data));
    return hex(pack([engagement, ref && [ref.via, ref.blob, ref.key, ref.size]]));
  },
  writer: (data) => {
    const { deviceKey, rank, before } = verifyWriter(data, PORTAL, ANNA, recoveryKey(SEED).public);
    const known = before.map((one) => [one.engagement, one.series, one.parts, one.head] as const);
    return hex(pack([deviceKey, rank, known]));
  },
  part: async (data) => {
    const opened = await openPart({ ...PLACE, previous: KEY }, data, recoveryKey(SEED));
    opened.checkWriter(DEVICE.public);
    const { atMs, items, people, writer } = opened.content;
    const rows = items.map((columns) => kept(archivedRow(columns, ANNA, 1)));
    return hex(pack([atMs, rows, people.map((one) => [one.user, one.trust, one.name]), writer]));
  },
  history: async (data) => {
    const found: string[] = [];
    const read = async (at: number, length: number) => data.slice(at, at + length);
    for await (const record of openHistory(KEY, read, data.length)) found.push(hex(pack([...record])));
    return found.join();
  },
  item: (data) => hex(pack(kept(rowIn(unpack(data) as ValueMap, ANNA, 1)))),
};

async function verdict([parser, data]: readonly [string, string]): Promise<string> {
  const parse = PARSERS[parser];
  if (parse === undefined) return `there is no parser ${parser}`;
  try {
    const found = String((await parse(unhex(data))) ?? "");
    return `ok ${hex(sha256(concat(utf8(found)))).slice(0, 32)} ${found.slice(0, 200)}`;
  } catch (error) {
    if (error instanceof CoachRelayError) return `no ${error.code}`;
    if (error instanceof PackingError) return "no packing";
    // Texts that are no UTF-8 never come so far; everything else is a fault of the parser.
    if (error instanceof TypeError && parser in TEXTS) return "no packing";
    return `crash ${(error as Error).stack}`;
  }
}

const TEXTS = { sdp: 1, name: 1, words: 1, link: 1, safety: 1 };

for await (const line of createInterface({ input: process.stdin })) {
  const verdicts = await Promise.all((JSON.parse(line) as [string, string][]).map(verdict));
  process.stdout.write(`${JSON.stringify(verdicts)}\n`);
}
