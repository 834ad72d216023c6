/** Why the camera, the microphone or the screen cannot be had, in words that say what to do about it. */

import type { Notice } from "../api.ts";

export type Source = "camera" | "microphone" | "screen";

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

const THE: Readonly<Record<Source, string>> = {
  camera: "The camera",
  microphone: "The microphone",
  screen: "The screen",
};
const WITHOUT: Readonly<Record<Source, string>> = {
  camera: "The others do not see you.",
  microphone: "The others do not hear you.",
  screen: "Nothing is shown to the others.",
};

export function explain(source: Source, why: Circumstances): Notice {
  const [kind, what] = reason(source, why);
  return { code: `call_${source}_${kind}`, message: `${what} ${WITHOUT[source]}` };
}

function reason(source: Source, why: Circumstances): readonly [string, string] {
  if (!why.secure) {
    return [
      "insecure",
      `${THE[source]} cannot be used, because this page was not loaded over https. Whoever runs the page has to ` +
        "serve it over https.",
    ];
  }
  if (!why.allowed || why.error === "SecurityError") return ["blocked", blocked(source, why.framed)];
  if (!why.able) return ["unsupported", `${THE[source]} cannot be used: this browser lacks the function.`];
  switch (why.error) {
    case "NotAllowedError":
      return ["refused", refused(source)];
    case "NotFoundError":
    case "OverconstrainedError":
      return ["missing", `No ${source} was found. Connect one, and switch it on here.`];
    case "NotReadableError":
    case "AbortError":
      return [
        "busy",
        `${THE[source]} does not start: another program may be using it, or it is switched off. Close the other ` +
          "program and try again.",
      ];
    default:
      return ["failed", `${THE[source]} does not start. Try again, or choose another device.`];
  }
}

function blocked(source: Source, framed: boolean): string {
  const feature = FEATURES[source];
  const header = `the header Permissions-Policy of this page must not forbid “${feature}”`;
  const todo = framed
    ? `the iframe that shows this needs allow="${feature}", and ${header} or of the page around it`
    : header;
  return `${THE[source]} is blocked by the page itself, not by you. Tell whoever runs it: ${todo}.`;
}

function refused(source: Source): string {
  if (source === "screen") {
    return "No screen was chosen, or the browser may not record it (look in the system's privacy settings).";
  }
  return (
    `${THE[source]} is not allowed for this page. Click the sign beside the address, allow the ${source}, ` +
    "and switch it on here. If it is allowed there, look in the system's privacy settings."
  );
}
