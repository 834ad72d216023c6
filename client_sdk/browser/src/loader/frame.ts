/** Where the frame's page is, whether it may be there, and whether it is the one of this release. */

import { ICE_TRANSPORT_POLICIES, type IceTransportPolicy } from "./protocol.ts";

// Put in by the build: what this release's frame.html has to be; empty where there is no release.
declare const FRAME_INTEGRITY: string | undefined;

const A_MOMENT_MS = 100;

/** A fault of how the element is embedded; the message is for the portal's developer. */
export class LoaderError extends Error {
  override readonly name = "CoachRelayLoaderError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Whether the element says which relay and which engagement. Raises LoaderError. */
export function checkAttributes(relay: string | null, engagement: string | null): void {
  for (const [name, value] of Object.entries({ relay, engagement }))
    if (!value) throw new LoaderError("attribute_missing", `<coach-relay> needs the attribute "${name}".`);
  if (!RELAY.test(relay ?? ""))
    throw new LoaderError(
      "relay_invalid",
      `The attribute relay, “${relay}”, is no relay's address: https://HOST, or http:// on this machine alone.`,
    );
  if (!/^eng_[\w-]{22}$/.test(engagement ?? ""))
    throw new LoaderError(
      "engagement_invalid",
      `The attribute engagement, “${engagement}”, is no engagement's id: the relay gives it, eng_…, when your ` +
        "server opens one (POST /v1/engagements).",
    );
}
const RELAY = /^(https:\/\/[^/?#@]|http:\/\/(([\w-]+\.)*localhost|127(\.\d+){3}|\[::1\])(?=[:/]|$))/i;

/** A misspelt "relay" must not show anybody's address. Raises LoaderError. */
export function icePolicy(given: string | null): IceTransportPolicy {
  const known = ICE_TRANSPORT_POLICIES.find((one) => one === (given ?? "all"));
  if (known !== undefined) return known;
  throw new LoaderError(
    "ice_transport_policy_invalid",
    `The attribute ice-transport-policy is “${given}”; it may be all or relay.`,
  );
}

/** Browsers give keys and cameras to secure pages alone. Raises LoaderError. */
export function checkSecure(): void {
  if (!isSecureContext)
    throw new LoaderError(
      "insecure_page",
      `This page, or one around it, is not secure (${location.origin}): browsers let nothing in it keep keys or use ` +
        "a camera. Serve it by https; http will do on localhost alone.",
    );
}

/** The frame's address, which has another origin than the page. Raises LoaderError. */
export function frameAddress(attribute: string | null, script: string, sameOrigin: boolean): URL {
  if (!attribute && !script)
    throw new LoaderError(
      "attribute_missing",
      "It is not known where this script came from: give <coach-relay> the attribute frame (https://…/frame.html).",
    );
  const address = attribute ? parsed(attribute, document.baseURI) : parsed("frame.html", script);
  if (address.origin === location.origin && !sameOrigin)
    throw new LoaderError(
      "same_origin",
      `The frame has this page's own origin (${location.origin}), so every script of the page could read what is ` +
        "said. Serve it from another origin, or set the attribute same-origin while you develop.",
    );
  address.searchParams.set("parent", location.origin);
  return address;
}

function parsed(text: string, base: string): URL {
  const address = URL.canParse(text, base) ? new URL(text, base) : null;
  if (address === null || !/^https?:$/.test(address.protocol))
    throw new LoaderError("frame_invalid", `The frame's address “${text}” is no https address.`);
  return address;
}

/** Resolves when what is served there is this release's frame.html. Raises LoaderError. */
export async function pinned(address: URL): Promise<void> {
  const integrity = typeof FRAME_INTEGRITY === "string" ? FRAME_INTEGRITY : "";
  if (integrity === "") return;
  try {
    await fetch(address, { integrity, mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" });
  } catch {
    throw await whyNot(address);
  }
}

async function whyNot(address: URL): Promise<LoaderError> {
  const frame = `The frame ${address.origin}${address.pathname}`;
  const answer = await fetch(address, { mode: "cors", credentials: "omit" }).catch(() => null);
  // The page's policy may be why, which the browser tells a moment later: then `blocked` has said so.
  await new Promise((resolve) => setTimeout(resolve, A_MOMENT_MS));
  if (answer?.ok)
    return new LoaderError(
      "frame_not_pinned",
      `${frame} is not the one of this script's release. Serve frame.html, frame.js and this script from one ` +
        "release, and load the page anew.",
    );
  if (answer?.status === 403)
    return new LoaderError(
      "origin_not_allowed",
      `${frame} may not be embedded here: ${location.origin} is not one of the origins of a portal of the relay. ` +
        "See coach-relay portal list, and add it with coach-relay portal set-origins (which takes all of them).",
    );
  return new LoaderError(
    "frame_unreachable",
    `${frame} cannot be loaded (${answer === null ? "no answer that this page may read" : answer.status}). Is it ` +
      "served there, by https with a certificate that this browser trusts, and with Access-Control-Allow-Origin: *?",
  );
}

/** What this page's own Content-Security-Policy forbids, if it is about the frame; else null. */
export function blocked(address: URL, event: SecurityPolicyViolationEvent): LoaderError | null {
  const { blockedURI, disposition, effectiveDirective: directive } = event;
  if (disposition !== "enforce" || !blockedURI.startsWith(address.origin)) return null;
  if (!["connect-src", "frame-src"].includes(directive)) return null;
  return new LoaderError(
    "csp_blocked",
    `This page's Content-Security-Policy forbids the frame: its ${directive} has to name ${address.origin} ` +
      `(frame-src and connect-src both do).`,
  );
}
