import { css } from "lit";

/** What stands above the conversation: dialogs, a ring, a call; and the page that is printed. */
export const over = css`
  dialog {
    inline-size: min(32rem, calc(100vw - 1.5rem));
    max-block-size: calc(100dvh - 1.5rem);
    padding: 0;
    border: 1px solid var(--border);
    border-radius: var(--radius);
    background: var(--surface);
    color: var(--text);
    box-shadow: var(--shadow);
    overflow: hidden;
  }
  dialog[open] {
    display: flex;
    flex-direction: column;
  }
  dialog.wide {
    inline-size: min(46rem, calc(100vw - 1.5rem));
  }
  dialog::backdrop {
    background: rgb(10 14 16 / 55%);
  }
  .dialog-body {
    overflow: auto;
    padding: 0.25rem 1rem 1.25rem;
    display: grid;
    gap: 0.75rem;
    align-content: start;
  }
  .dialog-body form {
    display: grid;
    gap: 0.9rem;
  }
  .ask .question {
    position: relative;
    display: grid;
    gap: 0.6rem;
    padding: 0.75rem;
    border: 1px solid var(--border);
    border-radius: var(--small-radius);
  }
  .ask legend {
    padding-inline: 0.3rem;
    font-weight: 600;
    font-size: 0.9375em;
  }
  .ask .remove {
    position: absolute;
    inset-block-start: -0.4rem;
    inset-inline-end: 0.25rem;
  }
  .pair {
    display: flex;
    gap: 0.75rem;
  }
  .pair label {
    display: flex;
    align-items: center;
    gap: 0.5rem;
  }
  .ask > button {
    justify-self: start;
  }
  .tabs {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem;
    padding: 0.25rem;
    border-radius: var(--small-radius);
    background: var(--quiet-ground);
  }
  .tabs button {
    flex: 1 1 auto;
    border-color: transparent;
    background: transparent;
    padding-inline: 0.6rem;
  }
  .tabs button[aria-selected="true"] {
    background: var(--surface);
    border-color: var(--edge);
    font-weight: 600;
  }
  [role="tabpanel"] {
    display: grid;
    gap: 0.75rem;
  }
  .digits {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(5.5ch, max-content));
    gap: 0.15em 1.1em;
    font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace;
    font-size: 1.1875em;
    letter-spacing: 0.04em;
    max-inline-size: 15em;
  }
  .number-block {
    padding: 0.75rem 1rem;
    border-radius: var(--small-radius);
    background: var(--quiet-ground);
    display: grid;
    gap: 0.35rem;
  }
  .number-block h3 {
    font-size: 0.9375em;
  }
  video.scan {
    inline-size: 100%;
    max-block-size: 18rem;
    border-radius: var(--small-radius);
    background: #000;
  }
  .kit-words {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(9em, 1fr));
    gap: 0.35rem 1rem;
    inline-size: 100%;
    padding: 0.9rem 1rem;
    border-radius: var(--small-radius);
    background: var(--quiet-ground);
    font-size: 1.0625em;
    font-weight: 600;
    counter-reset: word;
  }
  .kit-words li {
    counter-increment: word;
  }
  .kit-words li::before {
    content: counter(word) ". ";
    display: inline-block;
    min-inline-size: 2.2em;
    color: var(--muted);
    font-weight: 400;
  }
  .kit-page {
    display: none;
  }
  .full-image {
    display: grid;
    place-items: center;
    min-block-size: 8rem;
  }
  .full-image img {
    max-inline-size: 100%;
    block-size: auto;
    max-block-size: 75dvh;
    inline-size: auto;
    border-radius: var(--small-radius);
  }
  .ring {
    position: absolute;
    inset-block-start: 0.75rem;
    inset-inline: 0.75rem;
    margin-inline: auto;
    max-inline-size: 32rem;
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.75rem 1rem;
    padding: 1rem;
    border: 1px solid var(--border);
    border-radius: var(--radius);
    background: var(--surface);
    box-shadow: var(--shadow);
    z-index: 40;
  }
  .dialog-body .ring {
    position: static;
    margin-inline: 0;
    max-inline-size: none;
    box-shadow: none;
    background: var(--quiet-ground);
  }
  .ring-text {
    flex: 1;
    min-inline-size: 0;
  }
  .ring-actions {
    display: flex;
    flex-wrap: wrap;
    gap: 0.6rem;
    inline-size: 100%;
  }
  .ring-actions button {
    flex: 1 1 auto;
  }
  .take {
    background: var(--good);
    border-color: var(--good);
    color: light-dark(#fff, #06231f);
    font-weight: 600;
  }
  .take:hover:not(:disabled) {
    background: color-mix(in oklab, var(--good) 88%, var(--text));
  }
  cr-call {
    display: flex;
    flex: 2 1 0;
    min-inline-size: 0;
    min-block-size: 0;
  }
  .call {
    --call-ground: #101517;
    --call-text: #eef2f3;
    display: flex;
    flex-direction: column;
    flex: 1;
    min-inline-size: 0;
    background: var(--call-ground);
    color: var(--call-text);
    color-scheme: dark;
  }
  .call .stage {
    position: relative;
    flex: 1;
    min-block-size: 0;
    overflow: hidden;
  }
  .call video.remote {
    position: absolute;
    inset: 0;
    inline-size: 100%;
    block-size: 100%;
    object-fit: contain;
  }
  .call video.local {
    position: absolute;
    inset-inline-end: 0.75rem;
    inset-block-end: 0.75rem;
    inline-size: min(9rem, 28%);
    border: 1px solid rgb(255 255 255 / 45%);
    border-radius: var(--small-radius);
    background: #000;
    box-shadow: var(--shadow);
  }
  .call video.unseen {
    visibility: hidden;
  }
  .no-picture {
    position: absolute;
    inset: 0;
    display: grid;
    place-items: center;
  }
  .call-head {
    position: absolute;
    inset-inline: 0;
    inset-block-start: 0;
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    gap: 0 0.75rem;
    padding: 0.6rem 1rem 1rem;
    background: linear-gradient(rgb(0 0 0 / 75%), rgb(0 0 0 / 60%) 75%, transparent);
    color: #fff;
    text-shadow: 0 0 3px #000;
  }
  .call-head strong {
    min-inline-size: 0;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .call-head .clock {
    margin-inline-start: auto;
    font-variant-numeric: tabular-nums;
  }
  .call-trouble {
    position: absolute;
    inset-inline: 0.75rem;
    inset-block-start: 3.25rem;
    display: flex;
    gap: 0.6rem;
    max-inline-size: 34rem;
    max-block-size: calc(100% - 4rem);
    overflow: auto;
    padding: 0.35rem 0.35rem 0.35rem 0.9rem;
    border-radius: var(--small-radius);
    background: #3a2c0f;
    color: #ffe2ac;
    font-size: 0.9375em;
    z-index: 1;
  }
  .call-trouble > .icon,
  .call-trouble > p {
    margin-block: 0.55rem;
  }
  .call-trouble > p {
    flex: 1;
    min-inline-size: 0;
  }
  .call-trouble > button {
    position: sticky;
    inset-block-start: 0;
    color: inherit;
    background: #3a2c0f;
  }
  .call-card {
    position: absolute;
    inset-block-end: 0.75rem;
    inset-inline: 0.75rem;
    max-inline-size: 30rem;
    max-block-size: calc(100% - 1.5rem);
    overflow: auto;
    margin-inline: auto;
    padding: 0 1rem 1rem;
    border-radius: var(--radius);
    background: var(--surface);
    color: var(--text);
    box-shadow: var(--shadow);
    display: grid;
    gap: 0.6rem;
    z-index: 2;
  }
  .call-card .dialog-head {
    padding-inline: 0;
    padding-block-end: 0;
  }
  .call-card .actions {
    margin-block-start: 0.25rem;
  }
  .five-words {
    display: flex;
    flex-wrap: wrap;
    gap: 0.35rem;
    font-size: 1.1875em;
    font-weight: 650;
  }
  .five-words li {
    padding: 0.2em 0.65em;
    border-radius: var(--small-radius);
    background: var(--quiet-ground);
  }
  .controls {
    display: flex;
    flex-wrap: wrap;
    justify-content: center;
    gap: 0.375rem;
    padding: 0.6rem 0.5rem;
    background: #181f22;
  }
  .control {
    flex-direction: column;
    gap: 0.15rem;
    min-inline-size: 4.75rem;
    padding: 0.4rem 0.5rem;
    border-color: transparent;
    background: transparent;
    color: var(--call-text);
    font-size: 0.8125em;
  }
  .control .icon {
    font-size: 1.15em;
  }
  .control:hover:not(:disabled),
  .control.marked {
    background: #2d383d;
  }
  .control.end,
  .control.end:hover:not(:disabled) {
    background: #b3261e;
    color: #fff;
  }
  .call :focus-visible {
    outline-color: #8fe0d7;
  }
  .call-card :focus-visible {
    outline-color: var(--accent);
  }
  .over-text {
    margin: auto;
    padding: 1.5rem;
    max-inline-size: 34rem;
    max-block-size: 100%;
    overflow: auto;
    display: grid;
    gap: 0.5rem;
  }
  .in-call .conversation {
    flex: 1 1 20rem;
    max-inline-size: 26rem;
    border-inline-start: 1px solid var(--border);
  }
  @container (max-width: 51.99rem) {
    .in-call .below {
      flex-direction: column;
    }
    .in-call cr-call {
      flex: 1 1 55%;
    }
    .in-call .conversation {
      flex: 1 1 45%;
      max-inline-size: none;
      border: 0;
    }
    /* Read and put away; what is written meanwhile has room enough. */
    .in-call cr-call:has(.call-card, .call-trouble) {
      flex-basis: 80%;
    }
    .in-call .conversation {
      min-block-size: 9rem;
    }
    .controls {
      gap: 0.125rem;
    }
    .control {
      flex: 1 1 3.25rem;
      min-inline-size: 0;
      max-inline-size: 6rem;
      padding-inline: 0.125rem;
      font-size: 0.75em;
    }
  }
  @media print {
    :host {
      overflow: visible;
      background: #fff;
    }
    .app > *:not(cr-kit) {
      display: none;
    }
    dialog,
    dialog[open] {
      position: static;
      inset: 0;
      margin: 0;
      display: block;
      max-block-size: none;
      max-inline-size: none;
      inline-size: auto;
      border: 0;
      box-shadow: none;
      background: #fff;
      color: #000;
    }
    dialog::backdrop {
      display: none;
    }
    dialog .dialog-head,
    dialog .dialog-body > *:not(.kit-page) {
      display: none;
    }
    .dialog-body {
      overflow: visible;
    }
    .kit-page {
      display: block;
      white-space: pre-wrap;
      /* Its lines have up to 78 letters: they fit between the margins of A4 and Letter. */
      font: 10pt / 1.5 ui-monospace, monospace;
      color: #000;
    }
  }
`;
