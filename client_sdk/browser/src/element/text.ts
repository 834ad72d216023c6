/** What somebody wrote, as text: line breaks kept, web addresses as links, nothing else. */

import { html } from "lit";
import { pieces } from "./links.ts";
import { words } from "./words.ts";

/** An address that is too long for its line is broken behind a sign, not in the middle of a word. */
const breakable = (address: string) =>
  address.split(/(?<=[/?&=#])(?![/?&=#])/u).map((part, at) => (at === 0 ? part : html`<wbr>${part}`));

/** `tab`: whether its links are reached by the Tab key. */
export function written(text: string, tab: boolean) {
  const shown = pieces(text).map((piece) =>
    piece.href === undefined
      ? piece.text
      : html`<a href=${piece.href} target="_blank" rel="noopener noreferrer" referrerpolicy="no-referrer"
          tabindex=${tab ? 0 : -1} dir="auto">${breakable(piece.text)}<span class="sr"> (${words.message.link})</span></a>`,
  );
  return html`<p class="written" dir="auto">${shown}</p>`;
}
