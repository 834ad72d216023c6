import { beforeAll, describe, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { hex, unhex } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";
import { Archives, begunRecord, parseRecord, writeRecord } from "../../src/devices/archive/keeping.ts";
import { headOf, NO_HEAD, openPart } from "../../src/devices/archive/parts.ts";
import { dirtyName } from "../../src/engine/work.ts";
import { RecordInvalid, RelayRefused, RelayUnreachable } from "../../src/errors.ts";
import { recoveryKey } from "../../src/identity/recovery.ts";
import { pack, unpack } from "../../src/msgpack.ts";
import type { Asked } from "./world.ts";
import { ANNA, ENGAGEMENT, message, PORTAL, World } from "./world.ts";

beforeAll(ready);

const honest = (question: Asked): unknown =>
  question.frame === "PutArchive" ? { parts: question.number } : { parts: 0 };

async function keeping(): Promise<{ world: World; archives: Archives }> {
  const world = await World.begin();
  world.answer = honest;
  const archives = new Archives(world.engine);
  await archives.keep();
  return { world, archives };
}

/** The ids that came out of the parts that the relay got, in their order. */
async function archived(world: World): Promise<readonly (readonly string[])[]> {
  const recovery = recoveryKey(world.account.recoverySeed);
  const [found, heads]: [string[][], Bytes[]] = [[], [NO_HEAD]];
  for (const { series, number, part } of world.asking("PutArchive")) {
    const place = { portal: PORTAL, user: ANNA, engagement: ENGAGEMENT };
    const previous = heads.at(-1) ?? NO_HEAD;
    const at = { ...place, series: series as Bytes, number: number as number, previous };
    const { content } = await openPart(at, part as Bytes, recovery);
    found.push(content.items.map(([id]) => hex(id as Bytes)));
    heads.push(headOf(part as Bytes));
  }
  return found;
}

describe("the record of how far an archive is", () => {
  const record = begunRecord((length) => new Uint8Array(length), 7);
  const { value } = writeRecord(ENGAGEMENT, record);
  const fields = unpack(value ?? new Uint8Array()) as (number | Bytes)[];

  test("comes back as it was", () => expect(parseRecord(value ?? new Uint8Array())).toEqual(record));

  test.each(fields.map((_, at) => at))("field %d of another form is refused", (at) => {
    for (const wrong of ["7", null, -1, new Uint8Array(3), [1]]) {
      if (at === 4 && wrong instanceof Uint8Array) continue; // a part is of any length
      const changed = fields.map((field, i) => (i === at ? wrong : field));
      expect(() => parseRecord(pack(changed))).toThrow(RecordInvalid);
    }
  });

  test.each(["", "c1", "90", "c0"])("no record: %s", (packed) => {
    expect(() => parseRecord(unhex(packed))).toThrow(RecordInvalid);
  });
});

describe("keeping an archive", () => {
  test("each item is in one part, also where several stand at one position at a part's border", async () => {
    const { world, archives } = await keeping();
    const long = "x".repeat(30_000);
    const items = [1, 2, 3, 3, 3, 3, 4].map((seq, at) => message(seq, at, long));
    await world.keep(...items);
    await archives.catchUp();
    const parts = await archived(world);
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.flat()).toEqual(items.map(({ id }) => id));
  });

  test("each item is in one part, also where several stand at one position at a page's border", async () => {
    const { world, archives } = await keeping();
    const items = Array.from({ length: 205 }, (_, at) => message(at < 198 ? at + 1 : 199, at + 1000));
    await world.keep(...items);
    await archives.catchUp();
    expect((await archived(world)).flat()).toEqual(items.map(({ id }) => id));
  });

  test("what changes while a part is being made is in the next", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1), message(2, 2));
    await archives.catchUp();
    const { id } = message(1, 1);
    const dirty = { name: dirtyName(ENGAGEMENT, id), value: Uint8Array.of(1) };
    await world.vault.write([dirty]);
    world.answer = (question) => {
      if (question.frame === "PutArchive" && question.number === 2) void world.vault.write([dirty]);
      return honest(question);
    };
    await archives.catchUp();
    await archives.catchUp();
    expect((await archived(world)).slice(1)).toEqual([[id], [id]]);
  });

  test("a part whose answer was lost is sent again as it was", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    world.answer = () => {
      throw new RelayUnreachable("cut off");
    };
    await expect(archives.catchUp()).rejects.toThrow(RelayUnreachable);
    world.answer = honest;
    await archives.catchUp();
    const [first, again] = world.asking("PutArchive");
    expect(again).toEqual(first);
    expect(world.asking("PutArchive")).toHaveLength(2);
  });

  test("what the relay refuses for one conversation keeps back no other one", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    world.conversations.push(world.conversation);
    let asked = 0;
    world.answer = (question) => {
      if (question.frame === "PutArchive" && ++asked === 1)
        throw new RelayRefused("no room", "quota_exceeded");
      return honest(question);
    };
    await expect(archives.catchUp()).rejects.toThrow(RelayRefused);
    expect(asked).toBe(2);
    await archives.catchUp();
    expect(asked).toBe(2);
  });

  test("a relay that lost parts is an alarm, and keeps nobody busy", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    world.answer = () => ({ parts: 0 });
    await archives.catchUp();
    expect(world.alarms.map(({ code }) => code)).toEqual(["archive_rolled_back"]);
    expect(world.asking("PutArchive")).toHaveLength(1);
    world.answer = honest;
    await archives.catchUp(); // all of it once more, as another series
    const [lost, anew] = world.asking("PutArchive");
    expect(anew?.number).toBe(1);
    expect(anew?.series).not.toEqual(lost?.series);
  });

  test("a damaged record ends this attempt alone: off and on again, it is whole", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    await world.vault.write([{ name: `archive/of/${ENGAGEMENT}`, value: pack(["no record"]) }]);
    await expect(archives.goOn()).rejects.toThrow("off and on again");
    await expect(archives.goOn()).rejects.toThrow("off and on again"); // and not silently nothing
    await archives.erase();
    await archives.keep();
    await archives.catchUp();
    expect((await archived(world)).flat()).toEqual([message(1, 1).id]);
  });
});

describe("erasing an archive", () => {
  test("nothing is written while it is being erased, nor after it", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    await Promise.all([archives.catchUp(), archives.erase(), archives.catchUp()]);
    expect(world.asked.map(({ frame }) => frame)).toEqual(["PutArchive", "EraseArchive"]);
    expect(await archives.wanted()).toBe(false);
    expect(await world.vault.get(`archive/of/${ENGAGEMENT}`)).toBeNull();
  });

  test("of an engagement that is over there is nothing to erase; another refusal leaves it on", async () => {
    const { world, archives } = await keeping();
    await world.keep(message(1, 1));
    await archives.catchUp();
    world.answer = () => {
      throw new RelayRefused("later", "rate_limited");
    };
    await expect(archives.erase()).rejects.toThrow(RelayRefused);
    expect(await archives.wanted()).toBe(true);
    world.answer = () => {
      throw new RelayRefused("no such", "not_found");
    };
    await archives.erase();
    expect(await archives.wanted()).toBe(false);
  });
});

test("a linked device keeps none: it has no word of the recovery key", async () => {
  const world = await World.begin();
  (world.account as { recoverySeed: Bytes }).recoverySeed = new Uint8Array();
  await expect(new Archives(world.engine).keep()).rejects.toThrow("Turn it on there");
});
