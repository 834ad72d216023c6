/** The shipped types say what is true of the module: `npm run types` fails where they do not. */

import type * as made from "../src/index.ts";
import type * as shipped from "../src/shipped.d.ts";

type Is<A extends B, B> = A;
type Names =
  | Exclude<keyof typeof shipped, keyof typeof made>
  | Exclude<keyof typeof made, keyof typeof shipped>;

export type Checked = [
  Is<Names, never>,
  Is<typeof made.REACTIONS, typeof shipped.REACTIONS>,
  Is<made.Room, shipped.Room>,
  Is<made.CoachRelay, shipped.CoachRelay>,
  Is<made.CoachRelayFailure, shipped.CoachRelayFailure>,
  Is<Parameters<typeof shipped.createCoachRelay>[0], Parameters<typeof made.createCoachRelay>[0]>,
  Is<Awaited<ReturnType<typeof made.createCoachRelay>>, Awaited<ReturnType<typeof shipped.createCoachRelay>>>,
];
