/** What the page says to the frame, checked before anything is done with it; and who may be that page. */

import { PROPERTIES } from "../element/theme.ts";
import {
  ICE_TRANSPORT_POLICIES,
  type Look,
  MAX_TEXT,
  type Start,
  type Styles,
  THEMES,
  type Theme,
  type ToFrame,
  VERSION,
} from "../loader/protocol.ts";

const MAX_STYLE = 200; // colours, lengths and font names are short

type Unknown = Readonly<Record<string, unknown>>;

const record = (value: unknown): value is Unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown, most = MAX_TEXT): value is string =>
  typeof value === "string" && value.length <= most;

/** The styles that there are; what their values may be, `applyTheme` knows. */
export function parseStyles(value: unknown): Styles {
  if (!record(value)) return {};
  const given = PROPERTIES.map((name) => [name, value[name]] as const);
  return Object.fromEntries(given.filter(([, style]) => text(style, MAX_STYLE))) as Styles;
}

const parseLook = (value: Unknown): Look => ({
  theme: THEMES.includes(value.theme as Theme) ? (value.theme as Theme) : "auto",
  styles: parseStyles(value.styles),
});

/** The page's answer to the greeting; null if it is none. */
export function parseStart(value: unknown): Start | null {
  if (!record(value) || value.coachRelay !== VERSION || value.kind !== "start") return null;
  const { relay, engagement, name, iceTransportPolicy = "all" } = value;
  if (!text(relay, 1024) || !text(engagement, 64) || !text(name, 256)) return null;
  const policy = ICE_TRANSPORT_POLICIES.find((one) => one === iceTransportPolicy);
  if (policy === undefined) return null;
  const given = { relay, engagement, name, iceTransportPolicy: policy };
  return { coachRelay: VERSION, kind: "start", ...given, ...parseLook(value) };
}

/** What the page said, copied field by field; null if it is nothing that a page says. */
export function parseToFrame(value: unknown): ToFrame | null {
  if (!record(value)) return null;
  if (value.kind === "destroy") return { kind: "destroy" };
  if (value.kind === "look") return { kind: "look", ...parseLook(value) };
  if (value.kind !== "token" || !Number.isSafeInteger(value.id)) return null;
  const { id, token } = value;
  return token === null || text(token) ? { kind: "token", id: id as number, token } : null;
}

/** The exact origins that a Content-Security-Policy lets embed a page; none where it names none. */
export function ancestorsOf(policy: string | null): ReadonlySet<string> {
  const found = new Set<string>();
  for (const directive of (policy ?? "").split(/[;,]/)) {
    const [name, ...sources] = directive.trim().split(/\s+/);
    if (name?.toLowerCase() !== "frame-ancestors") continue;
    for (const source of sources) if (isOrigin(source)) found.add(source);
  }
  return found;
}

/** Whether it is one origin, written as browsers write it. */
export function isOrigin(value: string): boolean {
  try {
    return /^https?:\/\/[^*]+$/.test(value) && new URL(value).origin === value;
  } catch {
    return false;
  }
}
