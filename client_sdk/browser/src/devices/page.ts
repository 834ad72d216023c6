/** A person's own devices, in the page. */

import type { CoachRelayOptions, FirstUse, Notice, RelayApi } from "../api.ts";
import type { Answers, Bridge } from "../page/bridge.ts";
import type { Shown } from "./arriving.ts";
import type { Beginning } from "./first.ts";

export type OwnDevices = Pick<
  RelayApi,
  | "devices"
  | "renameDevice"
  | "removeDevice"
  | "findNewcomer"
  | "linkNewcomer"
  | "refuseNewcomer"
  | "recoveryKitDue"
  | "recoveryKit"
  | "kitMade"
  | "archive"
  | "setArchive"
  | "waitArchived"
>;

interface LinkProgress {
  readonly id: string;
  readonly done: number;
  readonly of: number;
}

export function ownDevices(bridge: Bridge): OwnDevices {
  return {
    devices: () => bridge.call("devices"),
    async renameDevice(id, name) {
      await bridge.call("deviceRename", id, name);
    },
    async removeDevice(id) {
      await bridge.call("deviceRemove", id);
    },
    findNewcomer: (shown) => bridge.call("newcomerFind", shown),
    async linkNewcomer({ id }, { mayLink, progress }) {
      const leave = bridge.on<LinkProgress>("@linking", null, (told) => {
        if (told.id === id) progress?.(told.done, told.of);
      });
      try {
        await bridge.call("newcomerLink", id, mayLink);
      } finally {
        leave();
      }
    },
    async refuseNewcomer({ id }) {
      await bridge.call("newcomerRefuse", id);
    },
    recoveryKitDue: () => bridge.call("kitDue"),
    recoveryKit: () => bridge.call("kit"),
    async kitMade(words) {
      await bridge.call("kitMade", words);
    },
    archive: () => bridge.call("archiveWanted"),
    async setArchive(on) {
      await bridge.call("archiveKeep", on);
    },
    async waitArchived() {
      await bridge.call("archiveNow");
    },
  };
}

/** What the page answers when the Worker asks how to begin; keyed by the question's name. */
export function firstUseAnswers(firstUse: CoachRelayOptions["firstUse"]): Answers {
  if (firstUse === undefined) return {};
  let chosen: FirstUse = { kind: "new" };
  return {
    async firstUse(known: { readonly elsewhere: boolean; readonly failure: Notice | null }) {
      chosen = await firstUse(known);
      return beginning(chosen);
    },
    async firstUseShow(shown: Shown) {
      if (chosen.kind === "link") chosen.show(shown);
    },
    async firstUseProgress(done: number, of: number) {
      if (chosen.kind !== "new") chosen.progress?.(done, of);
    },
  };
}

/** What of the person's choice goes to the Worker: functions stay here. */
function beginning(chosen: FirstUse): Beginning {
  if (chosen.kind === "link") return { kind: "link", deviceName: chosen.deviceName };
  if (chosen.kind === "new") return { kind: "new" };
  return { kind: "recover", words: chosen.words, unchecked: chosen.unchecked === true };
}
