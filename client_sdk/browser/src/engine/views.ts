/** What the rules of membership see of a group: worked out once an epoch, as it verifies every device list. */

import type { ConversationView } from "../identity/membership.ts";
import { viewOf } from "../identity/membership.ts";
import type { Group } from "../mls/group.ts";

const known = new WeakMap<object, ConversationView>();

export function viewIn(group: Group): ConversationView {
  const view = known.get(group.context) ?? viewOf(group.facts);
  known.set(group.context, view);
  return view;
}
