/** A person's own devices, in the page. */

import type { CoachRelayOptions, RelayApi } from "../api.ts";
import { NotThereYet } from "../errors.ts";
import type { Answers, Bridge } from "../page/bridge.ts";

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
>;

export function ownDevices(_bridge: Bridge): OwnDevices {
  const lacking = async (): Promise<never> => {
    throw new NotThereYet("This version of the app in the browser cannot change your devices yet.");
  };
  return {
    devices: lacking,
    renameDevice: lacking,
    removeDevice: lacking,
    findNewcomer: lacking,
    linkNewcomer: lacking,
    refuseNewcomer: lacking,
    recoveryKitDue: async () => false,
    recoveryKit: lacking,
    kitMade: lacking,
    archive: async () => false,
    setArchive: lacking,
  };
}

/** What the page answers when the Worker asks how to begin; keyed by the question's name. */
export const firstUseAnswers = (_firstUse: CoachRelayOptions["firstUse"]): Answers => ({});
