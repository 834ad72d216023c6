/** Calls, in the page. */

import type { CallApi, Ring, RoomApi } from "../api.ts";
import { hex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import type { Bridge } from "../page/bridge.ts";
import { CoachRelayFailure } from "../page/bridge.ts";
import { takeLeft } from "./left.ts";
import { CALL_ID_BYTES } from "./messages.ts";
import { PageCall } from "./pageCall.ts";
import type { RingNews, RingOver } from "./told.ts";
import { RING, RING_OVER } from "./told.ts";

export interface RoomCalling extends Pick<RoomApi, "call"> {
  /** What rings now, for whoever begins to listen. */
  rings(): readonly Ring[];
}

export interface CallingOptions {
  /** Whether the next call goes through a TURN server alone: the other side never learns this device's addresses. */
  relayOnly(): boolean;
}

/** What is refused at once is told where it was pressed; what takes longer is told in the call. */
const SOON_MS = 1000;

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
  { relayOnly }: CallingOptions,
): RoomCalling {
  const made = (call: string, user: string, media: readonly Media[], state: "ringing" | "connecting") =>
    new PageCall({ engagement, bridge, call, user, media, state, relayOnly: relayOnly() });
  const ringing = new Map<string, Ring>();
  bridge.on<RingNews>(RING, engagement, ({ call, user, media, returns }) => {
    if (ringing.has(call)) return;
    const over = new Promise<string>((resolve) => {
      const stop = bridge.on<RingOver>(RING_OVER, engagement, (over) => {
        if (over.call !== call) return;
        stop();
        ringing.delete(call);
        resolve(over.why);
      });
    });
    const rung: Ring = {
      call,
      user,
      media,
      returns,
      accept: ({ video }) => taken(made(call, user, media, "connecting"), video),
      decline: async () => void (await bridge.call("callDecline", engagement, call)),
      over,
    };
    ringing.set(call, rung);
    ring(rung);
  });
  const taken = async (call: PageCall, video: boolean): Promise<CallApi> => {
    checkAble();
    const stop = bridge.on<RingOver>(
      RING_OVER,
      engagement,
      (over) => over.call === call.id && call.over(over.why),
    );
    const entered = begin(call, video, () => bridge.call("callTake", engagement, call.id, call.by));
    await Promise.race([entered.finally(stop), soon()]);
    return call;
  };
  const begin = async (call: PageCall, video: boolean, ask: () => Promise<unknown>): Promise<void> => {
    await call.open(video);
    if (call.ended === null) await call.enter(ask);
  };
  bridge.on("online", null, () => {
    const rings = [...ringing.values()].filter(({ returns }) => !returns).map(({ call }) => call);
    bridge.call("callsLookBack", engagement, rings).catch(() => undefined); // likewise
  });
  bridge.call("callsWatch", engagement, takeLeft(engagement)).catch(() => undefined); // whoever opens the room hears why it fails
  return {
    rings: () => [...ringing.values()],
    call: async ({ video }) => {
      checkAble();
      const user = await bridge.call("callAble", engagement);
      const id = hex(crypto.getRandomValues(new Uint8Array(CALL_ID_BYTES)));
      const call = made(id, user, video ? ["audio", "video"] : ["audio"], "ringing");
      // The person may be asked for long; meanwhile it can be seen, and ended.
      const invite = () => bridge.call("callInvite", engagement, call.id, video);
      void begin(call, video, invite).catch(() => undefined); // its end says why
      return call;
    },
  };
}

function checkAble(): void {
  if (typeof RTCPeerConnection === "undefined") throw new CoachRelayFailure(UNABLE);
}

/** The person may be asked for microphone and camera, or the device is on its way to this tab: the call is shown meanwhile. */
const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SOON_MS));
