/** What the relay's codes mean for the person at this device: what happened, and what to do. A page may show it. */

const ASK = "If it stays so, tell whoever runs the portal.";
const AGAIN = `It is tried again by itself. ${ASK}`;
/** The portal gave no access token, or none that is taken. */
export const NOT_SIGNED_IN = `Your portal could not sign you in here. Reload the page. ${ASK}`;
const TOO_SLOW = `The connection was too slow, and the relay ended it. ${AGAIN}`;

/** Why there is no connection. */
const ENDS: Readonly<Record<string, string>> = {
  token_invalid: NOT_SIGNED_IN,
  token_expired: NOT_SIGNED_IN,
  signature_invalid: NOT_SIGNED_IN,
  token_revoked: `Your portal has taken your access back. Sign in there again. ${ASK}`,
  device_limit:
    "You have as many devices as one person can have here. On another one of them open “Who can read this”, " +
    "remove one that you do not use any more, then reload this page.",
  device_foreign:
    "This browser's device belongs to another person of your portal. Sign in there as that person, or tell " +
    "whoever runs the portal.",
  device_revoked: "This device was taken out of yours.",
  quota_exceeded: `Your portal has as many devices connected as it may. ${AGAIN}`,
  unsupported_version: `This page and the relay do not understand each other: one of them is too old. Reload the page. ${ASK}`,
  draining: "The relay is being restarted. It is connected again by itself.",
  replaced:
    "This device has connected a second time, which ended the connection here. It is tried again by itself.",
  slow_reader: TOO_SLOW,
  idle_timeout: TOO_SLOW,
  handshake_timeout: TOO_SLOW,
};

/** Why something that was asked of it was not done. */
const REFUSALS: Readonly<Record<string, string>> = {
  rate_limited: "That was too often in a short time. Wait a minute, then try again.",
  not_found: "The relay does not have this, or not any more.",
  ended: "The engagement has ended: nothing more can be said in it.",
  not_on_roster: "This person is not on the portal's list for this conversation any more.",
  too_many_devices:
    "As many devices take part in this conversation as can. One of them has to be removed first.",
  store_full: `The relay has no room left. Nothing of yours is lost. ${ASK}`,
};

const saidIn = (table: Readonly<Record<string, string>>, code: string, otherwise: string): string =>
  (Object.hasOwn(table, code) ? table[code] : undefined) ?? otherwise;

/** Why the relay ended the connection, or does not let this device in. */
export const whyEnded = (code: string): string =>
  saidIn(ENDS, code, `The relay ended the connection. ${AGAIN}`);

/** Why the relay refused what it was asked. */
export const whyRefused = (code: string): string =>
  saidIn(REFUSALS, code, `The relay did not do that. Try again in a while. ${ASK}`);
