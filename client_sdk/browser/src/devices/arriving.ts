/** Linking this device: what it does from showing its secret until it has its account. */

import { utf8 } from "../bytes.ts";
import { RelayError } from "../errors.ts";
import { LinkSecret, SECRET_BYTES } from "../identity/linking.ts";
import { deviceName } from "../wire/ids.ts";
import type { ArrivalRecord } from "./arrival.ts";
import { arrivalWrite } from "./arrival.ts";
import type { Contact } from "./contact.ts";
import { LinkFailed } from "./errors.ts";
import type { Arrival } from "./first.ts";
import { ACCOUNT, CONFIRMED, FIRST_RECORDS } from "./first.ts";
import { HERE, meaningOf } from "./line.ts";
import { Meeting } from "./meeting.ts";
import { usableName } from "./names.ts";
import type { Told } from "./told.ts";
import { checkWhole, deviceNameRecord, readGrant, readMore, strange, toldWrites } from "./told.ts";

/** How long the words count. */
const SHOWN_MS = 15 * 60 * 1000;
const RETRY_MS = 1000;
/** As long as the relay keeps a sealed history that no message names. */
const HISTORY_SECONDS = 24 * 3600;

export interface Shown {
  readonly words: readonly string[];
  /** What the QR code says. */
  readonly qr: string;
}

/**
 * Show a secret and wait until another device of this person has told everything; it is in the vault when this
 * resolves. Raises LinkFailed, LinkTampered or AccessRefused.
 */
export async function beLinked(
  arrival: Arrival,
  contact: Contact,
  name: string,
  show: (shown: Shown) => Promise<unknown>,
): Promise<void> {
  const { environment, portal, user, vault } = arrival;
  const secret = new LinkSecret(environment.rng(SECRET_BYTES));
  const own = { portal, user, deviceKey: contact.device.public, name: usableName(name) };
  const line = contact.openLine(secret.channel);
  const meeting = new Meeting(line, secret, own, environment.rng);
  const late = new AbortController();
  const done = new AbortController();
  const timer = environment.sleep(SHOWN_MS, done.signal).then(() => {
    if (!done.signal.aborted) late.abort(TOO_LATE);
  });
  try {
    await show({ words: secret.words, qr: secret.code });
    while (true) {
      await contact.untilOnline(late.signal);
      try {
        await line.say(HERE);
        const told = await listen(meeting, contact, own, late.signal);
        await keep(told, secret);
        await meeting.say("stored");
        return;
      } catch (error) {
        const meant = meaningOf(error);
        if (!(meant instanceof RelayError)) throw meant;
        await environment.sleep(RETRY_MS, late.signal); // the connection broke: all of it once more
      }
    }
  } finally {
    done.abort();
    await timer;
  }

  async function keep(told: Told, shown: LinkSecret): Promise<void> {
    const until = Math.floor(environment.nowMs() / 1000) + HISTORY_SECONDS;
    const record: ArrivalRecord = { secret: shown.unsafeValue(), name: own.name, until };
    await vault.write([
      ...toldWrites(told, ACCOUNT),
      arrivalWrite(record),
      { name: deviceNameRecord(deviceName(told.account.deviceId)), value: utf8(own.name) },
      { name: CONFIRMED, value: Uint8Array.of(1) },
      ...FIRST_RECORDS.map((record) => ({ name: record, value: null })),
    ]);
  }
}

const TOO_LATE = new LinkFailed(
  "Nobody let this device in within a quarter of an hour, and its words count no more. Begin again.",
);

async function listen(
  meeting: Meeting,
  { device }: Contact,
  own: Parameters<typeof readGrant>[2],
  signal: AbortSignal,
): Promise<Told> {
  for (let told: Told | null = null; ; ) {
    const [kind, ...values] = await meeting.next(signal);
    if (meeting.fresh) [told, meeting.fresh] = [null, false];
    if (kind === "refused") {
      throw new LinkFailed(
        "On your other device this one was not let in. If that was a mistake, begin again.",
      );
    }
    if (kind === "grant") told = readGrant(values, device, own, meeting.other);
    else if (told === null) throw strange();
    else if (kind === "floors") {
      checkWhole(told, values);
      return told;
    } else readMore(told, kind, values);
  }
}
