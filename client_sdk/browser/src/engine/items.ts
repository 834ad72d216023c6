/** What the page gets of the history: items that can be cloned, and show what became of a message. */

import type { Delivery, Item, ItemBase } from "../api.ts";
import { hex } from "../bytes.ts";
import type { Amended } from "../content/amending.ts";
import { amended } from "../content/amending.ts";
import type { Content } from "../content/messages.ts";
import type { Stored } from "./history.ts";
import { storedKind } from "./history.ts";
import type { State } from "./state.ts";
import type { Shared } from "./work.ts";

/** How far others are: up to which positions somebody else has everything, and has read. */
export interface Reach {
  readonly delivered: number;
  readonly read: number;
}

/** Up to where somebody else has the conversation, and has read it as far as they tell. */
export function reachOf({ peers, reads }: State, { account, sharesReading }: Shared): Reach {
  const others = [...peers.values()].filter(([user]) => user !== account.user);
  return {
    delivered: Math.max(0, ...others.map(([, seq]) => seq)),
    read: Math.max(0, ...(sharesReading ? reads.values() : [])),
  };
}

export function itemOf(stored: Stored, engagement: string, reach: Reach): Item {
  const became = amended(stored.acts, stored.user, storedKind(stored));
  const base: ItemBase = {
    id: stored.id,
    engagement,
    sender: stored.user,
    mine: stored.mine,
    sentMs: stored.sentMs,
    seq: stored.seq,
    state: deliveryOf(stored, reach),
    edited: became.text !== null,
    reactions: became.reactions,
  };
  if (stored.notice !== null) return { ...base, kind: "gap", ...stored.notice };
  if (stored.envelope === null || became.retracted) {
    return { ...base, kind: "retracted", edited: false, reactions: [] };
  }
  return shown(base, stored.envelope.content, became);
}

function deliveryOf({ seq, mine }: Stored, { delivered, read }: Reach): Delivery {
  if (seq === 0) return "waiting";
  if (!mine) return "delivered";
  return seq <= read ? "read" : seq <= delivered ? "delivered" : "sent";
}

function shown(base: ItemBase, content: Content, became: Amended): Item {
  switch (content.kind) {
    case "text": {
      const replyTo = content.replyTo && hex(content.replyTo);
      return { ...base, kind: "text", text: became.text ?? content.text, replyTo };
    }
    case "checkin": {
      const questions = content.questions.map(({ extra: _, ...question }) => question);
      return { ...base, kind: "checkin", prompt: content.prompt, questions };
    }
    case "checkin.answer": {
      const answers = Object.fromEntries(content.answers);
      return { ...base, kind: "checkin.answer", checkIn: hex(content.checkin), answers };
    }
    case "file": {
      const { name, mediaType, size } = content;
      return { ...base, kind: "file", name, mediaType, size };
    }
    case "call.invite":
      return { ...base, kind: "call.invite", call: hex(content.call), media: content.media };
    case "call.ended": {
      const { outcome, seconds } = content;
      const missed = !base.mine && (outcome === "missed" || outcome === "cancelled");
      return { ...base, kind: "call.ended", call: hex(content.call), outcome, seconds, missed };
    }
    case "profile":
      return { ...base, kind: "profile", name: content.name };
    case "unknown":
      return { ...base, kind: "unknown", text: content.fallback, critical: content.critical };
    default: // amendments and receipts are no items: what holds one is of a version that kept them
      return { ...base, kind: "unknown", text: "", critical: false };
  }
}
