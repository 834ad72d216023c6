/** A QR code as one SVG path, drawn here: nothing is fetched and nothing is inserted as markup. */

import { html, svg } from "lit";
import { encode } from "uqr";

/** The standard asks for four modules of quiet around the code. */
const QUIET = 4;

export function qrCode(text: string, label: string) {
  const { data, size } = encode(text, { ecc: "M", border: QUIET });
  const dark = data.flatMap((row, y) => row.flatMap((on, x) => (on ? [`M${x} ${y}h1v1h-1z`] : [])));
  return html`<svg class="qr" role="img" aria-label=${label} viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges">
    ${svg`<rect width=${size} height=${size} fill="#fff"></rect><path d=${dark.join("")} fill="#000"></path>`}
  </svg>`;
}
