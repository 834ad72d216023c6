/** What the page may ask about the device as a whole. */

import type { Me } from "../../api.ts";

export interface RelayCalls {
  start(options: {
    readonly url: string;
    readonly name: string;
    /** Whether the page is to be asked how to begin where there is no device yet. */
    readonly asks: boolean;
  }): Me;
  engagements(): readonly { readonly id: string; readonly status: string }[];
  destroy(): null;
}
