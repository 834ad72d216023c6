/** One function that reduces a peer's file name to a harmless one; the same as the Python SDK's. */

import { utf8 } from "../bytes.ts";

const FALLBACK = "file";
const MAX_BYTES = 255;
/** A longer "suffix" is no file type; it is cut like the rest. */
const MAX_SUFFIX_BYTES = 32;

// Control, format (bidi overrides, zero width), surrogates, private use, unassigned, line and paragraph
// separators: none of them can be seen, and each can make a name look like another.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
// Not allowed on Windows; the colon also names alternate data streams. The rest look like separators or like
// nothing.
const REPLACED = /[<>:"|?*\u2044\u2215\u29f8\u29f9\ufe68\uff0f\uff3c\u115f\u1160\u2800\u3164\uffa0]/g;
// What every client takes for space: the byte order mark is none, but invisible.
const SPACES = /[^\S\ufeff]+/g;
const RESERVED = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|$)/i;

/**
 * The last component of `name`, fit to be a file name on any common system; never empty, never a path: no
 * separator, no invisible character, no leading dot, hyphen or space, no trailing dot or space, no name that
 * Windows reserves, at most 255 bytes of UTF-8 with its suffix kept. Applying it again changes nothing.
 */
export function safeName(name: string): string {
  const parts = name.split(/[/\\]/).map((part) => stripped(visible(part)));
  const base = parts.findLast((part) => part !== "") ?? FALLBACK;
  return cut(RESERVED.test(base) ? `_${base}` : base);
}

const visible = (part: string): string =>
  part.replace(SPACES, " ").replace(INVISIBLE, "").normalize("NFC").replace(REPLACED, "_");

const stripped = (part: string): string =>
  part
    .replace(SPACES, " ")
    .replace(/^[ .-]+/, "")
    .replace(/[ .]+$/, "");

function cut(name: string): string {
  if (utf8(name).length <= MAX_BYTES) return name;
  const at = name.lastIndexOf(".");
  const suffix = at > 0 ? name.slice(at) : "";
  const isType = suffix.length > 1 && utf8(suffix).length <= MAX_SUFFIX_BYTES;
  const [stem, kept] = isType ? [name.slice(0, at), suffix] : [name, ""];
  return head(stem, MAX_BYTES - utf8(kept).length) + kept;
}

/** At most so many bytes of the beginning, whole characters only. */
function head(text: string, size: number): string {
  let [result, left] = ["", size];
  for (const character of text) {
    left -= utf8(character).length;
    if (left < 0) break;
    result += character;
  }
  return result.replace(/[ .]+$/, "");
}

/** What a page may show or play without running anything of it; scalable pictures and documents run scripts. */
const HARMLESS = /^(?:image\/(?:png|jpeg|gif|webp|avif|bmp)|(?:audio|video)\/[a-z0-9.+-]+|text\/plain)$/;

/** The type that a file is given to the page with: what its sender calls it, if that cannot run as a page. */
export const harmlessType = (mediaType: string): string =>
  HARMLESS.test(mediaType.toLowerCase()) ? mediaType.toLowerCase() : "application/octet-stream";
