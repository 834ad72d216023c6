import { css } from "lit";

/** Files, check-ins, trends and the composer. */
export const parts = css`
  .file {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    min-inline-size: 0;
  }
  .file > .icon {
    font-size: 1.15em;
  }
  .file-text {
    flex: 1;
    min-inline-size: 0;
    display: grid;
  }
  .file-name {
    font-weight: 550;
  }
  .picture {
    display: block;
    inline-size: 100%;
    min-block-size: 0;
    margin-block: 0.15rem 0.35rem;
    padding: 0;
    border: 0;
    border-radius: var(--small-radius);
    background: transparent;
    overflow: hidden;
  }
  .picture img {
    display: block;
    max-inline-size: 100%;
    block-size: auto;
    border-radius: var(--small-radius);
  }
  .picture.loading {
    inline-size: 14rem;
    block-size: 9rem;
    background: var(--quiet-ground);
  }
  .transfer {
    margin-block: 0.25rem;
    min-inline-size: min(16rem, 60vw);
  }
  .transfer-line {
    display: flex;
    align-items: center;
    gap: 0.1rem;
  }
  .transfer-line .hint {
    flex: 1;
    min-inline-size: 0;
    font-variant-numeric: tabular-nums;
  }
  .transfer.failed .hint {
    color: var(--danger);
  }
  .transfers > * {
    inline-size: 100%;
    max-inline-size: 52rem;
    margin-inline: auto;
  }
  .transfers {
    display: grid;
    gap: 0.5rem;
    max-block-size: 14rem;
    overflow: auto;
    padding: 0.6rem 1rem;
    border-block-start: 1px solid var(--border);
    background: var(--surface);
  }
  .checkin {
    inline-size: 28rem;
    max-inline-size: 100%;
    display: grid;
    gap: 0.5rem;
    padding-block: 0.2rem;
  }
  .checkin.answers {
    inline-size: auto;
    min-inline-size: min(13rem, 55vw);
  }
  .kicker {
    display: flex;
    align-items: start;
    gap: 0.4rem;
    color: var(--accent);
    font-size: 0.8125em;
    font-weight: 650;
  }
  .mine .kicker,
  .mine .link {
    color: inherit;
  }
  .prompt {
    font-weight: 600;
    font-size: 1.0625em;
    white-space: pre-wrap;
  }
  .asked {
    display: grid;
    gap: 0.2rem;
    padding-inline-start: 1.1rem;
    list-style: disc;
  }
  .checkin form {
    display: grid;
    gap: 0.9rem;
    justify-items: start;
  }
  .checkin fieldset {
    inline-size: 100%;
  }
  .checkin .hint > .icon {
    vertical-align: -0.25em;
  }
  .checkin legend {
    padding: 0 0 0.35rem;
  }
  .steps {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(2.25rem, 1fr));
    gap: 0.25rem;
  }
  .choices {
    display: flex;
    flex-wrap: wrap;
    gap: 0.35rem;
  }
  .choice {
    position: relative;
    cursor: pointer;
  }
  .choice input {
    position: absolute;
    inset: 0;
    inline-size: 100%;
    block-size: 100%;
    margin: 0;
    opacity: 0;
    cursor: pointer;
  }
  .choice span {
    display: grid;
    place-items: center;
    min-block-size: 2.75rem;
    padding: 0.2rem 0.3rem;
    border: 1px solid var(--edge);
    border-radius: var(--small-radius);
    background: var(--surface);
    color: var(--text);
  }
  .choices .choice span {
    padding-inline: 0.9rem;
  }
  .choice input:checked + span {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
    font-weight: 650;
  }
  .choice input:focus-visible + span {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
  }
  .slider {
    display: flex;
    align-items: center;
    gap: 0.75rem;
  }
  .slider input {
    flex: 1;
    min-block-size: 2.75rem;
    min-inline-size: 0;
  }
  .slider output {
    min-inline-size: 2.5ch;
    font-weight: 650;
    text-align: end;
  }
  .ends {
    display: flex;
    justify-content: space-between;
    padding-inline-end: 3.25rem;
  }
  .answers dl {
    display: grid;
    gap: 0.5rem;
  }
  .answer dt {
    font-size: 0.875em;
    opacity: 0.9;
  }
  .answer dd {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.25rem 0.9rem;
  }
  .number {
    font-size: 1.5em;
    font-weight: 650;
    line-height: 1.2;
  }
  .number small {
    font-size: 0.6em;
    font-weight: 400;
  }
  .spark path {
    fill: none;
    stroke: currentcolor;
    stroke-width: 2;
    stroke-linejoin: round;
    opacity: 0.65;
  }
  .spark circle {
    fill: currentcolor;
  }
  .answers > .link {
    justify-self: start;
  }
  .course + .course {
    margin-block-start: 1.5rem;
    padding-block-start: 1.25rem;
    border-block-start: 1px solid var(--border);
  }
  .chart {
    display: block;
    inline-size: 100%;
    max-inline-size: 44rem;
    overflow: visible;
  }
  .chart line {
    stroke: var(--border);
  }
  .chart text {
    fill: var(--muted);
    font-size: 0.8125rem;
  }
  .chart path {
    fill: none;
    stroke-width: 2.5;
    stroke-linejoin: round;
  }
  .line-0 {
    color: var(--accent);
  }
  .line-1 {
    color: var(--warning);
  }
  .line-2 {
    color: var(--good);
  }
  .chart g path {
    stroke: currentcolor;
  }
  .chart circle,
  .chart rect,
  .legend circle,
  .legend rect {
    fill: currentcolor;
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem 1.25rem;
    font-size: 0.875em;
  }
  .legend li {
    display: flex;
    align-items: center;
    gap: 0.4rem;
  }
  .legend svg {
    inline-size: 0.8em;
    block-size: 0.8em;
  }
  .legend bdi {
    color: var(--text);
  }
  table {
    border-collapse: collapse;
    inline-size: 100%;
    font-size: 0.9375em;
  }
  th,
  td {
    padding: 0.35rem 0.6rem 0.35rem 0;
    border-block-end: 1px solid var(--border);
    text-align: start;
  }
  .composer {
    border-block-start: 1px solid var(--border);
    background: var(--surface);
    padding: 0.5rem;
  }
  .compose-row {
    display: flex;
    align-items: flex-end;
    gap: 0.125rem;
    max-inline-size: 52rem;
    margin-inline: auto;
  }
  .compose-row textarea {
    flex: 1;
    min-inline-size: 0;
    resize: none;
    border-radius: 1.375rem;
    padding: 0.6rem 1rem;
    background: var(--ground);
    max-block-size: 180px;
  }
  .compose-row .send {
    margin-inline-start: 0.375rem;
  }
  .closed-note,
  .ended {
    padding: 0.75rem 1rem;
    color: var(--muted);
    font-size: 0.9375em;
    text-align: center;
  }
  cr-composer > .closed-note,
  .ended {
    border-block-start: 1px solid var(--border);
    background: var(--surface);
  }
  .composer > .closed-note {
    padding: 0 0.5rem 0.5rem;
    color: var(--danger);
  }
  .ended strong {
    color: var(--text);
  }
  .about {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    max-inline-size: 52rem;
    margin: 0 auto 0.4rem;
    padding-inline: 0.6rem 0;
    border-inline-start: 3px solid var(--accent);
  }
  .about > .icon {
    color: var(--accent);
  }
  .about div {
    flex: 1;
    min-inline-size: 0;
    display: grid;
    font-size: 0.875em;
  }
  .about span {
    color: var(--muted);
    white-space: nowrap;
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .staged {
    display: flex;
    flex-wrap: wrap;
    gap: 0.4rem;
    max-inline-size: 52rem;
    max-block-size: 10rem;
    overflow: auto;
    margin: 0 auto 0.5rem;
  }
  .staged li {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    max-inline-size: 18rem;
    padding: 0.25rem 0.25rem 0.25rem 0.6rem;
    border: 1px solid var(--border);
    border-radius: var(--small-radius);
    background: var(--ground);
    font-size: 0.9375em;
  }
  .staged img {
    inline-size: 2.75rem;
    block-size: 2.75rem;
    object-fit: cover;
    border-radius: 0.35rem;
  }
  .staged .file-name {
    display: -webkit-box;
    -webkit-box-orient: vertical;
    -webkit-line-clamp: 2;
    overflow: hidden;
  }
`;
