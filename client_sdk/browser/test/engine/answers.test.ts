import { beforeAll, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { ready, sha256 } from "../../src/crypto.ts";
import { Outbox } from "../../src/delivery/outbox.ts";
import { refused, withdraw } from "../../src/engine/answers.ts";
import { NEW_STATE } from "../../src/engine/state.ts";
import { Work } from "../../src/engine/work.ts";
import { MESSAGE } from "../../src/wire/fields.ts";
import { ENGAGEMENT, World } from "../devices/world.ts";

const [message, commit] = [utf8("message".padEnd(16, ".")), utf8("commit".padEnd(16, "."))];

beforeAll(ready);

/** A message on its way, encrypted before somebody else's commit 7, and a commit of ours behind it. */
async function overtaken(): Promise<Work> {
  const world = await World.begin();
  const hash = sha256(utf8("body"));
  const said = new Outbox().enqueue(message).encrypted(message, 3, hash).sent();
  const box = said.offerCommit(commit, 7, hash).sent();
  const pending = { id: commit, body: utf8("body"), after: utf8("group"), reason: "change" } as const;
  const shared = { ...world.shared, account: world.account };
  return new Work(shared, ENGAGEMENT, { ...NEW_STATE, lastCommit: 7, box, pending });
}

test("a commit behind a message that another commit overtook does not wait: nothing would be said any more", async () => {
  const work = await overtaken();
  const [box, action] = refused(work.state.box, { counter: 1, code: "stale", lastCommit: 7 });
  await withdraw(work, box);
  expect(action).toBe("encrypt_afresh");
  expect(work.state.pending).toBeNull();
  expect(work.state.box.items.map(({ id, kind, state }) => [id, kind, state])).toEqual([
    [message, MESSAGE, "queued"],
  ]);
  expect(work.changed.size).toBe(0); // nothing is missing, so no gap is shown
});
