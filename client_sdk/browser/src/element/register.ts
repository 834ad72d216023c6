/** Defines the elements, once a page. Only the two roots are public; the others are their parts. */

import { AnswersView } from "./answers.ts";
import { AskDialog } from "./ask.ts";
import { CallView } from "./call.ts";
import { CheckInView } from "./checkin.ts";
import { Composer } from "./composer.ts";
import { Confirm } from "./confirm.ts";
import { DevicesView } from "./devices.ts";
import { FileView, Transfers } from "./file.ts";
import { HistoryView } from "./history.ts";
import { ImageDialog } from "./image.ts";
import { KitDialog } from "./kit.ts";
import { AddDevice } from "./link.ts";
import { MessageMenu } from "./menu.ts";
import { Notices } from "./notices.ts";
import { HistoryPage } from "./page.ts";
import { PeoplePanel } from "./people.ts";
import { RingView } from "./ring.ts";
import { CoachRelayRoom } from "./room.ts";
import { Scanner } from "./scanner.ts";
import { TrendDialog } from "./trend.ts";
import { VerifyDialog } from "./verify.ts";
import { CoachRelayWelcome } from "./welcome.ts";

const ELEMENTS = {
  "coach-relay-room": CoachRelayRoom,
  "coach-relay-welcome": CoachRelayWelcome,
  "cr-add-device": AddDevice,
  "cr-answers": AnswersView,
  "cr-ask": AskDialog,
  "cr-call": CallView,
  "cr-check-in": CheckInView,
  "cr-composer": Composer,
  "cr-confirm": Confirm,
  "cr-devices": DevicesView,
  "cr-file": FileView,
  "cr-history": HistoryView,
  "cr-image": ImageDialog,
  "cr-kit": KitDialog,
  "cr-menu": MessageMenu,
  "cr-notices": Notices,
  "cr-page": HistoryPage,
  "cr-people": PeoplePanel,
  "cr-ring": RingView,
  "cr-scanner": Scanner,
  "cr-transfers": Transfers,
  "cr-trend": TrendDialog,
  "cr-verify": VerifyDialog,
} as const;

export function register(): void {
  for (const [name, element] of Object.entries<CustomElementConstructor>(ELEMENTS)) {
    if (customElements.get(name) === undefined) customElements.define(name, element);
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "coach-relay-room": CoachRelayRoom;
    "coach-relay-welcome": CoachRelayWelcome;
  }
}
