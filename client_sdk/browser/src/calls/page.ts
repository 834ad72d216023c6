/** Calls, in the page. */

import type { CallApi, Ring, RoomApi } from "../api.ts";
import { hex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import type { Bridge } from "../page/bridge.ts";
import { CoachRelayFailure } from "../page/bridge.ts";
import { CALL_ID_BYTES } from "./messages.ts";
import { PageCall } from "./pageCall.ts";
import type { RingNews, RingOver } from "./told.ts";
import { RING, RING_OVER } from "./told.ts";

export interface RoomCalling extends Pick<RoomApi, "call"> {
  /** What rings now, for whoever begins to listen. */
  rings(): readonly Ring[];
}

export interface CallingOptions {
  /** Calls go through a TURN server alone: the other side never learns this device's addresses. */
  readonly relayOnly?: boolean;
}

const UNABLE = {
  code: "call_unsupported",
  message:
    "This browser cannot make calls: it lacks WebRTC, or somebody switched it off. Use a current Chrome, Edge, " +
    "Firefox or Safari.",
};

/** `ring` is called when somebody calls. */
export function roomCalling(
  engagement: string,
  bridge: Bridge,
  ring: (ring: Ring) => void,
  { relayOnly = false }: CallingOptions = {},
): RoomCalling {
  const made = (call: string, user: string, media: readonly Media[], state: "ringing" | "connecting") =>
    new PageCall({ engagement, bridge, call, user, media, state, relayOnly });
  const ringing = new Map<string, Ring>();
  bridge.on<RingNews>(RING, engagement, ({ call, user, media }) => {
    const rung: Ring = {
      call,
      user,
      media,
      accept: ({ video }) => taken(made(call, user, media, "connecting"), video),
      decline: async () => void (await bridge.call("callDecline", engagement, call)),
      over: new Promise((resolve) => {
        const stop = bridge.on<RingOver>(RING_OVER, engagement, (over) => {
          if (over.call !== call) return;
          stop();
          ringing.delete(call);
          resolve(over.why);
        });
      }),
    };
    ringing.set(call, rung);
    ring(rung);
  });
  const taken = async (call: PageCall, video: boolean): Promise<CallApi> => {
    checkAble();
    await call.open(video);
    if (call.ended === null) await entering(call, () => bridge.call("callTake", engagement, call.id));
    return call;
  };
  const begin = async (call: PageCall, video: boolean): Promise<void> => {
    await call.open(video);
    if (call.ended === null)
      await entering(call, () => bridge.call("callInvite", engagement, call.id, video));
  };
  bridge.call("callsWatch", engagement).catch(() => undefined); // whoever opens the room hears why it fails
  return {
    rings: () => [...ringing.values()],
    call: async ({ video }) => {
      checkAble();
      const user = await bridge.call("callAble", engagement);
      const id = hex(crypto.getRandomValues(new Uint8Array(CALL_ID_BYTES)));
      const call = made(id, user, video ? ["audio", "video"] : ["audio"], "ringing");
      // The person may be asked for long; meanwhile it can be seen, and ended.
      void begin(call, video).catch(() => undefined); // its end says why
      return call;
    },
  };
}

function checkAble(): void {
  if (typeof RTCPeerConnection === "undefined") throw new CoachRelayFailure(UNABLE);
}

/** What the Worker does not take ends the call, and says why. */
async function entering(call: PageCall, ask: () => Promise<unknown>): Promise<void> {
  call.entered = true;
  try {
    await ask();
  } catch (error) {
    const { code = "internal", message } = error as Partial<CoachRelayFailure> & Error;
    call.end({ code, message });
    throw error;
  }
}
