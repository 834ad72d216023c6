/** The people of a conversation, as the page gets them. */

import type { Person } from "../api.ts";
import { leavesOf } from "../identity/membership.ts";
import type { UserId } from "../wire/ids.ts";
import { isAdmissible } from "./admitting.ts";
import type { Situation } from "./situation.ts";
import { viewOfState } from "./situation.ts";

/** Whoever takes part, and whom the portal's list names besides. */
export function peopleOf(at: Situation): readonly Person[] {
  const view = viewOfState(at.state);
  const people = new Map<UserId, string>();
  for (const { user, role } of view?.info.participants ?? []) people.set(user, role);
  for (const { user, role } of at.engagement?.participants ?? []) people.set(user, role);
  return [...people].map(([user, role]) => personOf(at, user, role));
}

function personOf(at: Situation, user: UserId, role: string): Person {
  const { account, names, trust } = at.shared;
  const view = viewOfState(at.state);
  const me = user === account.user;
  const devices = view === null ? 0 : leavesOf(view, user).length;
  return {
    user,
    name: me ? account.name : (names.get(user) ?? ""),
    role,
    me,
    devices,
    trust: me ? "me" : (trust.get(user)?.state ?? "unverified"),
    member: devices > 0,
    waitsForAdmission: view !== null && devices === 0 && !isAdmissible(at, user),
  };
}
