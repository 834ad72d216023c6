/** Defines the elements, once a page. */

import { CoachRelayRoom } from "./room.ts";
import { CoachRelayWelcome } from "./welcome.ts";

const ELEMENTS = {
  "coach-relay-room": CoachRelayRoom,
  "coach-relay-welcome": CoachRelayWelcome,
} as const;

export function register(): void {
  for (const [name, element] of Object.entries(ELEMENTS)) {
    if (customElements.get(name) === undefined) customElements.define(name, element);
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "coach-relay-room": CoachRelayRoom;
    "coach-relay-welcome": CoachRelayWelcome;
  }
}
