import { css } from "lit";

/** Colours, measures and fonts: what a portal may set (README), and what is used where it sets nothing. */
export const tokens = css`
  :host {
    color-scheme: light dark;
    --accent: var(--coach-relay-accent, light-dark(#0b655f, #6fd0c6));
    --on-accent: var(--coach-relay-on-accent, light-dark(#ffffff, #06231f));
    --ground: var(--coach-relay-background, light-dark(#f5f4f0, #14181b));
    --surface: var(--coach-relay-surface, light-dark(#ffffff, #1d2327));
    --text: var(--coach-relay-text, light-dark(#1b2126, #e9edef));
    --muted: var(--coach-relay-muted, light-dark(#55606a, #a9b4bb));
    --border: var(--coach-relay-border, light-dark(#d9d7d0, #363f45));
    --edge: light-dark(#85898c, #78838a);
    --mine: var(--coach-relay-mine, light-dark(#d9ebe7, #1d4a46));
    --on-mine: var(--coach-relay-on-mine, light-dark(#12302d, #e6f5f2));
    --mine-muted: light-dark(#3d5a56, #b5d2cd);
    --theirs: var(--coach-relay-theirs, light-dark(#ffffff, #262d32));
    --good: var(--coach-relay-good, light-dark(#1b6b3a, #7fd49b));
    --warning: var(--coach-relay-warning, light-dark(#7d4f00, #f0c069));
    --danger: var(--coach-relay-danger, light-dark(#b0261d, #ff9f95));
    --on-danger: light-dark(#ffffff, #3a0704);
    --danger-ground: light-dark(#fcebe9, #3b1e1c);
    --warning-ground: light-dark(#fdf3df, #372c16);
    --quiet-ground: light-dark(#eceae4, #22292e);
    --radius: var(--coach-relay-radius, 1rem);
    --small-radius: calc(var(--radius) * 0.6);
    --font: var(--coach-relay-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
    --shadow: 0 1px 2px rgb(0 0 0 / 8%), 0 8px 24px rgb(0 0 0 / 12%);
    display: block;
    block-size: 100%;
    min-block-size: 20rem;
    container-type: inline-size;
    font: 400 var(--coach-relay-font-size, 1rem) / 1.45 var(--font);
    color: var(--text);
    background: var(--ground);
    overflow: hidden;
    position: relative;
  }
  :host([scheme="light"]) {
    color-scheme: light;
  }
  :host([scheme="dark"]) {
    color-scheme: dark;
  }
  :host([hidden]) {
    display: none;
  }
`;
