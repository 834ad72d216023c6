/** Calls, in the page. */

import type { Ring, RoomApi } from "../api.ts";
import { NotThereYet } from "../errors.ts";
import type { Bridge } from "../page/bridge.ts";

export type RoomCalling = Pick<RoomApi, "call">;

/** `ring` is to be called when somebody calls. */
export function roomCalling(_engagement: string, _bridge: Bridge, _ring: (ring: Ring) => void): RoomCalling {
  return {
    call: async () => {
      throw new NotThereYet("This version of the app in the browser cannot call yet.");
    },
  };
}
