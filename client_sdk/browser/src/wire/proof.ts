/** What a device signs to prove itself (docs/PROTOCOL.md section 2.1). */

import type { Bytes } from "../bytes.ts";
import { concat } from "../bytes.ts";
import { pack } from "../msgpack.ts";
import type { DeviceId, PortalId } from "./ids.ts";
import { label } from "./ids.ts";

/** `origin` is the scheme, host and port that the device connected to (RFC 6454 6.2), http or https. */
export interface ConnectProof {
  readonly origin: string;
  readonly portal: PortalId;
  readonly device: DeviceId;
  readonly relayNonce: Bytes;
  readonly clientNonce: Bytes;
}

/** The bytes under the device's Ed25519 signature in `Authenticate`, its label included. */
export const connectProofBytes = (proof: ConnectProof): Bytes =>
  concat(
    label("connect"),
    pack([proof.origin, proof.portal, proof.device, proof.relayNonce, proof.clientNonce]),
  );
