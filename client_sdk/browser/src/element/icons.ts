/** Signs of 24 by 24, drawn with lines in the colour of the text. They say nothing by themselves: labels do. */

import { html } from "lit";

const PATHS = {
  attach: "M8 12.5l6-6a3 3 0 0 1 4.2 4.2l-7.8 7.8a5 5 0 0 1-7-7L11 4",
  back: "M14 5l-7 7 7 7",
  bell: "M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15zM10 21h4",
  camera: "M3 7h11v10H3zM14 11l7-4v10l-7-4",
  cameraOff: "M3 7h11v10H3zM14 11l7-4v10l-7-4M3 3l18 18",
  check: "M5 12.5l4.5 4.5L19 7",
  checkIn: "M7 4h10a2 2 0 0 1 2 2v14H5V6a2 2 0 0 1 2-2zM8.5 10l1.5 1.5 3-3M9 16h6",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
  close: "M6 6l12 12M18 6L6 18",
  delivered: "M2.5 13l4 4L15 7.5M11 16l1 1 9.5-9.5",
  device: "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2",
  down: "M12 4v15M6 13l6 6 6-6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  file: "M6 3h8l4 4v14H6zM14 3v5h4M9 13h6M9 17h4",
  gap: "M4 12h4M16 12h4M10 7l4 10",
  hangUp: "M3 15c5-6 13-6 18 0l-2.5 2.5-4-2v-2.6c-1.6-.5-3.4-.5-5 0v2.6l-4 2z",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6",
  microphoneOff:
    "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6M3 3l18 18",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  offline: "M4 9a12 12 0 0 1 16 0M7 13a7 7 0 0 1 10 0M12 18h.01M3 3l18 18",
  pause: "M8 5v14M16 5v14",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 5a3 3 0 0 1 0 6M18 14.5c2 .8 3.200 2.700 3.500 5.500",
  phone:
    "M5 4h4l1.500 4.500-2 1.500c1 2.500 3 4.500 5.500 5.500l1.500-2L20 15v4c0 1-1 1.500-2 1.500C10.500 20 4 13.500 3.500 6c0-1 .5-2 1.500-2z",
  play: "M8 5l11 7-11 7z",
  plus: "M12 5v14M5 12h14",
  read: "M2.5 13l4 4L15 7.5M11 16l1 1 9.5-9.5",
  reply: "M10 6l-6 6 6 6M4 12h10a6 6 0 0 1 6 6",
  save: "M12 4v11M7 10l5 5 5-5M5 20h14",
  screen: "M3 5h18v11H3zM8 20h8M12 16v4",
  send: "M4 12l16-7-6 15-3-6z",
  sent: "M5 12.5l4.5 4.5L19 7",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500v5M9 14.500v5",
  shield: "M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6z",
  shieldCheck:
    "M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6zM8.500 12l2.500 2.500 4.500-5",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  trend: "M4 19V5M4 19h16M7 15l4-4 3 2 5-6",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  waiting: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
} as const;

export type IconName = keyof typeof PATHS;

export const icon = (name: IconName) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]}></path></svg>`;
