/** Calls, in the Worker: what is said about them in the conversation; sound and picture are the page's. */

import type { Engine } from "../engine/engine.ts";
import type { Part } from "../engine/part.ts";
import { Calls } from "./calls.ts";
import type { MediaNews } from "./told.ts";

/** What the page may ask about calls. */
export interface CallCalls {
  /** Look for what rings. */
  callsWatch(engagement: string): null;
  /** Whom a call would be to. */
  callAble(engagement: string): string;
  callInvite(engagement: string, call: string, video: boolean): null;
  callTake(engagement: string, call: string): null;
  callDecline(engagement: string, call: string): null;
  /** False: nobody knows of this call any more. */
  callHangUp(engagement: string, call: string): boolean;
  callMedia(engagement: string, call: string, news: MediaNews): boolean;
  callWordsMatch(engagement: string, call: string, words: readonly string[]): null;
}

export function callsPart(engine: Engine): Part<CallCalls> {
  const calls = new Calls(engine);
  return {
    methods: {
      callsWatch: (engagement) => calls.watch(engagement),
      callAble: (engagement) => calls.able(engagement),
      callInvite: (engagement, call, video) => calls.invite(engagement, call, video),
      callTake: (_, call) => calls.take(call),
      callDecline: (_, call) => calls.decline(call),
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
