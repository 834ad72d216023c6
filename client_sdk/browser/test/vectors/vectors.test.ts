import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { unhex } from "../../src/bytes.ts";
import { parseEnvelope } from "../../src/content/envelope.ts";
import { ready } from "../../src/crypto.ts";
import { verifyManifest } from "../../src/identity/manifest.ts";
import { PackingError, unpack } from "../../src/msgpack.ts";
import * as calls from "./calls.ts";
import * as check from "./check.ts";
import * as devices from "./devices.ts";
import { make, makeSealed } from "./make.ts";

const FOLDER = new URL("../../../../tests/vectors/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as check.Vectors;

await ready();

const OURS = new URL("typescript.json", FOLDER);
if (process.env.MAKE_VECTORS !== undefined || !existsSync(OURS)) {
  writeFileSync(OURS, `${JSON.stringify({ ...(await make()), ...(await makeSealed()) }, null, 0)}\n`);
}

test("the file is what this SDK makes", async () => {
  const { files: _, histories: __, archives: ___, ...made } = read("typescript.json");
  expect(JSON.parse(JSON.stringify(await make()))).toEqual(made);
});

describe.each(["python.json", "typescript.json"])("%s", (name) => {
  const vectors = read(name);

  test.each(vectors.msgpack)("value $packed", check.checkValue);
  test.each(vectors.msgpack_refused)("no value: %s", (packed) => {
    expect(() => unpack(unhex(packed))).toThrow(PackingError);
  });
  test.each(vectors.frames)("frame $frame", check.checkFrame);
  test("every frame is there", () => {
    expect([...new Set(vectors.frames.map(({ frame }) => frame))].sort()).toEqual(check.FRAME_NAMES.sort());
  });
  test.each(vectors.frames_refused)("no frame: $code $message", (vector) => {
    expect(check.refusedFrame(vector)).toBe(vector.code);
  });
  test.each(vectors.bundles)("bundle", check.checkBundleVector);
  test.each(vectors.padding)("padding of %d", (...vector) => check.checkPadding(vector));
  test.each(vectors.content)("content $kind", check.checkContent);
  test.each(vectors.content_refused)("no content: $code $packed", ({ packed, code }) => {
    expect(check.codeOf(() => parseEnvelope(unhex(packed)))).toBe(code);
  });
  test.each(vectors.manifests)("manifest $user $version", check.checkManifest);
  test.each(vectors.manifests_refused)("no manifest: %s", (raw) => {
    expect(check.codeOf(() => verifyManifest(unhex(raw)))).toBe("manifest_invalid");
  });
  test("successors", () => check.checkSuccessors(vectors));
  test.each(vectors.conversations)("conversation $group_id", check.checkConversation);
  test("stream", () => expect(check.streamHashes(vectors.stream)).toEqual(vectors.stream.map(({ S }) => S)));
  test.each(vectors.safety_numbers)("safety number of $user", check.checkSafetyNumber);
  test.each(vectors.call_words)("call words $words", check.checkWords);
  test.each(vectors.ephemeral)("ephemeral $kind", check.checkEphemeral);
  test.each(vectors.meetings)("meeting $words", check.checkMeeting);
  test.each(vectors.recovery)("recovery $words", check.checkRecovery);
  test.each(vectors.files)("file of $size bytes", check.checkFile);
  test.each(vectors.call_messages)("message $kind", calls.checkMessage);
  test.each(vectors.call_messages_refused)("no message: $kind", calls.checkNoMessage);
  test.each(vectors.descriptions)("description with $fingerprint", calls.checkDescription);
  test.each(vectors.descriptions_refused)("no description: %j", calls.checkNoDescription);
  test.each(vectors.archive_writers)("archive writer of rank $rank", devices.checkWriter);
  test.each(vectors.histories)("history of $engagement", devices.checkHistory);
  test.each(vectors.archives)("archive of $engagement", devices.checkArchive);
  test.each(vectors.names)("name %j", calls.checkName);
});
