/** How two devices of one person meet on a line, from either side (docs/PROTOCOL.md 6.1). */

import type { Bytes, Rng } from "../bytes.ts";
import type { Introduction, LinkSecret, LinkSession } from "../identity/linking.ts";
import { Greeting, isHello } from "../identity/linking.ts";
import type { Packable, Value } from "../msgpack.ts";
import { LinkTampered } from "./errors.ts";
import type { Line } from "./line.ts";
import { HERE } from "./line.ts";

/** Bodies that do not open; then somebody is at the channel who should not be. */
const MOST_TAMPERED = 64;

/** The other device is there anew: a new meeting begins. */
export class BeginAgain extends Error {}

export type Said = readonly [string, ...Value[]];

/** The new device's side: answers every greeting, and gives what was said after it. */
export class Meeting {
  readonly #line: Line;
  readonly #secret: LinkSecret;
  readonly #self: Introduction;
  readonly #rng: Rng;
  #session: LinkSession | null = null;
  #tampered = 0;
  /** The known device, once it has greeted. */
  other: Introduction | null = null;
  /** Whether a meeting has just begun, so that what was told before it does not count. */
  fresh = true;

  constructor(line: Line, secret: LinkSecret, self: Introduction, rng: Rng) {
    [this.#line, this.#secret, this.#self, this.#rng] = [line, secret, self, rng];
  }

  /** The next message; raises RelayError, the signal's reason, or LinkTampered when too much was none. */
  async next(signal?: AbortSignal): Promise<Said> {
    while (true) {
      const body = await this.#line.hear(signal);
      try {
        if (isHello(body)) await this.#greet(body);
        else if (!isHere(body) && this.#session !== null) return this.#session.open(body);
      } catch (error) {
        if (!(error instanceof LinkTampered) || ++this.#tampered >= MOST_TAMPERED) throw error;
      }
    }
  }

  async #greet(body: Bytes): Promise<void> {
    const greeting = new Greeting(this.#secret, "new", this.#self, this.#rng);
    const { hello, session } = greeting.meet(body);
    [this.other, this.#session, this.fresh] = [hello, session, true];
    await this.#line.say(greeting.body);
    await this.#line.say(session.seal("ready"));
  }

  /** Answer what was just said. */
  async say(kind: string, ...fields: readonly Packable[]): Promise<void> {
    if (this.#session !== null) await this.#line.say(this.#session.seal(kind, ...fields));
  }
}

/** Greet until the new device answers; raises RelayError, LinkTampered or the signal's reason. */
export async function meetNewcomer(
  line: Line,
  secret: LinkSecret,
  self: Introduction,
  rng: Rng,
  signal?: AbortSignal,
): Promise<{ readonly hello: Introduction; readonly session: LinkSession }> {
  for (let refused = 0; ; ) {
    line.begin();
    const greeting = new Greeting(secret, "known", self, rng);
    await line.say(greeting.body);
    try {
      let body = await line.hear(signal);
      while (!isHere(body) && !isHello(body)) body = await line.hear(signal); // of a meeting before
      if (isHere(body)) continue;
      const met = greeting.meet(body);
      // So a greeting of an earlier meeting, sent again, is none.
      await hearKind(line, met.session, "ready", signal);
      return met;
    } catch (error) {
      if (error instanceof BeginAgain) continue;
      if (!(error instanceof LinkTampered) || ++refused >= MOST_TAMPERED) throw error;
    }
  }
}

/** The fields of the next message, which is of this kind; raises BeginAgain, LinkTampered or RelayError. */
export async function hearKind(
  line: Line,
  session: LinkSession,
  kind: string,
  signal?: AbortSignal,
): Promise<readonly Value[]> {
  const body = await line.hear(signal);
  if (isHere(body) || isHello(body)) throw new BeginAgain();
  const [said, ...fields] = session.open(body);
  if (said !== kind) {
    throw new LinkTampered("The other device answers something else than what was said to it.");
  }
  return fields;
}

const isHere = (body: Bytes): boolean => body.length === HERE.length;
