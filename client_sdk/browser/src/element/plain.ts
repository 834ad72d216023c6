/** What all inner elements share: they live in the root's shadow tree, so that its styles and parts reach them. */

import type { PropertyValues } from "lit";
import { LitElement } from "lit";
import type { Observable } from "./model/observable.ts";

export abstract class Plain extends LitElement {
  #leave: (() => void)[] = [];
  #followed: readonly Observable[] = [];

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  /** What this element shows, and so is drawn anew with. */
  protected followed(): readonly (Observable | undefined)[] {
    return [];
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#unfollow();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.requestUpdate();
  }

  protected override willUpdate(_changed: PropertyValues): void {
    const now = this.followed().filter((one) => one !== undefined);
    if (now.length === this.#followed.length && now.every((one, at) => one === this.#followed[at])) return;
    this.#unfollow();
    this.#followed = now;
    this.#leave = now.map((one) => one.follow(() => this.requestUpdate()));
  }

  #unfollow(): void {
    for (const leave of this.#leave) leave();
    this.#leave = [];
    this.#followed = [];
  }
}
