/** Why the camera, the microphone or the screen cannot be had, in words that say what to do about it. */

import type { Notice } from "../api.ts";

export type Source = "camera" | "microphone" | "screen";

/** As the name of an error: it was there, and is gone. */
export const LOST = "lost";

/** What can be found out when a source was refused. */
export interface Circumstances {
  /** The page was loaded over https, or from this machine. */
  readonly secure: boolean;
  /** The browser has the function at all. */
  readonly able: boolean;
  /** The Permissions-Policy of the page, and the `allow` of every frame around it, let it through. */
  readonly allowed: boolean;
  /** The page stands in another one. */
  readonly framed: boolean;
  /** The name of the error that the browser gave. */
  readonly error: string;
}

/** The feature's name in a Permissions-Policy header and in an iframe's `allow`. */
export const FEATURES: Readonly<Record<Source, string>> = {
  camera: "camera",
  microphone: "microphone",
  screen: "display-capture",
};

/** What cannot be had, and what was found out about it. */
export interface Refusal {
  readonly source: Source;
  readonly why: Circumstances;
}

type Kind = "insecure" | "blocked" | "unsupported" | "refused" | "missing" | "lost" | "busy" | "failed";

const WITHOUT: Readonly<Record<Source, string>> = {
  camera: "The others do not see you.",
  microphone: "The others do not hear you.",
  screen: "Nothing is shown to the others.",
};
const WITHOUT_BOTH = "The others neither hear nor see you.";
const ONE = { is: "is", was: "was", does: "does", it: "it", itIs: "it is", one: "one", other: "another one" };
const BOTH = {
  is: "are",
  was: "were",
  does: "do",
  it: "them",
  itIs: "they are",
  one: "them",
  other: "others",
};

/** One notice for all that cannot be had; what camera and microphone have in common is said once. */
export function explain(refusals: readonly Refusal[]): Notice | null {
  const [first] = refusals;
  if (first === undefined) return null;
  const alike = new Map<Kind, Refusal[]>();
  for (const refusal of refusals) {
    const kind = kindOf(refusal.why);
    alike.set(kind, [...(alike.get(kind) ?? []), refusal]);
  }
  const message = [...alike].map(([kind, those]) => sentences(kind, those)).join(" ");
  return { code: `call_${first.source}_${kindOf(first.why)}`, message };
}

function kindOf(why: Circumstances): Kind {
  if (!why.secure) return "insecure";
  if (!why.allowed || why.error === "SecurityError") return "blocked";
  if (!why.able) return "unsupported";
  switch (why.error) {
    case "NotAllowedError":
      return "refused";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case LOST:
      return "lost";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "failed";
  }
}

function sentences(kind: Kind, refusals: readonly Refusal[]): string {
  const sources = refusals.map(({ source }) => source);
  const framed = refusals.some(({ why }) => why.framed);
  const without = sources.length > 1 ? WITHOUT_BOTH : sources.map((source) => WITHOUT[source]).join("");
  return `${what(kind, sources, framed)} ${without}`;
}

function what(kind: Kind, sources: readonly Source[], framed: boolean): string {
  const { is, was, does, it, itIs, one, other } = sources.length > 1 ? BOTH : ONE;
  const the = sources.map((source) => `the ${source}`).join(" and ");
  const The = `T${the.slice(1)}`;
  switch (kind) {
    case "insecure":
      return (
        `${The} cannot be used, because this page was not loaded over https. Whoever runs the page has to ` +
        "serve it over https."
      );
    case "blocked":
      return `${The} ${is} blocked by the page itself, not by you. Tell whoever runs it: ${unblock(sources, framed)}.`;
    case "unsupported":
      return `${The} cannot be used: this browser lacks the function.`;
    case "refused":
      if (sources.includes("screen"))
        return "No screen was chosen, or the browser may not record it (look in the system's privacy settings).";
      return (
        `${The} ${is} not allowed for this page. Click the sign beside the address, allow ${the}, and switch ` +
        `${it} on here. If ${itIs} allowed there, look in the system's privacy settings.`
      );
    case "missing":
      return `No ${sources.join(" and no ")} ${was} found. Connect ${one}, and switch ${it} on here.`;
    case "lost":
      return `${The} ${was} disconnected, or ${is} not allowed any more. Switch ${it} on again, or choose ${other} under “Devices”.`;
    case "busy":
      return (
        `${The} ${does} not start: another program may be using ${it}, or ${itIs} switched off. Close the other ` +
        "program and try again."
      );
    case "failed":
      return `${The} ${does} not start. Try again, or choose ${other} under “Devices”.`;
  }
}

function unblock(sources: readonly Source[], framed: boolean): string {
  const features = sources.map((source) => FEATURES[source]);
  const forbids = features.length > 1 ? "must forbid neither" : "must not forbid";
  const named = features.map((feature) => `“${feature}”`).join(" nor ");
  const header = (whose: string) => `the header Permissions-Policy of ${whose} ${forbids} ${named}`;
  if (!framed) return header("this page");
  const frame = `the iframe that shows this needs allow="${features.join("; ")}"`;
  return `${frame}, and ${header("this page or of the page around it")}`;
}
