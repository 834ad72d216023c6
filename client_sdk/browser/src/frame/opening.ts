/** The device of this browser, as `RelayApi`. */

import type { CoachRelayOptions, RelayApi, RoomApi } from "../api.ts";
import { type CoachRelay, createCoachRelay } from "../client.ts";

const listening = (target: EventTarget) => (event: string, listener: (detail: never) => void) => {
  const hear = (happened: Event): void => listener((happened as CustomEvent).detail as never);
  target.addEventListener(event, hear);
  return () => target.removeEventListener(event, hear);
};

/** Open it; asks for its first use where there is none yet. */
export async function openRelay(options: CoachRelayOptions): Promise<RelayApi> {
  const made: CoachRelay = await createCoachRelay(options);
  const rooms = async (id: string): Promise<RoomApi> => {
    const room = await made.engagement(id);
    return Object.assign(room, { on: listening(room) }) as unknown as RoomApi;
  };
  return {
    me: made.me,
    on: listening(made),
    engagement: rooms,
    destroy: () => made.destroy(),
  } as unknown as RelayApi;
}
