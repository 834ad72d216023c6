import { css } from "lit";

/** Buttons, fields, text: what looks the same everywhere. */
export const base = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd,
  pre,
  fieldset {
    margin: 0;
    padding: 0;
    border: 0;
    min-inline-size: 0;
  }
  ul,
  ol {
    list-style: none;
  }
  h1,
  h2,
  h3 {
    font-weight: 650;
    line-height: 1.25;
    overflow-wrap: anywhere;
  }
  h1 {
    font-size: 1.0625em;
  }
  h2 {
    font-size: 1.1875em;
  }
  h3 {
    font-size: 1em;
  }
  h1:focus,
  h2:focus {
    outline: none;
  }
  p,
  span,
  strong,
  bdi,
  li,
  dt,
  legend {
    overflow-wrap: anywhere;
  }
  bdi,
  [dir="auto"] {
    unicode-bidi: isolate;
  }
  .sr {
    position: absolute;
    inline-size: 1px;
    block-size: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .icon {
    inline-size: 1.25em;
    block-size: 1.25em;
    flex: none;
    fill: none;
    stroke: currentcolor;
    stroke-width: 1.8;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  .hint {
    color: var(--muted);
    font-size: 0.875em;
  }
  button,
  input,
  select,
  textarea {
    font: inherit;
    color: inherit;
  }
  button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5em;
    min-block-size: 2.75rem;
    padding: 0.35em 1em;
    border: 1px solid var(--edge);
    border-radius: var(--small-radius);
    background: var(--surface);
    color: var(--text);
    cursor: pointer;
    text-align: center;
    overflow-wrap: anywhere;
  }
  button:hover:not(:disabled) {
    background: var(--quiet-ground);
  }
  button:disabled {
    cursor: default;
    opacity: 0.5;
  }
  :focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
  }
  button.primary {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
    font-weight: 600;
  }
  button.primary:hover:not(:disabled) {
    background: color-mix(in oklab, var(--accent) 88%, var(--text));
  }
  button.danger {
    background: var(--danger);
    border-color: var(--danger);
    color: var(--on-danger);
    font-weight: 600;
  }
  button.danger:hover:not(:disabled) {
    background: color-mix(in oklab, var(--danger) 88%, var(--text));
  }
  button.danger-quiet {
    color: var(--danger);
    border-color: var(--danger);
  }
  button.quiet {
    border-color: transparent;
    background: transparent;
  }
  button.quiet:hover:not(:disabled) {
    background: var(--quiet-ground);
  }
  button.round {
    inline-size: 2.75rem;
    block-size: 2.75rem;
    flex: none;
    padding: 0;
    border-radius: 50%;
  }
  button.link {
    min-block-size: 1.75rem;
    padding: 0.1em 0.25em;
    border: 0;
    background: none;
    color: var(--accent);
    text-decoration: underline;
    text-underline-offset: 0.15em;
  }
  a {
    color: inherit;
    text-underline-offset: 0.15em;
  }
  input:not([type="checkbox"], [type="radio"], [type="range"], [type="file"]),
  select,
  textarea {
    inline-size: 100%;
    min-block-size: 2.75rem;
    padding: 0.5em 0.75em;
    border: 1px solid var(--edge);
    border-radius: var(--small-radius);
    background: var(--surface);
    color: var(--text);
  }
  textarea {
    resize: vertical;
    line-height: 1.4;
  }
  ::placeholder {
    color: var(--muted);
    opacity: 1;
  }
  input[type="checkbox"],
  input[type="radio"],
  input[type="range"],
  progress {
    accent-color: var(--accent);
  }
  progress {
    inline-size: 100%;
    block-size: 0.5rem;
    border: 0;
    border-radius: 1rem;
    background: var(--border);
    overflow: hidden;
    appearance: none;
    display: block;
  }
  progress::-webkit-progress-bar {
    background: var(--border);
  }
  progress::-webkit-progress-value {
    background: var(--accent);
    border-radius: 1rem;
    transition: inline-size 0.2s;
  }
  progress::-moz-progress-bar {
    background: var(--accent);
  }
  .field {
    display: grid;
    gap: 0.3em;
    font-size: 0.9375em;
  }
  .switch {
    display: grid;
    grid-template-columns: auto 1fr;
    gap: 0.75em;
    align-items: start;
    padding-block: 0.35em;
    cursor: pointer;
  }
  .switch input {
    inline-size: 1.25rem;
    block-size: 1.25rem;
    margin: 0.1em 0 0;
  }
  .switch .hint {
    display: block;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: 0.6em;
    margin-block-start: 1em;
  }
  .trouble {
    color: var(--danger);
    font-size: 0.9375em;
  }
  .trouble:empty {
    display: none;
  }
  .avatar {
    display: grid;
    place-items: center;
    flex: none;
    inline-size: 2.5rem;
    block-size: 2.5rem;
    border-radius: 50%;
    background: var(--mine);
    color: var(--on-mine);
    font-weight: 650;
    text-transform: uppercase;
    overflow: hidden;
  }
  .avatar.large {
    inline-size: 3.5rem;
    block-size: 3.5rem;
    font-size: 1.4em;
  }
  .avatar.huge {
    inline-size: 6rem;
    block-size: 6rem;
    font-size: 2.4em;
  }
  .badge {
    display: grid;
    place-items: center;
    inline-size: 3.5rem;
    block-size: 3.5rem;
    border-radius: 50%;
    background: var(--mine);
    color: var(--on-mine);
    font-size: 1.2em;
  }
  .standing {
    display: flex;
    gap: 0.4em;
    align-items: start;
    color: var(--muted);
    font-size: 0.875em;
  }
  .standing.good {
    color: var(--good);
  }
  .standing.unsure {
    color: var(--warning);
  }
  .standing.bad {
    color: var(--danger);
  }
  .qr {
    display: block;
    inline-size: min(15rem, 100%);
    margin: 0.75em auto;
    border-radius: var(--small-radius);
    background: #fff;
  }
  .code {
    font-family: ui-monospace, monospace;
    font-size: 0.875em;
    user-select: all;
  }
  summary {
    cursor: pointer;
    padding-block: 0.35em;
  }
  .bar {
    inline-size: 8rem;
    block-size: 0.25rem;
    border-radius: 1rem;
    background: linear-gradient(90deg, transparent, var(--accent), transparent) no-repeat var(--border);
    background-size: 50% 100%;
    animation: pass 1.4s infinite ease-in-out;
  }
  @keyframes pass {
    from {
      background-position: -100% 0;
    }
    to {
      background-position: 200% 0;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
      scroll-behavior: auto !important;
    }
  }
`;
