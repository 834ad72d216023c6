/** What a portal may change of the look: a scheme, and the custom properties that the README lists. */

/** Colours, lengths, a font: documented in the README with their defaults. */
export const PROPERTIES = [
  "--coach-relay-accent",
  "--coach-relay-on-accent",
  "--coach-relay-background",
  "--coach-relay-surface",
  "--coach-relay-text",
  "--coach-relay-muted",
  "--coach-relay-border",
  "--coach-relay-mine",
  "--coach-relay-on-mine",
  "--coach-relay-theirs",
  "--coach-relay-good",
  "--coach-relay-warning",
  "--coach-relay-danger",
  "--coach-relay-font",
  "--coach-relay-font-size",
  "--coach-relay-radius",
] as const;

export interface Theme {
  /** `auto` follows the person's own setting. */
  readonly scheme?: "light" | "dark" | "auto";
  /** Values for some of `PROPERTIES`; others, and values that are no colour, length or font, are left out. */
  readonly properties?: Readonly<Record<string, string>>;
}

/** Names, numbers, colour functions: nothing that fetches (`url()`, `image-set()`) and nothing that ends a rule. */
const HARMLESS = /^(?!.*(?:url|image|src|var|env|attr)\s*\()[\w\s#%.,()'"/+-]{1,200}$/i;

export function applyTheme(element: HTMLElement, theme: Theme): void {
  const scheme = theme.scheme === "light" || theme.scheme === "dark" ? theme.scheme : "auto";
  element.setAttribute("scheme", scheme);
  for (const name of PROPERTIES) {
    const value = theme.properties?.[name];
    if (value !== undefined && HARMLESS.test(value)) element.style.setProperty(name, value);
    else element.style.removeProperty(name);
  }
}
