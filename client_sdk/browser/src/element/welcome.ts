import { html, LitElement } from "lit";
import type { FirstUse, Notice } from "../api.ts";

/** Before there is a relay: opening, the choice at first use, linking and recovering. */
export class CoachRelayWelcome extends LitElement {
  static override properties = { notice: { state: true } };
  declare again: () => void;
  declare notice: Notice | undefined;

  firstUse(_known: { readonly elsewhere: boolean }): Promise<FirstUse> {
    return Promise.resolve({ kind: "new" });
  }

  failed(notice: Notice): void {
    this.notice = notice;
  }

  protected override render() {
    return html`<p>${this.notice?.message}</p>`;
  }
}
