/** How a conversation stands, as the page gets it. */

import { SecurityAlarm, sentenceAbout } from "../alarms.ts";
import type { Notice, RoomState } from "../api.ts";
import type { UserId } from "../wire/ids.ts";
import type { Situation } from "./situation.ts";
import { caughtUp, hindrance, isEnded, protectionOf } from "./situation.ts";
import type { Raised } from "./state.ts";
import { noticeOf, PROTECTION } from "./waiting.ts";

export const roomStateOf = (at: Situation): RoomState => ({
  member: at.state.group !== null,
  ended: isEnded(at),
  caughtUp: caughtUp(at),
  waiting: noticeOf(hindrance(at)),
  alarm: at.state.alarm && alarmNotice(at.state.alarm, at.shared.names),
  protection: PROTECTION[protectionOf(at.state)],
  readTo: at.state.read,
});

/** The alarm's sentences, with the name of the person that it is about. */
export function alarmNotice({ code, evidence }: Raised, names: ReadonlyMap<UserId, string>): Notice {
  const { user } = evidence as { readonly user?: unknown };
  if (typeof user !== "string") return { code, message: new SecurityAlarm(code).message };
  return { code, message: sentenceAbout(code, names.get(user as UserId) || user), user };
}
