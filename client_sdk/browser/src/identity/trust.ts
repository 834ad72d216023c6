/**
 * What this device believes about people: first contact, verification, change (docs/PROTOCOL.md 6 and 7).
 *
 * Trust decides what this device *sends* and whom it *adds*; it never decides what it accepts (that is
 * membership). Records are kept by user, in the vault; every function takes one and returns the next one.
 */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { ApprovalRequired, ManifestInvalid, RecordInvalid, UsageError } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { UserId } from "../wire/ids.ts";
import { KEY_BYTES } from "./keys.ts";
import type { Manifest } from "./manifest.ts";
import { checkSuccessor, eraOf, lists, manifestHash, RECOVERY, verifyManifest } from "./manifest.ts";

const FORMAT = 1;

/** `unverified`: nobody compared yet. `changed`: another key than before: sending stops until a decision. */
const STATES = ["unverified", "verified", "changed"] as const;
export type TrustState = (typeof STATES)[number];

/**
 * What is known about one person; times in milliseconds. `identityKey` is the key that this person is known
 * by; `newest` the newest device list seen, which names another key while `state` is `changed`; `vouched`: that
 * the recovery key vouches for it.
 */
export interface TrustRecord {
  readonly identityKey: Bytes;
  readonly newest: Manifest;
  readonly state: TrustState;
  readonly firstSeenMs: number;
  readonly decidedMs: number;
  readonly vouched: boolean;
}

/** This person compared, and `identityKey` is theirs; raises UsageError if it is not the newest. */
export function verifiedBy(record: TrustRecord, identityKey: Bytes, nowMs: number): TrustRecord {
  if (!equal(identityKey, record.newest.identityKey)) {
    throw new UsageError("The key that was compared is not this person's newest. Show the number again.");
  }
  return { ...record, state: "verified", identityKey: record.newest.identityKey, decidedMs: nowMs };
}

/** The person's new key is used from now on, without having been compared. */
export function changeAccepted(record: TrustRecord, nowMs: number): TrustRecord {
  if (record.state !== "changed") {
    throw new UsageError("This person's key has not changed: there is nothing to accept.");
  }
  return { ...record, state: "unverified", identityKey: record.newest.identityKey, decidedMs: nowMs };
}

/** Whether both lists are of one user who was set up once: they name the same recovery key. */
export const sameLine = (one: Manifest, other: Manifest): boolean =>
  one.user === other.user && equal(one.recoveryKey, other.recoveryKey);

/**
 * Whether the manifest that governs a user in a group is no older than the newest one seen; raises
 * SecurityAlarm (`manifest_rolled_back`, `manifest_forked`). Of somebody who was set up anew there is no order:
 * whether that is accepted, others decide.
 */
export function checkNotOlder(record: TrustRecord | null, governing: Manifest): void {
  if (record === null || !sameLine(record.newest, governing)) return;
  if (governing.version > record.newest.version) return;
  if (governing.version < record.newest.version) throw rolledBack(record.newest, governing);
  checkNotForked(record.newest, governing);
}

/**
 * The record after a user's governing manifest was seen in an accepted state of the group. Another identity
 * key makes the record `changed`, also if the recovery key vouches for it: this person should hear of it.
 */
export function observe(record: TrustRecord | null, manifest: Manifest, nowMs: number): TrustRecord {
  if (record === null) {
    const { identityKey } = manifest;
    const times = { firstSeenMs: nowMs, decidedMs: 0 };
    return { identityKey, newest: manifest, state: "unverified", ...times, vouched: false };
  }
  if (record.newest.user !== manifest.user) {
    throw new UsageError("A device list of one person was given for another one's record.");
  }
  const continued = sameLine(record.newest, manifest);
  if (continued && manifest.version <= record.newest.version) return record;
  const seen = { ...record, newest: manifest };
  if (equal(manifest.identityKey, record.newest.identityKey)) return seen;
  return { ...seen, state: "changed", vouched: continued };
}

/**
 * What decides on a waiting device. `candidate` is the manifest in its key package, `own` this user's newest
 * one, `record` what is known of the candidate's user, `roster` whom the portal invites, `met` every other user
 * that ever took part; `approved` says that a person on this device admitted exactly this identity; `takesPart`
 * that a device of the candidate's user is a member now.
 */
export interface Admission {
  readonly candidate: Manifest;
  readonly deviceKey: Bytes;
  readonly own: Manifest;
  readonly record: TrustRecord | null;
  readonly roster: readonly UserId[];
  readonly met: readonly UserId[];
  readonly approved: boolean;
  readonly takesPart: boolean;
}

/**
 * Whether this device may add the waiting device; raises ApprovalRequired or SecurityAlarm.
 *
 * It has to stand in the newest list seen of its user. A newer list in its own key package counts only for
 * somebody of whom no device takes part: else that device brings the list into the group first, so a stolen
 * identity key alone brings nobody in. A further device of this very user needs no more; nor does one of somebody
 * who takes part already. The other one of an engagement of two people is taken on trust at first contact. Any
 * further person needs approval; somebody who was set up anew needs a decision first.
 */
export function checkAdmission(admission: Admission): void {
  const { candidate, own, record, roster, met, approved, takesPart, deviceKey } = admission;
  if (candidate.user === own.user) {
    checkOwn(own, candidate, deviceKey);
    return;
  }
  if (record !== null) {
    if (!sameLine(record.newest, candidate)) throw changed(candidate);
    checkListed(record.newest, candidate, deviceKey, !takesPart);
  }
  if (!roster.includes(candidate.user)) {
    throw new ApprovalRequired(
      "This person is not on the engagement's roster. The portal has to invite them first.",
    );
  }
  const two = new Set(roster).size === 2 && roster.includes(own.user);
  const firstOfTwo = met.length === 0 && two;
  if (!met.includes(candidate.user) && !approved && !firstOfTwo) {
    throw new ApprovalRequired(
      "A further person was invited to this conversation. They can read along only after you have approved them.",
    );
  }
}

function checkOwn(own: Manifest, candidate: Manifest, deviceKey: Bytes): void {
  const another = !equal(candidate.identityKey, own.identityKey);
  if (another && (candidate.version > own.version || !sameLine(own, candidate))) {
    throw new SecurityAlarm("own_identity_changed", {
      user: candidate.user,
      identity: candidate.identityKey,
    });
  }
  checkListed(own, candidate, deviceKey, false);
}

/** Whether the newest list seen, or the candidate's own if that follows and counts, names the device. */
function checkListed(newest: Manifest, candidate: Manifest, deviceKey: Bytes, vouchedFor: boolean): void {
  if (candidate.version > newest.version) {
    checkSucceeds(newest, candidate);
    if (candidate.signer === RECOVERY) return; // it verified, so it lists the device, and the kit overrides
    if (!lists(newest, deviceKey) && !vouchedFor) throw unconfirmed();
    return; // the same identity key signed for it, and there is nobody else to ask
  }
  if (candidate.version === newest.version) checkNotForked(newest, candidate);
  if (!lists(newest, deviceKey)) throw rolledBack(newest, candidate);
}

function checkSucceeds(newest: Manifest, candidate: Manifest): void {
  try {
    checkSuccessor(newest, candidate);
  } catch (error) {
    if (!(error instanceof ManifestInvalid)) throw error;
    // One that was linked after a recovery which was not seen yet.
    throw eraOf(candidate) > eraOf(newest) ? unconfirmed() : changed(candidate);
  }
}

const changed = ({ user, identityKey }: Manifest): SecurityAlarm =>
  new SecurityAlarm("identity_changed", { user, identity: identityKey });

const unconfirmed = (): ApprovalRequired =>
  new ApprovalRequired(
    "A new device of a person waits until one of their devices that takes part confirms it.",
  );

function checkNotForked(one: Manifest, other: Manifest): void {
  const hashes = { one: manifestHash(one), other: manifestHash(other) };
  if (!equal(hashes.one, hashes.other)) {
    throw new SecurityAlarm("manifest_forked", { user: one.user, version: Number(one.version), ...hashes });
  }
}

const rolledBack = (seen: Manifest, offered: Manifest): SecurityAlarm =>
  new SecurityAlarm("manifest_rolled_back", {
    user: offered.user,
    seen: Number(seen.version),
    offered: Number(offered.version),
  });

/** Encode for the vault. */
export const serializeTrust = (record: TrustRecord): Bytes =>
  pack([
    FORMAT,
    record.identityKey,
    record.newest.raw,
    record.state,
    record.firstSeenMs,
    record.decidedMs,
    record.vouched,
  ]);

/** Decode from the vault; raises RecordInvalid. */
export function parseTrust(data: Bytes): TrustRecord {
  try {
    const values = unpack(data);
    const [format, identityKey, newest, stored, firstSeenMs, decidedMs, vouched] =
      Array.isArray(values) && values.length === 7 ? values : [];
    const state = STATES.find((one) => one === stored);
    const fits =
      format === FORMAT &&
      identityKey instanceof Uint8Array &&
      identityKey.length === KEY_BYTES &&
      newest instanceof Uint8Array &&
      typeof firstSeenMs === "number" &&
      typeof decidedMs === "number" &&
      Math.min(firstSeenMs, decidedMs) >= 0 &&
      typeof vouched === "boolean";
    if (!fits || state === undefined) throw new PackingError("a field of another form");
    return { identityKey, newest: verifyManifest(newest), state, firstSeenMs, decidedMs, vouched };
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof ManifestInvalid)) throw error;
    throw new RecordInvalid("A stored trust record is damaged. Set this browser up anew.");
  }
}
