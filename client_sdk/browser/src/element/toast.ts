/** A sentence that passes, or stays until it is dismissed; in the dialog that is open, for nothing else can be reached. */

import { html, nothing } from "lit";
import { icon } from "./icons.ts";
import type { Room } from "./model/room.ts";
import { words } from "./words.ts";

export const toast = (room: Room) =>
  room.toast === null
    ? nothing
    : html`<div class="toast" part="toast"><span dir="auto">${room.toast.message}</span>
      <button type="button" class="quiet round" aria-label=${words.dismiss} @click=${() => room.unsay()}>${icon("close")}</button></div>`;
