/** The GroupContext extension 0xF0C1: what a conversation is, who takes part (docs/PROTOCOL.md section 7). */

import type { Bytes } from "../bytes.ts";
import { equal, utf8 } from "../bytes.ts";
import { sha256 } from "../crypto.ts";
import { ConversationInfoInvalid, UpdateRequired } from "../errors.ts";
import type { Int, Value } from "../msgpack.ts";
import { MAX_INT, PackingError, pack, unpack } from "../msgpack.ts";
import { WireError } from "../wire/errors.ts";
import type { EngagementId, PortalId, Role, UserId } from "../wire/ids.ts";
import { label, parseEngagementId, parsePortalId, parseRole, parseUserId } from "../wire/ids.ts";
import { MAX_PARTICIPANTS } from "../wire/limits.ts";
import { KEY_BYTES } from "./keys.ts";

export const EXTENSION_TYPE = 0xf0c1;
const FORMAT = 1;
/** 32 participants stay below 5 KiB; the rest is room for features and policy. */
const INFO_BYTES = 16 * 1024;
const MOST_NAMES = 32;
const NAME_BYTES = 64;

/** A person in the engagement: the portal's user id, role, and the identity key that was admitted. */
export interface Participant {
  readonly user: UserId;
  readonly role: Role;
  readonly identityKey: Bytes;
}

/** What all members agree on about the conversation: part of the group's state, signed and confirmed. */
export interface ConversationInfo {
  readonly portal: PortalId;
  readonly engagement: EngagementId;
  readonly generation: Int;
  readonly features: readonly string[];
  readonly policy: ReadonlyMap<string, Value>;
  readonly participants: readonly Participant[];
}

/** The extension's data; raises ConversationInfoInvalid if everybody would refuse it. */
export function serializeInfo(info: ConversationInfo): Bytes {
  const people = info.participants.map(({ user, role, identityKey }) => [user, role, identityKey] as const);
  const { portal, engagement, generation, features, policy } = info;
  const data = pack([FORMAT, portal, engagement, generation, features, policy, people]);
  parseInfo(data);
  return data;
}

/** The conversation that the extension's data describes; raises ConversationInfoInvalid. */
export function parseInfo(data: Bytes): ConversationInfo {
  if (data.length > INFO_BYTES) throw invalid(`it is longer than ${INFO_BYTES} bytes`);
  const value = unpacked(data);
  if (!Array.isArray(value) || value.length !== 7 || value[0] !== FORMAT) {
    throw invalid("its format is not 1");
  }
  const [, portal, engagement, generation, features, policy, participants] = value;
  if (!Array.isArray(features) || !(policy instanceof Map) || !Array.isArray(participants)) {
    throw invalid("its fields have the wrong types");
  }
  return {
    ...ids(portal, engagement),
    generation: parseGeneration(generation),
    features: names(features, "features"),
    policy: names([...policy.keys()], "policy") && policy,
    participants: parseParticipants(participants),
  };
}

/** The participant with this user id. */
export const participantOf = (info: ConversationInfo, user: UserId): Participant | undefined =>
  info.participants.find((participant) => participant.user === user);

/** H(label("group") || msgpack([portal, engagement, generation])), 32 bytes. */
export const groupId = (portal: PortalId, engagement: EngagementId, generation: Int): Bytes =>
  sha256(label("group"), pack([portal, engagement, generation]));

/** Both far more than a conversation can have; their product is a number that every record can hold. */
const MOST_GENERATIONS = 2 ** 30;
const GENERATION_EPOCHS = 2 ** 32;

/**
 * The number of an epoch within the conversation: it rises also where a new group takes over (PROTOCOL 8).
 * (generation - 1) * 2^32 + the group's own epoch; raises ConversationInfoInvalid where that is no number, or is
 * beyond 2^53 - 1: no conversation moves to a stronger suite two million times.
 */
export function conversationEpoch(generation: Int, epoch: Int): number {
  const inRange =
    generation >= 1 && generation <= MOST_GENERATIONS && epoch >= 0 && epoch < GENERATION_EPOCHS;
  const number = (Number(generation) - 1) * GENERATION_EPOCHS + Number(epoch);
  if (!inRange || !Number.isSafeInteger(number)) throw invalid("its generation or epoch is out of range");
  return number;
}

/** Whether this client may send here; raises UpdateRequired. Never a reason not to accept a commit. */
export function checkFeatures(info: ConversationInfo, supported: readonly string[] = []): void {
  const lacking = info.features.filter((feature) => !supported.includes(feature));
  if (lacking.length > 0) throw new UpdateRequired(lacking);
}

/** Whether both describe the conversation alike. */
export const sameInfo = (one: ConversationInfo, other: ConversationInfo): boolean =>
  equal(serializeInfo(one), serializeInfo(other));

function ids(portal: Value | undefined, engagement: Value | undefined) {
  try {
    return { portal: parsePortalId(portal), engagement: parseEngagementId(engagement) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw invalid("an id is not one");
  }
}

function parseGeneration(value: Value | undefined): Int {
  const isInt = typeof value === "number" || typeof value === "bigint";
  if (!isInt || value < 1 || value > MAX_INT) throw invalid("its generation is out of range");
  return value;
}

function parseParticipants(values: readonly Value[]): readonly Participant[] {
  if (values.length < 1 || values.length > MAX_PARTICIPANTS) {
    throw invalid(`it has not 1 to ${MAX_PARTICIPANTS} participants`);
  }
  const participants = values.map(parseParticipant);
  if (new Set(participants.map((one) => one.user)).size !== participants.length) {
    throw invalid("it names a participant twice");
  }
  return participants;
}

function parseParticipant(value: Value): Participant {
  if (!Array.isArray(value) || value.length !== 3) {
    throw invalid("a participant is not [user, role, identity key]");
  }
  const [user, role, identityKey] = value;
  if (!(identityKey instanceof Uint8Array) || identityKey.length !== KEY_BYTES) {
    throw invalid(`an identity key is not ${KEY_BYTES} bytes`);
  }
  try {
    return { user: parseUserId(user), role: parseRole(role), identityKey };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw invalid("a participant's user or role is not one");
  }
}

function names(values: readonly Value[], what: string): readonly string[] {
  const found = values.filter((value) => typeof value === "string");
  const sized = found.every((name) => name.length > 0 && utf8(name).length <= NAME_BYTES);
  const different = new Set(found).size === values.length && values.length <= MOST_NAMES;
  if (!sized || !different)
    throw invalid(`its ${what} are doubled, too many, or not 1 to ${NAME_BYTES} bytes`);
  return found;
}

const invalid = (reason: string): ConversationInfoInvalid =>
  new ConversationInfoInvalid(
    `The conversation's description is not valid: ${reason}. The change that brought it is ignored.`,
  );

function unpacked(data: Bytes): Value {
  try {
    return unpack(data);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw invalid("it is not well-formed");
  }
}
