/** Coach Relay in the browser. */

export type { CoachRelay, CoachRelayOptions, Room } from "./client.ts";
export { CoachRelayFailure, createCoachRelay } from "./client.ts";
export type { Person } from "./engine/conversation.ts";
export type { Message } from "./engine/history.ts";
export type { Failure } from "./engine/messages.ts";
export { CoachRelayError } from "./errors.ts";
