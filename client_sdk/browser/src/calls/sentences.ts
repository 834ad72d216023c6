/** How a call stands and ended, in words for a person. */

import type { CallState, Notice } from "../api.ts";
import { equal } from "../bytes.ts";
import { CallTampered } from "./errors.ts";
import type { CallEnd, Negotiation } from "./states.ts";

export function stateOf({ phase, connectedAt }: Negotiation): CallState {
  if (phase === "idle" || phase === "inviting") return "ringing";
  if (phase === "connecting") return connectedAt === null ? "connecting" : "reconnecting";
  return phase;
}

/** Why the call is over; `name` is the other person's. */
export function whyEnded(
  { facts, end }: Negotiation,
  name: string,
  taker: Taker | null = null,
): Notice | null {
  if (end === null) return null;
  if (end.tampered) {
    const { code, message } = new CallTampered();
    return { code, message };
  }
  const who = name || "The other person";
  const mine = end.reason === "hung_up";
  const isCaller = facts.role === "caller";
  const said = (code: string, message: string): Notice => ({ code: `call_${code}`, message });
  // What the conversation says may come before the other side's farewell.
  const here = end.device !== null && equal(end.device, facts.ownDevice);
  if (end.reason === "elsewhere" && !here) return said("elsewhere", overElsewhere(end, name, taker));
  if (end.reason === "glare") {
    return said("glare", `${who} called you at the same moment: take that call.`);
  }
  switch (end.outcome) {
    case "answered":
      if (end.reason === "not_connected")
        return said("lost", "The connection was lost and did not come back.");
      return said("over", mine ? "You ended the call." : `${who} ended the call.`);
    case "declined":
      return said("declined", isCaller ? `${who} declined.` : "You declined.");
    case "missed":
      return said("missed", isCaller ? `${who} did not answer.` : `You missed a call of ${who}.`);
    case "cancelled":
      return said("cancelled", mine ? "You ended the call." : `${who} does not call any more.`);
    case "failed":
      return said(
        "failed",
        "The call could not be connected: no way was found from your network to the other one. Try again, or " +
          "from another network.",
      );
  }
}

/** Who took a call or declined it: one of this person's devices, or somebody else. */
export interface Taker {
  readonly own: boolean;
  /** As a sentence begins or goes on with it: the person's name, or "another device of yours". */
  readonly name: string;
}

/** Why what rang here does not ring any more. */
export function whyOver({ facts, end, phase }: Negotiation, name: string, taker: Taker | null): string {
  const who = name || "The other person";
  if (end === null) return phase === "ringing" || phase === "inviting" ? "" : "You answered.";
  if (end.reason === "elsewhere") return overElsewhere(end, name, taker);
  if (end.device !== null && equal(end.device, facts.ownDevice)) {
    return end.outcome === "declined" ? "You declined." : "You answered.";
  }
  if (end.outcome === "missed" || end.outcome === "cancelled") {
    return `${who} does not call any more. You missed the call.`;
  }
  return end.outcome === "failed" ? "The call could not be connected." : "The call is over.";
}

/** Why it is over for this device, as the conversation says it. */
export function overElsewhere(
  { outcome }: Pick<CallEnd, "outcome">,
  name: string,
  taker: Taker | null,
): string {
  const who = name || "The other person";
  const did = outcome === "answered" || outcome === "declined" ? outcome : null;
  if (did !== null && taker !== null) {
    return taker.own ? `You ${did} on ${taker.name}.` : `${taker.name} ${did}.`;
  }
  switch (outcome) {
    case "answered":
      return "The call was answered on another device.";
    case "declined":
      return "The call was declined on another device.";
    case "failed":
      return "The call could not be connected.";
    default:
      return `${who} does not call any more. You missed the call.`;
  }
}
