/** Amendments: messages about an earlier message. An edit, a retraction, a reaction (docs/PROTOCOL.md section 9.1). */

import type { Bytes } from "../bytes.ts";
import { ContentInvalid } from "../errors.ts";
import type { Value } from "../msgpack.ts";
import type { Extra } from "./checks.ts";
import { checkBytes, checkExtra, checkText, Fields } from "./checks.ts";

const ID_BYTES = 16;
const TEXT_BYTES = 32 * 1024;

/** The reactions there are, in the order in which they are shown. */
export const REACTIONS = ["👍", "❤️", "🙏", "💪", "🎉", "😊", "😢", "🤔"] as const;
export type Emoji = (typeof REACTIONS)[number];

/** The author says a text anew: `message` is the id of the text, `text` all of its new words. */
export interface Edit {
  readonly kind: "edit";
  readonly message: Bytes;
  readonly text: string;
  readonly extra: Extra;
}

/** The author takes a message back: what it said, and the key of its file, are to be erased. */
export interface Retract {
  readonly kind: "retract";
  readonly message: Bytes;
  readonly extra: Extra;
}

/** One of `REACTIONS` to a message; with `on` false it is taken back. */
export interface Reaction {
  readonly kind: "reaction";
  readonly message: Bytes;
  readonly emoji: Emoji;
  readonly on: boolean;
  readonly extra: Extra;
}

export const edit = (message: Bytes, text: string, extra?: Extra): Edit => ({
  kind: "edit",
  message: checkBytes("The id of the message", message, ID_BYTES),
  text: checkText("The text", text, TEXT_BYTES),
  extra: checkExtra(extra, ["message", "text"]),
});

export const retract = (message: Bytes, extra?: Extra): Retract => ({
  kind: "retract",
  message: checkBytes("The id of the message", message, ID_BYTES),
  extra: checkExtra(extra, ["message"]),
});

/** A reaction; raises ContentInvalid for another sign. */
export function reaction(message: Bytes, emoji: string, on = true, extra?: Extra): Reaction {
  const found = REACTIONS.find((one) => one === emoji);
  if (found === undefined)
    throw new ContentInvalid(`The reactions are ${REACTIONS.join(" ")}. Take one of them.`);
  checkBytes("The id of the message", message, ID_BYTES);
  return {
    kind: "reaction",
    message,
    emoji: found,
    on,
    extra: checkExtra(extra, ["message", "emoji", "on"]),
  };
}

export function editFrom(body: Value): Edit {
  const fields = new Fields(body, "An edit");
  const message = checkBytes("The id of the message", fields.take("message"), ID_BYTES);
  return edit(message, checkText("The text", fields.take("text"), TEXT_BYTES), fields.rest());
}

export function retractFrom(body: Value): Retract {
  const fields = new Fields(body, "A retraction");
  return retract(checkBytes("The id of the message", fields.take("message"), ID_BYTES), fields.rest());
}

export function reactionFrom(body: Value): Reaction {
  const fields = new Fields(body, "A reaction");
  const message = checkBytes("The id of the message", fields.take("message"), ID_BYTES);
  const emoji = checkText("The reaction", fields.take("emoji"), ID_BYTES);
  const on = fields.take("on");
  if (typeof on !== "boolean")
    throw new ContentInvalid("A reaction is there or taken back: on is true or false.");
  return reaction(message, emoji, on, fields.rest());
}
