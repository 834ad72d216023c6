/** What a portal's developer, and the person, read about an error: what happened, why, and what to do. */

import type { Notice } from "../api.ts";
import type { Portal } from "./portal.ts";

const TOKENS =
  "Sign one anew each time you are asked, with the secret that coach-relay portal add printed (HS256) or the portal's " +
  "registered key: iss the portal's id, aud coach-relay, sub the user, and iat, nbf, exp (an hour at most), jti; by a " +
  "clock that is right. This page's origin has to be one of the portal's (coach-relay portal list).";
const SAID: Readonly<Record<string, string>> = {
  access_refused: `The relay does not let this person's device in. ${TOKENS}`,
  device_limit:
    "This user has as many devices as a relay takes. They remove one that they do not use any more, or your server " +
    "takes one back (docs/openapi.json).",
  engagement_unavailable:
    "The relay has no such engagement for this user. Compare the attribute engagement with what POST " +
    "/v1/engagements answered, and the token's sub with its participants.",
  relay_unreachable:
    "The relay does not answer; it is tried again and again. Does it run, does the attribute relay name it exactly, " +
    "and does the connect-src of the frame's page name it too, by https and wss?",
  token_expired: `The access token had expired when it came. ${TOKENS}`,
  unsupported_version:
    "The relay speaks another version of the protocol than these files: use those of its release.",
};
const PERSONAL =
  "It concerns the person who uses the page: they are told what happened and what they can do. There is nothing to " +
  "be done by the page.";

/** Why this person does not get in, as they read it; whatever else it is, its own message says. */
const NOT_IN: Readonly<Record<string, string>> = {
  engagement_unavailable: "There is no such conversation for you here.",
  relay_unreachable: "There is no connection at the moment. It is tried again.",
};
const ASK = "If it stays so, tell whoever runs the portal.";

export const UNAVAILABLE: Notice = { code: "engagement_unavailable", message: "" };

/** What a person reads who does not get in. */
export function notIn({ hasToken }: Portal, { code, message }: Notice): Notice {
  const noToken = code === "relay_unreachable" && !hasToken;
  const sentence = noToken ? undefined : NOT_IN[code];
  return { code, message: sentence === undefined ? message : `${sentence} ${ASK}` };
}

/** Tell the page of an error: by its code, as what was said to the person may have people's names in it. */
export function fault(portal: Portal, { code, reason }: Pick<Notice, "code" | "reason">): void {
  // What is wrong with its token the page was told by its own end of the line.
  if (code === "relay_unreachable" && !portal.hasToken) return;
  const what = SAID[reason ?? ""] ?? SAID[code] ?? PERSONAL;
  portal.tell("error", { code, message: reason === undefined ? what : `${what} (${reason})` });
}
