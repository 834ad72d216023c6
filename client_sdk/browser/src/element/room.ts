import { html, LitElement } from "lit";
import type { RelayApi } from "../api.ts";
import type { Happening } from "./index.ts";

/** The root of the interface: one conversation, who can read it, and its calls. */
export class CoachRelayRoom extends LitElement {
  static override properties = { relay: { attribute: false }, engagement: { attribute: false } };
  declare relay: RelayApi | undefined;
  declare engagement: string;
  declare again: () => void;
  declare happened: (what: Happening) => void;

  protected override render() {
    return html`<p>${this.engagement}</p>`;
  }
}
