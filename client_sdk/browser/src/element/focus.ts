/** Where the keyboard is: nobody who uses one may find themselves nowhere because what they were at has gone. */

/** Nothing has the focus, though this document is the one that is used. */
export function focusLost(within: Element): boolean {
  const root = within.getRootNode();
  const active = root instanceof ShadowRoot ? root.activeElement : document.activeElement;
  const outside = document.activeElement;
  const free =
    outside === null || outside === document.body || (root instanceof ShadowRoot && outside === root.host);
  return within.isConnected && free && (active === null || active === document.body) && document.hasFocus();
}

/** After what had the focus has gone: to what is next at hand. */
const NEXT = [
  ".call.over button",
  "cr-call .control:not(:disabled)",
  "cr-composer textarea",
  "#people-button",
];

export class FocusKeeper {
  readonly #root: ShadowRoot;
  #last: Element | null = null;

  constructor(root: ShadowRoot) {
    this.#root = root;
    root.addEventListener("focusin", (event) => {
      this.#last = event.target as Element;
    });
  }

  /** What was here before this root had the focus, and has gone with it. */
  goOn(): void {
    this.#last = document.createElement("span");
    this.look();
  }

  /** To be called after something has changed. */
  look(): void {
    const last = this.#last;
    if (last === null || last.isConnected || this.#root.querySelector("dialog[open]") !== null) return;
    this.#last = null;
    if (!focusLost(this.#root.host)) return;
    for (const name of NEXT) {
      const next = this.#root.querySelector<HTMLElement>(name);
      next?.focus();
      if (this.#root.activeElement !== null) return;
    }
  }
}
