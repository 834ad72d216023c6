/** How good a connection is, from two looks at its statistics (W3C webrtc-stats). */

import type { CallApi } from "../api.ts";

export type Quality = CallApi["quality"];

/** What is read of a report; counts since the connection began. */
export interface Look {
  readonly received: number;
  readonly lost: number;
  /** What the other side says that it lost of ours, 0 to 1. */
  readonly lostThere: number;
  /** Seconds; null: not known yet. */
  readonly roundTrip: number | null;
  readonly jitter: number;
  readonly path: string;
}

const WEAK = { loss: 0.03, roundTrip: 0.3, jitter: 0.05 };
const POOR = { loss: 0.1, roundTrip: 0.8, jitter: 0.15 };
/** Fewer packets than this between two looks say nothing. */
const FEW = 20;

/** In a word: what a person would notice. */
export function qualityOf(before: Look | null, now: Look): Quality {
  const received = now.received - (before?.received ?? 0);
  const lost = Math.max(0, now.lost - (before?.lost ?? 0));
  if (now.roundTrip === null && received + lost < FEW) return "unknown";
  const lossHere = received + lost < FEW ? 0 : lost / (received + lost);
  const loss = Math.max(lossHere, now.lostThere);
  const over = (limit: typeof WEAK) =>
    loss > limit.loss || (now.roundTrip ?? 0) > limit.roundTrip || now.jitter > limit.jitter;
  return over(POOR) ? "poor" : over(WEAK) ? "weak" : "good";
}

/** So many looks in a row say the same before a person is told: of getting worse, of getting better. */
const SURE = { worse: 2, better: 3 };
const ORDER: readonly Quality[] = ["unknown", "poor", "weak", "good"];

/** What a person is told: not each change, which would be read aloud to those who listen to the screen. */
export class Steady {
  #told: Quality = "unknown";
  #next: Quality = "unknown";
  #times = 0;

  take(now: Quality): Quality {
    this.#times = now === this.#next ? this.#times + 1 : 1;
    this.#next = now;
    const sure = ORDER.indexOf(now) < ORDER.indexOf(this.#told) ? SURE.worse : SURE.better;
    if (this.#told === "unknown" || this.#times >= sure) this.#told = now;
    return this.#told;
  }
}

type Entry = Readonly<Record<string, unknown>>;

/** Read a report. */
export function lookAt(report: Iterable<readonly [string, Entry]>): Look {
  const all = new Map(report);
  const entries = [...all.values()];
  const inbound = entries.filter(({ type }) => type === "inbound-rtp");
  const there = entries.filter(({ type }) => type === "remote-inbound-rtp");
  const transport = entries.find(({ type }) => type === "transport");
  const pair = all.get(String(transport?.selectedCandidatePairId ?? ""));
  const roundTrip = pair?.currentRoundTripTime;
  return {
    received: sum(inbound, "packetsReceived"),
    lost: sum(inbound, "packetsLost"),
    lostThere: Math.max(0, ...there.map((entry) => number(entry.fractionLost))),
    roundTrip: typeof roundTrip === "number" ? roundTrip : null,
    jitter: Math.max(0, ...inbound.map((entry) => number(entry.jitter))),
    path: pathOf([pair?.localCandidateId, pair?.remoteCandidateId].map((id) => all.get(String(id ?? "")))),
  };
}

function pathOf(candidates: readonly (Entry | undefined)[]): string {
  const kinds = candidates.map((candidate) => candidate?.candidateType);
  if (kinds.includes("relay")) return "relay";
  return kinds.includes("srflx") || kinds.includes("prflx") ? "srflx" : "host";
}

const number = (value: unknown): number => (typeof value === "number" ? value : 0);
const sum = (entries: readonly Entry[], field: string): number =>
  entries.reduce((total, entry) => total + number(entry[field]), 0);
