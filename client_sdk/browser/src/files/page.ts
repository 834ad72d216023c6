/** Files, in the page. */

import type { RoomApi } from "../api.ts";
import type { Bridge } from "../page/bridge.ts";
import { freshId } from "../page/ids.ts";

export type RoomFiles = Pick<RoomApi, "sendFile" | "openFile" | "transfers" | "pause" | "resume" | "cancel">;

/** A file goes to the Worker as it is: the browser reads it there, piece by piece. */
export const roomFiles = (engagement: string, bridge: Bridge): RoomFiles => ({
  sendFile: (file) => bridge.call("fileSend", engagement, freshId(), file),
  openFile: (id) => bridge.call("fileOpen", engagement, id),
  transfers: () => bridge.call("fileTransfers", engagement),
  async pause(transfer) {
    await bridge.call("filePause", engagement, transfer);
  },
  async resume(transfer) {
    await bridge.call("fileResume", engagement, transfer);
  },
  async cancel(transfer) {
    await bridge.call("fileCancel", engagement, transfer);
  },
});
