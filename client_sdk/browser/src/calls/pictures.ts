/** Whether pictures of the other side come. What shows them keeps the last one, and says nothing of its age. */

/** So many looks in a row without a new picture: it is a still one. A screen that does not change has one a second. */
const STILL = 2;

type Entry = Readonly<Record<string, unknown>>;

/** Pictures that were shown since the connection began, of a report (W3C webrtc-stats). */
export function picturesOf(report: Iterable<readonly [string, Entry]>): number {
  let sum = 0;
  for (const [, { type, kind, framesDecoded }] of report) {
    if (type === "inbound-rtp" && kind === "video" && typeof framesDecoded === "number") sum += framesDecoded;
  }
  return sum;
}

export class Pictures {
  #count = 0;
  #still = 0;

  /** False: the camera there is off, or nothing of it comes through. */
  get come(): boolean {
    return this.#still < STILL;
  }

  /** A look at how many there were; before the first one, the browser itself says that there is none. */
  take(count: number): void {
    this.#still = count > 0 && count === this.#count ? this.#still + 1 : 0;
    this.#count = count;
  }
}
