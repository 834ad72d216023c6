/** What stands on the page of a recovery kit, in the order in which it is read. */

import type { Account } from "../engine/account.ts";
import { UsageError } from "../errors.ts";
import { recoveryWords } from "../identity/recovery.ts";
import { safetyNumber } from "../identity/safety.ts";

const TITLE = "Recovery kit for your coaching conversations";
/** A printed page of plain text. */
const COLUMNS = 78;
/** Read across, as one reads: whoever copies them line by line has their order. */
const COLUMNS_OF_WORDS = 3;
const WHAT =
  "With the twelve words on this page you get back into your conversations when your phone or computer is lost, " +
  "stolen or broken. Nobody else has them: not your portal, not the relay, not the people you talk with. Without " +
  "them, a lost device means starting anew, and the others have to let you in again.";
const KEEP =
  "Keep this page as you keep a passport: on paper, at home. Do not photograph it, mail it or store it online. " +
  "Whoever has it and can log in to your portal can take your place.";
const STEPS = [
  "On the new device, log in to your portal as before.",
  'Choose "Recover" (in a terminal: coach recover), and type the twelve words in their order. Four letters of each ' +
    "are enough.",
  "Your old devices are shut out of all conversations, whoever has them now.",
  "Your safety number changes. The others are told so; call them, and compare the new one.",
  "This page stays valid. Put it back where it was.",
];
const NUMBER =
  "Your safety number when this page was made. The others can compare it to make sure that they talk with you; it " +
  "changes when you recover.";
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June"],
  ...["July", "August", "September", "October", "November", "December"],
];

export interface Kit {
  readonly words: readonly string[];
  readonly text: string;
}

/** The page for this account, made now; raises UsageError once its words have left this device. */
export function kitOf(account: Account, nowMs: number): Kit {
  const { recoverySeed, portal, user, name, manifest } = account;
  if (recoverySeed.length === 0) {
    throw new UsageError(
      "The recovery kit was made already, or on another device: its words are on paper alone.",
    );
  }
  const words = recoveryWords(recoverySeed);
  const whose = name === "" ? `${user} (${portal})` : `${name} (${user}, ${portal})`;
  const steps = STEPS.map((step, at) => filled(step, `  ${at + 1}. `)).join("\n");
  const number = safetyNumber(portal, user, manifest.identityKey).replaceAll(/\D/g, "");
  const parts = [
    TITLE.toUpperCase(),
    `For ${whose}. Made on ${day(nowMs)}.`,
    filled(WHAT),
    columns(words),
    filled(KEEP),
    `If you lose your device:\n${steps}`,
    `${filled(NUMBER)}\n\n  ${(number.match(/.{1,5}/g) ?? []).join(" ")}`,
  ];
  return { words, text: `${parts.join("\n\n")}\n` };
}

/** As in `22 November 2026` (UTC). */
function day(nowMs: number): string {
  const made = new Date(nowMs);
  return `${made.getUTCDate()} ${MONTHS[made.getUTCMonth()]} ${made.getUTCFullYear()}`;
}

function columns(words: readonly string[]): string {
  const numbered = words.map((word, at) => `${String(at + 1).padStart(4)}. ${word.padEnd(14)}`);
  const rows: string[] = [];
  for (let at = 0; at < numbered.length; at += COLUMNS_OF_WORDS) {
    rows.push(
      numbered
        .slice(at, at + COLUMNS_OF_WORDS)
        .join("")
        .trimEnd(),
    );
  }
  return rows.join("\n");
}

function filled(text: string, start = ""): string {
  const [lines, indent]: [string[], string] = [[], " ".repeat(start.length)];
  let line = start;
  let empty = true;
  for (const word of text.split(" ")) {
    if (!empty && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      [line, empty] = [indent, true];
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line].join("\n");
}
