/** Key packages of others: claimed from the relay, examined, and put into the suite that is wanted. */

import { SecurityAlarm } from "../alarms.ts";
import { ApprovalRequired, CoachRelayError, CredentialRefused, ManifestInvalid } from "../errors.ts";
import type { Manifest } from "../identity/manifest.ts";
import { eraAt, eraCounts } from "../identity/manifest.ts";
import { governing } from "../identity/membership.ts";
import { checkAdmission, sameLine } from "../identity/trust.ts";
import { GroupError } from "../mls/errors.ts";
import type { Candidate, OfferedPackages } from "../mls/keyPackages.ts";
import { checkPackage, readOffered } from "../mls/keyPackages.ts";
import type { SuiteId } from "../mls/suites.ts";
import type { Link } from "../transport/link.ts";
import type { Engagement, RelayFrames } from "../wire/frames.ts";
import type { DeviceId, EngagementId, UserId } from "../wire/ids.ts";
import { deviceName } from "../wire/ids.ts";
import type { State } from "./state.ts";
import type { Shared } from "./work.ts";
import { Work } from "./work.ts";

/** Claiming a device's key packages again and again would use them up; in the end once a day. */
const REFUSED_MS = 60_000;
const MOST_DOUBLINGS = 10;
/** More than a device leaves there before an update, and the relay gives them first. */
const MOST_PASSED_OVER = 24;
const MOST_CLAIMED = 32;

type Claimed = RelayFrames["KeyPackages"]["packages"][number];

/** What a device offers to be added by; `newest` is the newest device list known of its user. */
export interface Offered {
  readonly device: DeviceId;
  readonly packages: OfferedPackages;
  readonly newest: Manifest;
  readonly lastResort: boolean;
}

/** What a claim may look at. */
export interface Claiming {
  readonly id: EngagementId;
  readonly shared: Shared;
  readonly state: State;
  readonly engagement: Engagement;
  readonly ask: Link["ask"];
  /** Somebody appears with another identity: an alarm, if it is news. */
  alarm(alarm: SecurityAlarm, manifest: Manifest): Promise<void>;
}

/** Claims for one conversation; remembers whose offers were no good, and leaves them out for a while. */
export class Claims {
  readonly #nowMs: () => number;
  readonly #later: (ms: number) => void;
  readonly #refused = new Map<string, { readonly until: number; readonly times: number }>();

  /** `later`: look again after so many milliseconds. */
  constructor(nowMs: () => number, later: (ms: number) => void) {
    this.#nowMs = nowMs;
    this.#later = later;
  }

  isRefused(device: DeviceId): boolean {
    return (this.#refused.get(deviceName(device))?.until ?? 0) > this.#nowMs();
  }

  /** Leave the device out for a while, longer each time. */
  refuse(device: DeviceId): void {
    const times = this.#refused.get(deviceName(device))?.times ?? 0;
    const wait = REFUSED_MS * 2 ** Math.min(times, MOST_DOUBLINGS);
    this.#refused.set(deviceName(device), { until: this.#nowMs() + wait, times: times + 1 });
    this.#later(wait + 1000);
  }

  /** A person has decided: whoever was left out is looked at again. */
  forget(): void {
    this.#refused.clear();
  }

  /** What these devices offer, of those whose people may come in; raises RelayError. */
  async offers(devices: readonly DeviceId[], claiming: Claiming): Promise<readonly Offered[]> {
    if (devices.length === 0) return [];
    const wanted = devices.slice(0, MOST_CLAIMED);
    const question = { frame: "ClaimKeyPackages", stream: claiming.id, devices: wanted } as const;
    const { packages } = await claiming.ask(question, "KeyPackages");
    const given = new Map(packages.map((one) => [deviceName(one.device), one]));
    const found: Offered[] = [];
    for (const device of wanted) {
      const offered = await this.#examine(device, given.get(deviceName(device)), claiming);
      if (offered !== null) found.push(offered);
    }
    return found;
  }

  /**
   * Their packages of this suite, each with a device list at least as new as asked for. Who supports the suite by
   * the newest device list but was given without it is asked for again, a few times; the suite stays. So a relay
   * that keeps packages back delays, and weakens nothing.
   */
  async candidates(
    offered: readonly Offered[],
    suite: SuiteId,
    claiming: Claiming,
    atLeast: ReadonlyMap<string, Manifest> = new Map(),
  ): Promise<readonly Candidate[]> {
    const found: Candidate[] = [];
    let left = offered;
    for (let times = 0; left.length > 0 && times < MOST_PASSED_OVER; times++) {
      const again: DeviceId[] = [];
      for (const one of left) {
        const least = atLeast.get(deviceName(one.device))?.version ?? 0;
        const of = one.packages.bySuite.get(suite);
        if (of !== undefined && one.packages.manifest.version >= least) {
          const candidate = await this.#verified(one, suite);
          if (candidate !== null) found.push(candidate);
        } else if (one.newest.suites.includes(suite) && !one.lastResort) again.push(one.device);
        else this.refuse(one.device);
      }
      left = await this.offers(again, claiming);
    }
    for (const one of left) this.refuse(one.device);
    return found;
  }

  async #verified({ packages, device }: Offered, suite: SuiteId): Promise<Candidate | null> {
    try {
      return await checkPackage(packages, device, suite, Math.floor(this.#nowMs() / 1000));
    } catch (error) {
      if (!(error instanceof GroupError)) throw error;
      this.refuse(device);
      return null;
    }
  }

  async #examine(
    device: DeviceId,
    claimed: Claimed | undefined,
    claiming: Claiming,
  ): Promise<Offered | null> {
    let packages: OfferedPackages | null = null;
    try {
      if (claimed?.package == null) throw new CredentialRefused("A device has no key package.");
      packages = readOffered(claimed.package, device, claiming.shared.account.portal);
      if (!eraCounts(packages.manifest, eraAt(this.#nowMs()))) {
        throw new ManifestInvalid(
          "A device list is of an era that is to come: no recovery could surpass it.",
        );
      }
      check(packages, claiming);
      const newest = newestOf(packages.manifest, claiming.shared);
      return { device, packages, newest, lastResort: claimed.lastResort };
    } catch (error) {
      if (!(error instanceof CoachRelayError)) throw error;
      this.refuse(device);
      // An old list is what a device has that its user has revoked: it stays outside, and that is all.
      const told = error instanceof SecurityAlarm && error.code !== "manifest_rolled_back";
      if (told && packages !== null) await claiming.alarm(error, packages.manifest);
      return null;
    }
  }
}

function newestOf(manifest: Manifest, { account, trust }: Shared): Manifest {
  const known = manifest.user === account.user ? account.manifest : trust.get(manifest.user)?.newest;
  return known !== undefined && known.version > manifest.version && sameLine(known, manifest)
    ? known
    : manifest;
}

function check({ manifest, deviceKey }: OfferedPackages, claiming: Claiming): void {
  const { shared, state, engagement, id } = claiming;
  const roster = engagement.participants.map(({ user }) => user);
  const { view } = new Work(shared, id, state);
  checkAdmission({
    candidate: manifest,
    deviceKey,
    own: shared.account.manifest,
    record: shared.trust.get(manifest.user) ?? null,
    roster,
    met: state.met as readonly UserId[],
    approved: state.admitted.includes(manifest.user),
    takesPart: view !== null && governing(view, manifest.user) !== null,
  });
  if (!roster.includes(manifest.user)) {
    throw new ApprovalRequired("This person is not on the engagement's roster.");
  }
}
