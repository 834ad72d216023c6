import { css } from "lit";

/** The frame: header, notices, conversation, panel; one column on a phone, up to three on a desktop. */
export const layout = css`
  .app {
    display: flex;
    flex-direction: column;
    block-size: 100%;
    min-block-size: 0;
    position: relative;
  }
  .head {
    display: flex;
    align-items: center;
    gap: 0.25rem;
    padding: 0.5rem 0.5rem 0.5rem 0.875rem;
    background: var(--surface);
    border-block-end: 1px solid var(--border);
  }
  .head-text {
    flex: 1;
    min-inline-size: 0;
    padding-inline-start: 0.5rem;
  }
  .head-text h1 {
    white-space: nowrap;
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .head button.good {
    color: var(--good);
  }
  .head button.unsure {
    color: var(--warning);
  }
  .head button.bad {
    color: var(--danger);
  }
  .below {
    flex: 1;
    display: flex;
    min-block-size: 0;
    position: relative;
  }
  .conversation {
    flex: 1;
    display: flex;
    flex-direction: column;
    min-inline-size: 0;
    min-block-size: 0;
    position: relative;
  }
  cr-history {
    flex: 1;
    display: flex;
    flex-direction: column;
    min-block-size: 0;
    position: relative;
  }
  cr-notices,
  cr-transfers,
  cr-composer,
  cr-page,
  cr-file,
  cr-check-in,
  cr-answers,
  cr-devices,
  cr-scanner {
    display: block;
  }
  /* What happens in one page of the history is laid out without a look at the others. */
  cr-page {
    contain: layout style;
  }
  cr-notices {
    max-block-size: 70%;
    overflow: auto;
    flex: none;
  }
  cr-people {
    display: block;
    flex: none;
    inline-size: 23rem;
    min-block-size: 0;
    border-inline-start: 1px solid var(--border);
  }
  .notice {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem 0.75rem;
    align-items: center;
    padding: 0.75rem 1rem;
    background: var(--surface);
    border-block-end: 1px solid var(--border);
  }
  .notice > div,
  .notice > p {
    flex: 1 1 14rem;
    min-inline-size: 0;
  }
  .notice > .icon {
    color: var(--accent);
  }
  .notice h2 {
    font-size: 1em;
  }
  .notice .actions {
    margin-block-start: 0.6em;
  }
  .notice.alarm {
    align-items: start;
    background: var(--danger-ground);
    border-block-end: 2px solid var(--danger);
  }
  .notice.alarm > .icon {
    color: var(--danger);
    margin-block-start: 0.1em;
  }
  .notice.warning {
    background: var(--warning-ground);
  }
  .notice.warning > .icon {
    color: var(--warning);
  }
  .quiet-notice {
    padding-block: 0.5rem;
    background: var(--quiet-ground);
    font-size: 0.9375em;
  }
  .quiet-notice > p {
    flex-basis: 9rem;
  }
  .panel {
    display: flex;
    flex-direction: column;
    block-size: 100%;
    background: var(--surface);
  }
  .panel-head,
  .dialog-head {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    padding: 0.6rem 0.5rem 0.6rem 1rem;
  }
  .panel-head h2,
  .dialog-head h2 {
    flex: 1;
    min-inline-size: 0;
  }
  .panel-body {
    flex: 1;
    overflow: auto;
    padding: 0 1rem 1.25rem;
    display: grid;
    gap: 1rem;
    align-content: start;
  }
  .panel-body > section {
    display: grid;
    gap: 0.5rem;
    justify-items: start;
    padding-block-start: 1rem;
    border-block-start: 1px solid var(--border);
  }
  .panel-body > section > cr-devices,
  .panel-body form,
  .panel-body .switch {
    inline-size: 100%;
  }
  .people,
  .devices {
    display: grid;
    gap: 0.9rem;
  }
  .devices {
    gap: 0.25rem;
    margin-block: 0.5rem;
  }
  .person,
  .devices li {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.25rem 0.75rem;
  }
  .person {
    align-items: start;
  }
  .devices li {
    flex-wrap: nowrap;
    gap: 0.25rem 0.5rem;
  }
  .devices li form {
    flex: 1;
  }
  .person-text {
    flex: 1 1 9rem;
    min-inline-size: 0;
    display: grid;
  }
  .inline {
    display: flex;
    align-items: end;
    gap: 0.5rem;
  }
  .inline .field {
    flex: 1;
    min-inline-size: 0;
  }
  .inline button {
    min-block-size: 2.75rem;
  }
  .toasts {
    position: absolute;
    inset-inline: 0;
    inset-block-end: 5rem;
    display: grid;
    justify-items: center;
    pointer-events: none;
    padding-inline: 1rem;
    z-index: 30;
  }
  .toast {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    max-inline-size: 34rem;
    padding: 0.5rem 0.5rem 0.5rem 1rem;
    border-radius: var(--radius);
    background: var(--text);
    color: var(--ground);
    box-shadow: var(--shadow);
    pointer-events: auto;
  }
  .within .toast {
    max-inline-size: none;
    box-shadow: none;
  }
  .within .toast span {
    flex: 1;
  }
  /* Always there, so that what comes into it is read aloud; the gap before it is not. */
  .within:empty {
    margin-block-start: -0.75rem;
  }
  .toast button,
  .toast button:hover:not(:disabled) {
    color: inherit;
    background: transparent;
  }
  .toast :focus-visible {
    outline-color: currentcolor;
    outline-offset: -4px;
  }
  .drop {
    position: absolute;
    inset: 0.5rem;
    display: grid;
    place-content: center;
    justify-items: center;
    gap: 0.5rem;
    border: 3px dashed var(--accent);
    border-radius: var(--radius);
    background: color-mix(in oklab, var(--surface) 92%, transparent);
    color: var(--accent);
    font-weight: 650;
    pointer-events: none;
    z-index: 20;
  }
  .welcome {
    overflow: auto;
    padding: 1.5rem 1rem;
  }
  .welcome-box {
    margin: auto;
    inline-size: min(28rem, 100%);
    display: grid;
    gap: 1rem;
    justify-items: start;
  }
  .welcome-box h1 {
    font-size: 1.5em;
  }
  .welcome-box h1.small {
    font-size: 1.0625em;
    font-weight: 500;
  }
  .welcome-box form {
    inline-size: 100%;
    display: grid;
    gap: 0.75rem;
  }
  .offers {
    display: grid;
    gap: 0.75rem;
    inline-size: 100%;
  }
  .offer {
    justify-content: start;
    gap: 1rem;
    padding: 0.9rem 1.1rem;
    border-radius: var(--radius);
    border-color: var(--border);
    text-align: start;
  }
  .offer > span {
    display: grid;
    min-inline-size: 0;
  }
  .offer > span > span {
    color: var(--muted);
    font-size: 0.9375em;
  }
  .offer .icon {
    color: var(--accent);
    font-size: 1.2em;
  }
  .offer.first {
    border: 2px solid var(--accent);
  }
  .link-code {
    display: grid;
    gap: 0.5rem;
    inline-size: 100%;
  }
  @container (max-width: 47.99rem) {
    cr-people {
      position: absolute;
      inset: 0;
      inline-size: auto;
      border: 0;
      z-index: 10;
    }
  }
`;
