/** What the page may ask about the device as a whole. */

import type { Me } from "../../api.ts";
import type { Engine } from "../engine.ts";
import type { Implementation } from "../messages.ts";

/** What the Worker itself answers, also before there is an engine. */
export interface StartCalls {
  start(options: {
    readonly url: string;
    readonly name: string;
    /** Whether the page is to be asked how to begin where there is no device yet. */
    readonly asks: boolean;
  }): Me;
  destroy(): null;
}

export interface RelayCalls extends StartCalls {
  engagements(): readonly { readonly id: string; readonly status: string }[];
  setName(name: string): Me;
  readReceipts(): boolean;
  setReadReceipts(on: boolean): null;
  checkConnection(): null;
}

export const relayMethods = (engine: Engine): Implementation<Omit<RelayCalls, keyof StartCalls>> => ({
  engagements: async () => engine.engagements,
  async setName(name) {
    await engine.setName(name);
    return engine.me;
  },
  readReceipts: async () => engine.readReceipts,
  async setReadReceipts(on) {
    await engine.setReadReceipts(on);
    return null;
  },
  async checkConnection() {
    engine.checkConnection();
    return null;
  },
});

/** What may be asked twice. */
export const SAFE_RELAY: readonly (keyof RelayCalls)[] = [
  "engagements",
  "setName",
  "readReceipts",
  "setReadReceipts",
  "checkConnection",
];
