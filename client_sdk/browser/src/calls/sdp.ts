/**
 * What we read in a session description (SDP, RFC 8866): its DTLS fingerprint and its media, strictly.
 *
 * The call words bind the SHA-256 fingerprint, so there must be exactly one value of it, found alike by every
 * parser: a description with anything unusual about its lines is refused.
 */

import type { Bytes } from "../bytes.ts";
import { unhex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import { DescriptionRefused } from "./errors.ts";
import { MAX_SDP_CHARS } from "./messages.ts";

/** Addresses that one description may send us to (RFC 8445 section 6.1.2.5 bounds the checks alike). */
const MAX_CANDIDATES = 100;
const PRINT_BYTES = 32;
const TEXT = /^(?:[\x20-\x7e]*\r?\n)+$/;
const FINGERPRINT = /^a=fingerprint:([A-Za-z0-9-]+) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+)$/;
const MEDIA = /^m=([a-z]+) ([0-9]{1,5}) [A-Z/]+ .+$/;

/** `fingerprint`: the 32 bytes of `a=fingerprint:sha-256`; `kinds`: the media sections, in order. */
export interface Description {
  readonly fingerprint: Bytes;
  readonly kinds: readonly Media[];
}

/**
 * Read a description whose media sections are of `allowed` kinds, each at most once.
 *
 * Raises DescriptionRefused: too many addresses, none or several different SHA-256 fingerprints, a section without
 * one, other media, or lines that parsers could take differently.
 */
export function readDescription(sdp: string, allowed: readonly Media[] = ["audio", "video"]): Description {
  if (sdp.length > MAX_SDP_CHARS || !TEXT.test(sdp)) {
    throw new DescriptionRefused("The session description is not plain lines of text, or too long.");
  }
  if (sdp.split("a=candidate:").length - 1 > MAX_CANDIDATES) {
    throw new DescriptionRefused("The session description names too many addresses.");
  }
  const [session = [], ...sections] = sectionsOf(sdp);
  const found = sections.map(fingerprints);
  const ofSession = fingerprints(session);
  const [print, ...others] = new Set([...ofSession, ...found.flatMap((prints) => [...prints])]);
  if (print === undefined || others.length > 0) {
    throw new DescriptionRefused("The session description has not exactly one fingerprint.");
  }
  const bare = sections.some((section, at) => found[at]?.size === 0 && !isRejected(section));
  if (ofSession.size === 0 && bare) throw new DescriptionRefused("A media section has no fingerprint.");
  return { fingerprint: unhex(print), kinds: kindsOf(sections, allowed) };
}

/** The session's lines, then those of each media section. */
function sectionsOf(sdp: string): string[][] {
  const sections: string[][] = [[]];
  for (const line of sdp.split(/\r?\n/).slice(0, -1)) {
    if (line.startsWith("m=")) sections.push([]);
    sections.at(-1)?.push(line);
  }
  return sections;
}

/** The SHA-256 values, as lower-case hex. */
function fingerprints(lines: readonly string[]): ReadonlySet<string> {
  const values = new Set<string>();
  for (const line of lines) {
    if (!line.toLowerCase().includes("fingerprint")) continue;
    const [, algorithm, print] = FINGERPRINT.exec(line) ?? [];
    if (algorithm === undefined || print === undefined) {
      throw new DescriptionRefused("A fingerprint is not written as usual.");
    }
    if (algorithm.toLowerCase() !== "sha-256") continue;
    const digits = print.replaceAll(":", "").toLowerCase();
    if (digits.length !== 2 * PRINT_BYTES) {
      throw new DescriptionRefused("A SHA-256 fingerprint has another length than 32 bytes.");
    }
    values.add(digits);
  }
  return values;
}

function kindsOf(sections: readonly (readonly string[])[], allowed: readonly Media[]): readonly Media[] {
  const kinds: Media[] = [];
  for (const section of sections) {
    const named = MEDIA.exec(section[0] ?? "")?.[1];
    const kind = allowed.find((one) => one === named);
    if (kind === undefined || kinds.includes(kind)) {
      throw new DescriptionRefused("A media section is not of a kind that was agreed, or comes twice.");
    }
    kinds.push(kind);
  }
  if (kinds.length === 0) throw new DescriptionRefused("The session description has no media.");
  return kinds;
}

/** Port 0 without `bundle-only`: the other side does not want this section (RFC 9429 section 5.3.1). */
const isRejected = (section: readonly string[]): boolean =>
  MEDIA.exec(section[0] ?? "")?.[2] === "0" && !section.includes("a=bundle-only");
