/** A person's decisions: whom they verified, whom they let in, and how to go on after an alarm. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import { UsageError } from "../errors.ts";
import type { Manifest } from "../identity/manifest.ts";
import { manifestHash, verifyManifest } from "../identity/manifest.ts";
import { changeAccepted, observe, verifiedBy } from "../identity/trust.ts";
import type { UserId } from "../wire/ids.ts";
import { parseUserId } from "../wire/ids.ts";
import { forgetStream } from "./keeping.ts";
import { beginRejoin } from "./outOfStep.ts";
import { phaseOf } from "./state.ts";
import type { Work } from "./work.ts";

const WENT_ON = "You decided to go on after an alarm.";
/** After these the stream that this device knew does not exist any more. */
const NEW_STREAM = new Set<string>(["stream_rolled_back", "stream_replaced", "cloned_device"]);
/** After these this device cannot tell what it missed: it rejoins and shows the gap. */
const BROKEN_STREAM = new Set<string>([
  "stream_forked",
  "stream_skipped",
  "relay_contradiction",
  "epoch_rolled_back",
]);
const IDENTITY = new Set<string>(["identity_changed", "identity_recovered", "own_identity_changed"]);

/** Device lists of somebody who appears as this person with another key: where they are noted. */
const claimName = (user: UserId): string => `claim/${user}`;

/** The newest list by which somebody appears as this person with another key, until it is decided. */
export async function claimed(work: Work, user: UserId): Promise<Manifest | null> {
  const raw = await work.read(claimName(user));
  return raw === null || raw.length === 0 ? null : verifyManifest(raw);
}

const decidedName = (manifest: Manifest): string => `decided/${manifest.user}/${hex(manifestHash(manifest))}`;

/** The claim is decided. Should a device come back that this person had lost, with its old list, it is no news. */
function settleClaim(work: Work, user: UserId): void {
  const known = work.trustOf(user);
  if (known !== null) work.put(decidedName(known.newest), Uint8Array.of(1));
  work.put(claimName(user), new Uint8Array());
}

/** Whether this list alarms for the first time: a person decides about it once. */
export async function isNews(work: Work, manifest: Manifest): Promise<boolean> {
  const name = decidedName(manifest);
  if ((await work.read(name)) !== null) return false;
  work.put(name, Uint8Array.of(1));
  work.put(claimName(manifest.user), manifest.raw);
  return true;
}

/** The key that is this person's by all that is known: that of somebody who waits included. */
export async function shownKey(work: Work, user: UserId): Promise<Bytes | null> {
  return (await claimed(work, user))?.identityKey ?? work.trustOf(user)?.newest.identityKey ?? null;
}

/** This person's key was compared, and is theirs; raises UsageError if it is another one by now. */
export async function verify(work: Work, name: string, key: Bytes): Promise<void> {
  const user = parseUserId(name);
  const claim = await claimed(work, user);
  if (claim !== null && equal(claim.identityKey, key)) {
    const seen = observe(work.trustOf(user), claim, work.shared.nowMs());
    settleClaim(work, user);
    work.setTrust(verifiedBy(seen, key, work.shared.nowMs()));
  } else {
    const record = work.trustOf(user);
    if (record === null) throw new UsageError("This person has not taken part yet: there is no number.");
    work.setTrust(verifiedBy(record, key, work.shared.nowMs()));
  }
  settleIdentity(work, user);
}

/** The person's new key is used without having been compared; raises UsageError if there is none. */
export async function acceptIdentity(work: Work, name: string): Promise<void> {
  const user = parseUserId(name);
  const [claim, record] = [await claimed(work, user), work.trustOf(user)];
  if (claim !== null) {
    const seen = observe(record, claim, work.shared.nowMs());
    settleClaim(work, user);
    work.setTrust(seen.state === "changed" ? changeAccepted(seen, work.shared.nowMs()) : seen);
  } else if (record === null) throw new UsageError("This person has not taken part yet.");
  else work.setTrust(changeAccepted(record, work.shared.nowMs()));
  settleIdentity(work, user);
}

/** A person has decided about this user's key: an alarm about it is over, and sending goes on. */
function settleIdentity(work: Work, user: UserId): void {
  const { alarm } = work.state;
  if (
    alarm !== null &&
    IDENTITY.has(alarm.code) &&
    [undefined, user].includes(alarm.evidence.user as UserId)
  ) {
    work.change({ alarm: null });
  }
}

/** Go on after the alarm that is shown. */
export async function goOn(work: Work): Promise<void> {
  const { alarm } = work.state;
  if (alarm === null) return;
  if (IDENTITY.has(alarm.code)) await withoutClaim(work, String(alarm.evidence.user ?? ""));
  else if (NEW_STREAM.has(alarm.code)) {
    await forgetStream(work);
    work.change({ incarnation: null, cursor: 0, lastCommit: 0, startsOver: true });
    rejoinAfter(work);
  } else if (BROKEN_STREAM.has(alarm.code)) {
    // The person takes the group as it is; who was seen to leave has to leave it all the same.
    if (alarm.code === "epoch_rolled_back") work.change({ overtaken: true, branch: -1, floor: -1 });
    rejoinAfter(work);
  }
  work.change({ alarm: null });
}

/** Go on with whom the conversation has: with a key that came in, and without one that has not. */
async function withoutClaim(work: Work, name: string): Promise<void> {
  if (name === "") return;
  const user = parseUserId(name);
  if ((await claimed(work, user)) !== null) {
    work.put(claimName(user), new Uint8Array());
    return;
  }
  const record = work.trustOf(user);
  if (record?.state === "changed") work.setTrust(changeAccepted(record, work.shared.nowMs()));
}

function rejoinAfter(work: Work): void {
  const { alarm } = work.state;
  if (phaseOf(work.state) === "outside" || alarm === null) return;
  const { what } = new SecurityAlarm(alarm.code, alarm.evidence);
  beginRejoin(work, `${WENT_ON} ${what}`);
}
