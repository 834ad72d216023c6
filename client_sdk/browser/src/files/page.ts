/** Files, in the page. */

import type { RoomApi } from "../api.ts";
import { NotThereYet } from "../errors.ts";
import type { Bridge } from "../page/bridge.ts";

export type RoomFiles = Pick<RoomApi, "sendFile" | "openFile" | "transfers" | "pause" | "resume" | "cancel">;

export function roomFiles(_engagement: string, _bridge: Bridge): RoomFiles {
  const lacking = async (): Promise<never> => {
    throw new NotThereYet("This version of the app in the browser neither sends nor opens files.");
  };
  return {
    sendFile: lacking,
    openFile: lacking,
    transfers: async () => [],
    pause: lacking,
    resume: lacking,
    cancel: lacking,
  };
}
