/** Calls, in the Worker: what is said about them in the conversation; sound and picture are the page's. */

import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";
import { Calls } from "./calls.ts";
import type { LeftCall, MediaNews } from "./told.ts";

/** What the page may ask about calls. */
export interface CallCalls {
  /** Look for what rings, and for the call that this tab left. */
  callsWatch(engagement: string, left: LeftCall | null): null;
  /** Whom a call would be to. */
  callAble(engagement: string): string;
  callInvite(engagement: string, call: string, video: boolean): null;
  /** `by` names the page's own view of the call: of two tabs that take it, one has it. */
  callTake(engagement: string, call: string, by: string): null;
  /** Another tab may have the device now: whether this tab's call goes on; ... */
  callGoesOn(engagement: string, call: string, by: string): boolean;
  /** ... what rings, and whether these do, which ring in this tab. */
  callsLookBack(engagement: string, rings: readonly string[]): null;
  callDecline(engagement: string, call: string): null;
  /** The page is left in mid-call; whoever opens it again soon may return. */
  callLeave(engagement: string, call: string, leftMs: number): null;
  /** False: nobody knows of this call any more. */
  callHangUp(engagement: string, call: string): boolean;
  callMedia(engagement: string, call: string, news: MediaNews): boolean;
  callWordsMatch(engagement: string, call: string, words: readonly string[]): null;
}

/** What may be asked twice: the page names its calls. */
export const SAFE_CALLS: readonly (keyof CallCalls)[] = [
  ...(["callAble", "callInvite", "callTake", "callDecline", "callHangUp"] as const),
  ...(["callGoesOn", "callsLookBack", "callMedia", "callWordsMatch"] as const),
];

export function callsPart(engine: Engine): Part<CallCalls> {
  const calls = new Calls(engine);
  return {
    methods: {
      callsWatch: (engagement, left) => calls.watch(engagement, left),
      callAble: (engagement) => calls.able(engagement),
      callInvite: (engagement, call, video) => calls.invite(engagement, call, video),
      callTake: (engagement, call, by) => calls.take(engagement, call, by),
      callGoesOn: (engagement, call, by) => calls.goOn(engagement, call, by),
      callsLookBack: (engagement, rings) => calls.lookBack(engagement, rings),
      callDecline: (engagement, call) => calls.decline(engagement, call),
      callLeave: (_, call, leftMs) => calls.leave(call, leftMs),
      callHangUp: (_, call) => calls.hangUp(call),
      callMedia: (_, call, news) => calls.told(call, news),
      callWordsMatch: (_, call, words) => calls.wordsMatch(call, words),
    },
    listening: {
      online: () => calls.begin(),
      item: (conversation, stored) => calls.item(conversation, stored),
      whisper: (conversation, whisper) => calls.heard(conversation, whisper),
      destroyed: () => calls.destroy(),
    },
  };
}
