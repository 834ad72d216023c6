/**
 * A long history in the vault of the page that runs this, as `npm run measure` needs it: records as the engine writes
 * them, so that they are read, opened and drawn as any others.
 */

import { utf8 } from "../../src/bytes.ts";
import { text } from "../../src/content/messages.ts";
import type { Stored } from "../../src/engine/history.ts";
import { historyName, indexName, parseStored, placeOf, serializeStored } from "../../src/engine/history.ts";
import { Vault } from "../../src/vault/vault.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";

const BATCH = 500;
const MINUTE_MS = 60_000;
const HEX = 32;

/** Put so many messages before those that are there; resolves with how many there are then. */
async function seed(count: number): Promise<number> {
  const names = (await indexedDB.databases()).map(({ name }) => name?.split("/") ?? []);
  const [, portal, user] = names.find(([first]) => first === "coach-relay") ?? [];
  const vault = await Vault.open(parsePortalId(portal ?? ""), parseUserId(user ?? ""));
  const known = [...(await vault.scan("history/")).entries()];
  const [name] = known[0] ?? [""];
  const stored = known.map(([, value]) => parseStored(value));
  const model = stored.find(({ envelope }) => envelope?.content.kind === "text");
  const engagement = parseEngagementId(name.split("/")[1] ?? "");
  if (model === undefined) throw new Error("say something first: it is the model of what is put before it");
  const first = Math.min(...stored.map(({ sentMs }) => sentMs));
  for (let from = 0; from < count; from += BATCH) {
    const made = Array.from({ length: Math.min(BATCH, count - from) }, (_, at) =>
      message(model, from + at, first - (count - from - at) * MINUTE_MS),
    );
    await vault.write(
      made.flatMap((one) => [
        { name: historyName(engagement, placeOf(one)), value: serializeStored(one) },
        { name: indexName(engagement, one.id), value: utf8(placeOf(one)) },
      ]),
    );
  }
  vault.close();
  return known.length + count;
}

/** Of both people, from a word to some lines long. They stand at the stream's first position, one behind the other. */
function message(model: Stored, n: number, sentMs: number): Stored {
  if (model.envelope === null) throw new Error("the model says nothing");
  const said = `Message ${n}. ${"What we said about the week. ".repeat(n % 12)}`;
  return {
    ...model,
    id: (n + 1).toString(16).padStart(HEX, "0"),
    seq: 1,
    order: n,
    user: n % 3 === 0 ? model.user : "ben",
    mine: n % 3 === 0,
    sentMs,
    envelope: { ...model.envelope, sentMs, content: text(said, null) },
    acts: [],
  };
}

Object.assign(globalThis, { seed });
