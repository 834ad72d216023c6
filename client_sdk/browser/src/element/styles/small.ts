import { css } from "lit";

/** A narrow phone, and text at twice its size on one: sizes are in rem, so both are the same thing. */
export const small = css`
  @container (max-width: 30rem) {
    /* Who and for how long, and below it how well: not the one beside the other, for which there is no room. */
    .call-head {
      display: grid;
      grid-template-columns: 1fr auto;
      padding-block: 0.4rem 0.75rem;
    }
    .call-head [role="status"] {
      grid-area: 2 / 1 / auto / span 2;
      font-size: 0.875em;
    }
    .steps {
      grid-template-columns: repeat(auto-fit, minmax(2.75rem, 1fr));
    }
    .tabs {
      gap: 0;
    }
    .tabs button {
      padding-inline: 0.25rem;
      font-size: 0.875em;
    }
    .call-trouble {
      inset-inline: 0.5rem;
      inset-block-start: 3.5rem;
      font-size: 0.875em;
    }
    /* Until it has been read and put away, what is written in is enough of the conversation. */
    .in-call cr-call:has(.call-trouble) ~ .conversation {
      flex: 0 0 auto;
      min-block-size: 0;
    }
    cr-call:has(.call-trouble) ~ .conversation > cr-history {
      flex: none;
      block-size: 0;
      overflow: hidden;
    }
    cr-call:has(.call-trouble) ~ .conversation > cr-notices {
      max-block-size: 25vh;
    }
    .call-card {
      position: fixed;
      inset-inline: 0.5rem;
      inset-block: auto 0.5rem;
      max-inline-size: none;
      max-block-size: calc(100% - 1rem);
      z-index: 20;
    }
  }
  @container (max-width: 24rem) {
    .head > .avatar {
      display: none;
    }
    .head-text {
      padding-inline-start: 0;
    }
    .compose-row:has(textarea:not(:placeholder-shown)) .second {
      display: none;
    }
  }
  @container (max-width: 16rem) {
    .head {
      flex-wrap: wrap;
      padding: 0.35rem 0.5rem 0;
    }
    .head-text {
      flex: 1 1 100%;
    }
    .head > button {
      flex: 1 1 2rem;
      min-inline-size: 0;
      min-block-size: 2.25rem;
      block-size: 2.25rem;
    }
    .content {
      padding-inline: 0.5rem;
    }
    .line .more.round {
      inline-size: 1.5rem;
      min-inline-size: 0;
    }
    .compose-row {
      flex-wrap: wrap;
    }
    .compose-row textarea {
      flex: 1 1 100%;
      order: -1;
      padding-block: 0.35rem;
    }
    .compose-row .round {
      min-block-size: 2.25rem;
      block-size: 2.25rem;
    }
    .compose-row .send {
      margin-inline-start: auto;
    }
    .notice,
    .panel-head,
    .panel-body {
      padding-inline: 0.6rem;
    }
    .person,
    .devices li {
      flex-wrap: wrap;
    }
    dialog,
    dialog.wide {
      inline-size: calc(100vw - 0.5rem);
      max-inline-size: none;
      max-block-size: calc(100dvh - 0.5rem);
    }
    .dialog-head,
    .dialog-body {
      padding-inline: 0.6rem;
    }
    h2 {
      font-size: 1.0625em;
    }
    .kit-words {
      grid-template-columns: 1fr;
      padding: 0.5rem;
    }
    .kit-words li::before {
      min-inline-size: 1.8em;
    }
    button {
      padding-inline: 0.6rem;
    }
    .ring {
      padding: 0.6rem;
      inset: 0.25rem 0.25rem auto;
      max-block-size: calc(100% - 0.5rem);
      overflow: auto;
    }
    .ring > .avatar {
      display: none;
    }
    /* What is written in is always there; these are scrolled. */
    cr-notices,
    cr-transfers {
      flex: 0 1 auto;
      max-block-size: 60%;
      min-block-size: 0;
      overflow: auto;
    }
    .transfers {
      max-block-size: none;
    }
    cr-composer {
      flex: none;
    }
    .closed-note {
      padding: 0.25rem 0.5rem;
      font-size: 0.8125em;
    }
    /* The warning above says it too, and needs the room. */
    .composer > .closed-note {
      display: none;
    }
    .menu-reactions {
      grid-template-columns: repeat(4, 1fr);
    }
    .menu {
      max-block-size: calc(100vh - 1rem);
      overflow: auto;
    }
    .controls {
      padding-block: 0.25rem;
    }
    .control {
      flex: 1 1 2.25rem;
      min-block-size: 2.25rem;
    }
    .control:not(.end) span {
      position: absolute;
      inline-size: 1px;
      block-size: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    .in-call .head-text .standing {
      display: none;
    }
    .avatar.huge {
      inline-size: 4rem;
      block-size: 4rem;
      font-size: 1.5em;
    }
  }
`;
