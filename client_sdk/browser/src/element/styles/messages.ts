import { css } from "lit";

/** The history and its bubbles, files, check-ins; the composer. */
export const messages = css`
  .scroller {
    flex: 1;
    overflow: auto;
    overflow-anchor: none;
    overscroll-behavior: contain;
    min-block-size: 0;
    scrollbar-gutter: stable;
  }
  .content {
    max-inline-size: 52rem;
    margin-inline: auto;
    padding: 0.5rem 0.875rem 0.75rem;
    min-block-size: 100%;
    display: flex;
    flex-direction: column;
  }
  .content > .edge {
    margin-block-start: auto;
    padding: 0.75rem 0;
    text-align: center;
    color: var(--muted);
    font-size: 0.8125em;
  }
  .empty {
    flex: 1;
    min-block-size: 0;
    overflow: auto;
    display: grid;
    align-content: safe center;
    justify-items: center;
    gap: 0.75rem;
    padding: 1.5rem;
    text-align: center;
  }
  .empty p {
    max-inline-size: 26rem;
    color: var(--muted);
  }
  .day,
  .unread {
    display: flex;
    align-items: center;
    justify-content: center;
    padding-block: 1rem 0.5rem;
  }
  .day span {
    padding: 0.15em 0.9em;
    border-radius: 1rem;
    background: var(--quiet-ground);
    color: var(--muted);
    font-size: 0.8125em;
  }
  .unread {
    gap: 0.75rem;
    color: var(--accent);
    font-size: 0.8125em;
    font-weight: 650;
  }
  .unread::before,
  .unread::after {
    content: "";
    flex: 1;
    border-block-start: 1px solid currentcolor;
    opacity: 0.5;
  }
  .message {
    display: flex;
    flex-direction: column;
    align-items: flex-start;
    padding-block: 1px;
    border-radius: var(--small-radius);
    scroll-margin-block: 3rem;
  }
  .message.first {
    padding-block-start: 0.6rem;
  }
  .message.mine {
    align-items: flex-end;
  }
  .message:focus-visible,
  .note:focus-visible {
    outline-offset: 0;
  }
  .message.found .bubble {
    animation: found 1.6s ease-out;
  }
  @keyframes found {
    0%,
    50% {
      box-shadow: 0 0 0 3px var(--accent);
    }
  }
  .sender {
    padding-inline: 0.75rem;
    color: var(--muted);
    font-size: 0.8125em;
    font-weight: 600;
  }
  .line {
    display: flex;
    align-items: center;
    gap: 0.125rem;
    max-inline-size: min(100%, 36rem);
  }
  .mine .line {
    flex-direction: row-reverse;
  }
  .bubble {
    min-inline-size: 4.5rem;
    padding: 0.45rem 0.75rem 0.3rem;
    border: 1px solid var(--border);
    border-radius: var(--radius);
    background: var(--theirs);
  }
  .mine .bubble {
    background: var(--mine);
    color: var(--on-mine);
    border-color: transparent;
  }
  .theirs .bubble {
    border-start-start-radius: 0.35rem;
  }
  .mine .bubble {
    border-start-end-radius: 0.35rem;
  }
  .theirs.first .bubble {
    border-start-start-radius: var(--radius);
  }
  .mine.first .bubble {
    border-start-end-radius: var(--radius);
  }
  .bubble.gone {
    background: transparent;
    border: 1px dashed var(--edge);
    color: var(--muted);
    font-style: italic;
  }
  .written {
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  .meta {
    display: flex;
    justify-content: flex-end;
    align-items: center;
    gap: 0.4em;
    color: var(--muted);
    font-size: 0.75em;
    line-height: 1.5;
  }
  .mine .meta,
  .mine .bubble .hint {
    color: var(--mine-muted);
  }
  .gone .meta {
    color: var(--muted);
  }
  .mark {
    display: inline-flex;
  }
  .mark .icon {
    inline-size: 1.35em;
    block-size: 1.35em;
  }
  .mark.read {
    color: var(--accent);
  }
  .more.round {
    inline-size: 2rem;
    block-size: 2rem;
    min-block-size: 2rem;
    color: var(--muted);
    opacity: 0;
  }
  .message:hover .more,
  .message:focus-within .more,
  .message:focus .more,
  .more[aria-expanded="true"] {
    opacity: 1;
  }
  /* A finger needs more than what is drawn. */
  .more,
  .reaction,
  button.link {
    position: relative;
  }
  .more::after,
  .reaction::after,
  button.link::after {
    content: "";
    position: absolute;
    inset: -0.5rem -0.375rem;
  }
  @media (hover: none) {
    .more.round {
      opacity: 0.75;
    }
  }
  .quote {
    display: grid;
    justify-items: start;
    inline-size: 100%;
    min-block-size: 0;
    margin-block-end: 0.3rem;
    padding: 0.25rem 0.6rem;
    border: 0;
    border-inline-start: 3px solid var(--accent);
    border-radius: 0.35rem;
    background: color-mix(in oklab, var(--accent) 9%, transparent);
    color: inherit;
    text-align: start;
    font-size: 0.875em;
    gap: 0;
  }
  .quote > span {
    max-block-size: 2.9em;
    overflow: hidden;
  }
  .reactions {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem;
    margin: -0.25rem 0.5rem 0.25rem;
  }
  .reaction {
    min-block-size: 1.75rem;
    padding: 0 0.55rem;
    border-radius: 1rem;
    border-color: var(--border);
    font-size: 0.9375em;
  }
  .reaction[aria-pressed="true"] {
    border-color: var(--accent);
    background: var(--mine);
    color: var(--on-mine);
  }
  .note {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: center;
    gap: 0.25rem 0.5rem;
    margin-block: 0.6rem;
    padding: 0.25rem 0.75rem;
    border-radius: var(--small-radius);
    color: var(--muted);
    font-size: 0.875em;
    text-align: center;
  }
  .note time {
    font-size: 0.875em;
  }
  .note > span {
    min-inline-size: 0;
  }
  .note.missed {
    color: var(--danger);
  }
  .note.gap {
    justify-content: start;
    text-align: start;
    flex-wrap: nowrap;
    padding: 0.75rem 1rem;
    border: 1px dashed var(--edge);
    background: var(--warning-ground);
    color: var(--text);
  }
  .note.gap .icon {
    color: var(--warning);
  }
  .note.gap time {
    display: none;
  }
  .typing {
    flex: none;
    min-block-size: 1.5rem;
    inline-size: 100%;
    display: flex;
    align-items: center;
    gap: 0.5rem;
    max-inline-size: 52rem;
    margin-inline: auto;
    padding: 0.1rem 1.25rem;
    color: var(--muted);
    font-size: 0.8125em;
  }
  .dots {
    display: inline-flex;
    gap: 0.2em;
  }
  .dots i {
    inline-size: 0.35em;
    block-size: 0.35em;
    margin-block: 0.5em;
    border-radius: 50%;
    background: currentcolor;
    animation: dot 1.2s infinite;
  }
  .dots i:nth-child(2) {
    animation-delay: 0.2s;
  }
  .dots i:nth-child(3) {
    animation-delay: 0.4s;
  }
  @keyframes dot {
    30% {
      translate: 0 -0.25em;
    }
  }
  .jump {
    position: absolute;
    inset-inline-end: 1.25rem;
    inset-block-end: 2.25rem;
    border-radius: 2rem;
    box-shadow: var(--shadow);
    border-color: var(--border);
    min-inline-size: 2.75rem;
    padding-inline: 0.75rem;
  }
  .menu {
    position: fixed;
    inset: auto;
    margin: 0;
    padding: 0.35rem;
    border: 1px solid var(--border);
    border-radius: var(--radius);
    background: var(--surface);
    color: var(--text);
    box-shadow: var(--shadow);
    max-inline-size: calc(100vw - 1rem);
  }
  .menu-reactions {
    display: grid;
    grid-template-columns: repeat(8, 1fr);
    border-block-end: 1px solid var(--border);
    padding-block-end: 0.25rem;
    margin-block-end: 0.25rem;
  }
  .menu button {
    border-color: transparent;
    background: transparent;
  }
  .menu button:hover,
  .menu button:focus-visible {
    background: var(--quiet-ground);
  }
  .menu-reactions button {
    padding: 0;
    min-inline-size: 2.4rem;
    font-size: 1.2em;
  }
  .menu-reactions [aria-checked="true"] {
    background: var(--mine);
  }
  .menu > button {
    display: flex;
    inline-size: 100%;
    justify-content: start;
  }
  .menu :focus-visible {
    outline-offset: -2px;
  }
`;
