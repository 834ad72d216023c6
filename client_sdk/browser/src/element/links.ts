/** Finds web addresses in what somebody wrote. Everything else stays text. */

export type Piece = { readonly text: string; readonly href?: string };

/** More links than anybody writes in one message: what follows stays text. */
const MOST_LINKS = 100;
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^\u0000-\u001f]{1,2000}/giu;
/** What ends a sentence rather than an address. */
const TRAILING = /[.,;:!?…»”’)\]}*_~]+$/u;

/** http and https alone, without a name or password that poses as the address; null: no link. */
export function safeHref(address: string): string | null {
  if (!URL.canParse(address)) return null;
  const url = new URL(address);
  const web = url.protocol === "http:" || url.protocol === "https:";
  return web && url.hostname !== "" && url.username === "" && url.password === "" ? url.href : null;
}

/** A bracket that the address opened itself belongs to it, as in Wikipedia's. */
function trimmed(address: string): string {
  let kept = address.replace(TRAILING, "");
  if (kept.includes("(") && !kept.includes(")") && address.startsWith(`${kept})`)) kept += ")";
  return kept;
}

export function pieces(text: string): readonly Piece[] {
  const found: Piece[] = [];
  let at = 0;
  let links = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safeHref(address);
    if (href === null || links >= MOST_LINKS) continue;
    if (match.index > at) found.push({ text: text.slice(at, match.index) });
    found.push({ text: address, href });
    at = match.index + address.length;
    links++;
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}
