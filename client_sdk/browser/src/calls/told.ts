/** What the two halves of a call tell each other: the negotiation in the Worker, sound and picture in the page. */

import type { CallState, Notice } from "../api.ts";
import type { Media } from "../content/messages.ts";
import type { MediaAction } from "./states.ts";

/** Worker to page: how a call stands. */
export interface CallNews {
  readonly call: string;
  readonly user: string;
  readonly state: CallState;
  readonly words: readonly string[];
  readonly startedMs: number | null;
  readonly ended: Notice | null;
}

/** Worker to page: something is to be done with the connection; `ice` is there where one is to be made. */
export interface CallWork {
  readonly call: string;
  readonly action: MediaAction;
  readonly ice: readonly IceServer[];
}

export interface IceServer {
  readonly urls: readonly string[];
  readonly username: string | null;
  readonly credential: string | null;
}

/** Worker to page: somebody calls, and why that is over. */
export interface RingNews {
  readonly call: string;
  readonly user: string;
  readonly media: readonly Media[];
  /** This person was in it when they left the page; it waits for them. */
  readonly returns: boolean;
}
export interface RingOver {
  readonly call: string;
  readonly why: string;
}

/** Page to Worker: this call was going on in this tab until the page was left. */
export interface LeftCall {
  readonly call: string;
  readonly leftMs: number;
}

/** Page to Worker: what became of the connection of an attempt. */
export type MediaNews =
  | { readonly type: "offerReady" | "answerReady"; readonly attempt: number; readonly sdp: string }
  | {
      readonly type: "candidateFound";
      readonly attempt: number;
      readonly candidate: string;
      readonly mid: string;
      readonly index: number;
    }
  /** `path`: the farther kind of the two addresses in use, "host", "srflx" or "relay" (RFC 8445 section 5.1.1). */
  | { readonly type: "mediaUp"; readonly attempt: number; readonly path: string }
  | { readonly type: "mediaLost"; readonly attempt: number }
  | { readonly type: "networkChanged" };

export const CALL_NEWS = "@call";
export const CALL_WORK = "@callWork";
export const RING = "@ring";
export const RING_OVER = "@ringOver";
