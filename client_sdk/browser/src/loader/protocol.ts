/**
 * What the portal's page and the frame say to each other; nothing that was said in a conversation is ever in it.
 *
 * The frame greets (`hello`) the one origin that may embed it; the page answers with `start` and one end of a
 * MessageChannel, to the frame's exact origin. From then on both speak through the channel alone. Whatever comes
 * is checked here: its shape, and the length of each text.
 */

export const VERSION = 1;

/** The longest text that either side takes: an access token has at most 4096 characters. */
export const MAX_TEXT = 8192;
/** A frame asks for one token at a time; more open requests than this are a fault, and not answered. */
export const MAX_TOKENS_AT_ONCE = 4;

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const ICE_TRANSPORT_POLICIES = ["all", "relay"] as const;
export type IceTransportPolicy = (typeof ICE_TRANSPORT_POLICIES)[number];

/** How the page dresses the frame: custom properties, by name. */
export type Styles = Readonly<Record<string, string>>;

export interface Look {
  readonly theme: Theme;
  readonly styles: Styles;
}

export interface Start extends Look {
  readonly coachRelay: typeof VERSION;
  readonly kind: "start";
  readonly relay: string;
  readonly engagement: string;
  readonly name: string;
  /** "relay": calls never show the person's network address (as RTCIceTransportPolicy names it). */
  readonly iceTransportPolicy: IceTransportPolicy;
}

export interface Hello {
  readonly coachRelay: typeof VERSION;
  readonly kind: "hello";
}

/** From the page, through the channel. */
export type ToFrame =
  | { readonly kind: "token"; readonly id: number; readonly token: string | null }
  | ({ readonly kind: "look" } & Look)
  | { readonly kind: "destroy" };

/** What kinds of things are said: a page may count or announce them, and learns nothing else. */
export const MESSAGE_KINDS = [
  "text",
  "file",
  "checkin",
  "checkin.answer",
  "call.invite",
  "call.ended",
  "profile",
  "retracted",
  "gap",
  "unknown",
] as const;

/** What the page's listeners get, by event. */
export interface Details {
  ready: null;
  /** This person entered or left a call. */
  joined: { readonly call: string };
  left: { readonly call: string };
  /** Somebody waits until a member lets them in. */
  knock: { readonly user: string };
  message: {
    readonly id: string;
    readonly kind: (typeof MESSAGE_KINDS)[number];
    readonly mine: boolean;
    readonly unread: number;
  };
  /** How much is unread has changed: something came, or was read, here or on another device of this person. */
  unread: { readonly count: number };
  error: { readonly code: string; readonly message: string };
  "token-expiring": { readonly endsMs: number };
}

export type EventName = keyof Details;

/** From the frame, through the channel. */
export type ToPage =
  | { readonly kind: "token"; readonly id: number }
  | { readonly kind: "gone" }
  | {
      [E in EventName]: { readonly kind: "event"; readonly event: E; readonly detail: Details[E] };
    }[EventName];

type Unknown = Readonly<Record<string, unknown>>;

const record = (value: unknown): value is Unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown, most = MAX_TEXT): value is string =>
  typeof value === "string" && value.length <= most;
const count = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const among = <T extends string>(value: unknown, known: readonly T[]): value is T =>
  known.includes(value as T);

const call = (value: unknown): { readonly call: string } | undefined =>
  record(value) && text(value.call, 64) ? { call: value.call } : undefined;
const details: { [E in EventName]: (value: unknown) => Details[E] | undefined } = {
  ready: () => null,
  joined: call,
  left: call,
  knock: (value) => (record(value) && text(value.user, 64) ? { user: value.user } : undefined),
  message: (value) =>
    record(value) &&
    text(value.id, 64) &&
    among(value.kind, MESSAGE_KINDS) &&
    typeof value.mine === "boolean" &&
    count(value.unread)
      ? { id: value.id, kind: value.kind, mine: value.mine, unread: value.unread }
      : undefined,
  unread: (value) => (record(value) && count(value.count) ? { count: value.count } : undefined),
  error: (value) =>
    record(value) && text(value.code, 64) && text(value.message, 1024)
      ? { code: value.code, message: value.message }
      : undefined,
  "token-expiring": (value) => (record(value) && count(value.endsMs) ? { endsMs: value.endsMs } : undefined),
};

/** Whether it is the frame's greeting. */
export const isHello = (value: unknown): value is Hello =>
  record(value) && value.coachRelay === VERSION && value.kind === "hello";

/** What the frame said, copied field by field; null if it is nothing that a frame says. */
export function parseToPage(value: unknown): ToPage | null {
  if (!record(value)) return null;
  if (value.kind === "gone") return { kind: "gone" };
  if (value.kind === "token") return count(value.id) ? { kind: "token", id: value.id } : null;
  if (value.kind !== "event" || !among(value.event, Object.keys(details) as EventName[])) return null;
  const detail = details[value.event](value.detail);
  return detail === undefined ? null : ({ kind: "event", event: value.event, detail } as ToPage);
}
