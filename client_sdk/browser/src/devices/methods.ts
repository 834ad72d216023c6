/** A person's own devices, in the Worker: linking, removing, the recovery kit. */

import type { Device, Newcomer } from "../api.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";
import { UsageError } from "../errors.ts";
import { checkRecoveryWord, WORDS } from "../identity/recovery.ts";
import { Archives, WRITER } from "./archive/keeping.ts";
import { Histories } from "./histories.ts";
import type { Kit } from "./kit.ts";
import { kitOf } from "./kit.ts";
import { Line } from "./line.ts";
import { Linking } from "./linking.ts";
import { OwnList } from "./ownList.ts";

/** Words typed off the page show that it was printed, or at least written down. */
const WORDS_ASKED = 2;

/** What the page may ask about devices. */
export interface DeviceCalls {
  devices(): readonly Device[];
  deviceRename(id: string, name: string): null;
  deviceRemove(id: string): null;
  newcomerFind(shown: string): Newcomer;
  newcomerLink(id: string, mayLink: boolean): null;
  newcomerRefuse(id: string): null;
  kitDue(): boolean;
  kit(): Kit & { readonly asked: readonly number[] };
  kitMade(words: Readonly<Record<number, string>>): null;
  archiveWanted(): boolean;
  archiveKeep(on: boolean): null;
  archiveNow(): null;
}

/** What may be asked twice. */
export const SAFE_DEVICES: readonly (keyof DeviceCalls)[] = [
  ...(["devices", "deviceRename", "kitDue", "kit", "archiveWanted", "archiveNow"] as const),
];

export function devicesPart(engine: Engine): Part<DeviceCalls> {
  const lines = new Set<Line>();
  const openLine = (channel: Bytes) => {
    const line = new Line(engine.askRelay, channel);
    lines.add(line);
    return line;
  };
  const own = new OwnList(engine);
  const linking = new Linking(engine, own, lines, openLine);
  const histories = new Histories(engine, openLine);
  const archives = new Archives(engine);
  return {
    methods: {
      devices: () => own.devices(),
      async deviceRename(id, name) {
        await own.rename(id, name);
        return null;
      },
      async deviceRemove(id) {
        await own.remove(id);
        return null;
      },
      newcomerFind: (shown) => linking.find(shown),
      async newcomerLink(id, mayLink) {
        await linking.link(id, mayLink, (done, of) => engine.tell("@linking", null, { id, done, of }));
        return null;
      },
      async newcomerRefuse(id) {
        await linking.refuse(id);
        return null;
      },
      kitDue: async () => engine.account.recoverySeed.length > 0,
      kit: async () => ({
        ...kitOf(engine.account, engine.environment.nowMs()),
        asked: askedWords(engine.account.recoverySeed),
      }),
      async kitMade(words) {
        const { account } = engine;
        const seed = account.recoverySeed;
        if (seed.length === 0) throw new UsageError("The recovery kit was made already.");
        const asked = askedWords(seed);
        for (const number of asked) checkRecoveryWord(seed, number, words[number] ?? "");
        await engine.vault.write([{ name: WRITER, value: await archives.writer() }]);
        await engine.useAccount({ ...engine.account, recoverySeed: new Uint8Array() });
        return null;
      },
      archiveWanted: () => archives.wanted(),
      async archiveKeep(on) {
        await (on ? archives.keep() : archives.erase());
        return null;
      },
      async archiveNow() {
        await archives.catchUp();
        return null;
      },
    },
    listening: {
      async online() {
        await own.goOn();
        await Promise.all([histories.goOn(), linking.goOn(), archives.goOn()]);
      },
      item: () => archives.changed(),
      offline() {
        for (const line of lines) line.broken();
      },
      async frame(frame) {
        if (frame.frame !== "RendezvousFrom") return;
        for (const line of lines) if (equal(line.channel, frame.channel)) line.feed(frame.body);
      },
      destroyed() {
        linking.destroy();
        histories.destroy();
        archives.destroy();
      },
    },
  };
}

/** Which words to type back (from 1): always the same of one kit, so that asking again gives no others. */
function askedWords(seed: Bytes): readonly number[] {
  const first = (seed[0] ?? 0) % WORDS;
  const second = (first + 1 + ((seed[1] ?? 0) % (WORDS - 1))) % WORDS;
  return [first + 1, second + 1].toSorted((one, other) => one - other).slice(0, WORDS_ASKED);
}
