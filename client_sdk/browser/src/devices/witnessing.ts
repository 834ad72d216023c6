/**
 * What others know of a person's archive: who comes back learns from them whether the relay kept all of it. The device
 * that keeps an archive says now and then, inside the conversation, how far it is. The others keep that, and tell it
 * to a device of that person that joins (docs/PROTOCOL.md section 16).
 */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Work } from "../engine/work.ts";
import { eraOf } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import type { Packable, Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { EngagementId } from "../wire/ids.ts";
import { ARCHIVE_SERIES_BYTES, MAX_ARCHIVE_PARTS } from "../wire/limits.ts";

/** The field of a `profile` that tells of archives. */
export const ARCHIVES = "archives";
/** People of whom one message tells: as many as take part. */
const MOST = 32;
const MOST_USER_LENGTH = 64;

/** A user, a series of their archive, and how many parts it has at least. */
type Known = readonly [string, Bytes, number];

const witnessName = (engagement: EngagementId, user: string): string => `witness/${engagement}/${user}`;
const warnedName = (engagement: EngagementId, series: Bytes): string =>
  `withheld/${engagement}/${hex(series)}`;

/** How many parts of a series came back to this device. */
export const restoredName = (engagement: string, series: Bytes): string =>
  `restored/${engagement}/${hex(series)}`;
export const restoredValue = (parts: number): Bytes => pack([parts]);

/** How far an archive is, as it is said beside a name. */
export const saying = (known: readonly Known[]): ReadonlyMap<string, Value> =>
  new Map(known.length === 0 ? [] : [[ARCHIVES, known.map((one): Value => [...one])]]);

/** What is known of the archives of those whose devices have just come. */
export async function knownOf(
  work: Work,
  view: ConversationView,
  before: ReadonlySet<string>,
): Promise<readonly Known[]> {
  const came = view.leaves.filter((leaf) => !before.has(leaf.name)).map((leaf) => leaf.user);
  const found: Known[] = [];
  for (const user of [...new Set(came)].sort().slice(0, MOST)) {
    const known = read([user, ...listIn(await work.read(witnessName(work.engagement, user)))]);
    if (known !== null) found.push(known);
  }
  return found;
}

/** Somebody told of archives: of their own, to be kept, or of this user's, to be compared. */
export async function heardOfArchives(
  work: Work,
  sender: string,
  extra: ReadonlyMap<string, Value>,
): Promise<void> {
  const { user: own, manifest } = work.shared.account;
  const listed = extra.get(ARCHIVES);
  for (const value of Array.isArray(listed) ? listed.slice(0, MOST) : []) {
    const known = read(value);
    if (known === null) continue;
    const [user, series, parts] = known;
    if (user === sender) work.put(witnessName(work.engagement, user), pack([series, parts]));
    else if (user === own && eraOf(manifest) > 0n) await compare(work, series, parts);
  }
}

/** Raise the alarm, once, if more was archived than the relay gave when this device came back. */
async function compare(work: Work, series: Bytes, parts: number): Promise<void> {
  const { engagement } = work;
  const [own] = listIn(await work.read(`archive/of/${engagement}`));
  if (own instanceof Uint8Array && equal(own, series)) return; // what this very device keeps
  const [restored] = listIn(await work.read(restoredName(engagement, series)));
  const count = typeof restored === "number" ? restored : 0;
  const warned = warnedName(engagement, series);
  if (count >= parts || (await work.read(warned)) !== null) return;
  work.put(warned, Uint8Array.of(1));
  work.raise(new SecurityAlarm("archive_withheld", { restored: count, known: parts }));
}

/** What somebody said of an archive; null if it is nothing that can be. */
function read(value: Packable): Known | null {
  const [user, series, parts] = Array.isArray(value) && value.length === 3 ? value : [];
  const sane =
    typeof user === "string" &&
    user.length <= MOST_USER_LENGTH &&
    series instanceof Uint8Array &&
    series.length === ARCHIVE_SERIES_BYTES &&
    typeof parts === "number" &&
    parts >= 1 &&
    parts <= MAX_ARCHIVE_PARTS;
  return sane ? [user, series, parts] : null;
}

function listIn(data: Bytes | null): readonly Value[] {
  if (data === null) return [];
  try {
    const values = unpack(data);
    return Array.isArray(values) ? values : [];
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    return [];
  }
}
