/** Coach Relay in the browser. */

export type * from "./api.ts";
export { CoachRelay, CoachRelayFailure, createCoachRelay, Room } from "./client.ts";
export { REACTIONS } from "./content/amendments.ts";
export { CoachRelayError } from "./errors.ts";
