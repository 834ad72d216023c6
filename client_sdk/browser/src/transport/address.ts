/** The relay's address, and the origin that a device proves itself for (docs/PROTOCOL.md section 2.1). */

import { UsageError } from "../errors.ts";

export interface RelayAddress {
  /** Scheme, host and port, http or https (RFC 6454 section 6.2). */
  readonly origin: string;
  /** The websocket's URL. */
  readonly connect: string;
}

/** The address behind a relay's http or https URL; plain http is for this machine alone. Raises UsageError. */
export function relayAddress(given: string): RelayAddress {
  if (!URL.canParse(given)) throw new UsageError("The relay's address is not a URL.");
  const url = new URL(given);
  const local =
    url.hostname === "localhost" || url.hostname.endsWith(".localhost") || isLoopback(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && local)) {
    throw new UsageError("The relay's address must begin with https:// (or http:// on this machine).");
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new UsageError("The relay's address is scheme, host, port and path alone.");
  }
  const { origin } = url;
  const connect = new URL(`${url.pathname.replace(/\/+$/, "")}/v1/connect`, origin);
  connect.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return { origin, connect: connect.href };
}

const isLoopback = (host: string): boolean => host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
