"""What a device signs to prove itself (PROTOCOL 2.1)."""

from __future__ import annotations

import msgpack

from relay.wire.ids import DeviceId, PortalId, label


def connect_proof_bytes(
    origin: str, portal: PortalId, device: DeviceId, relay_nonce: bytes, client_nonce: bytes
) -> bytes:
    """The bytes under the device's Ed25519 signature in `Authenticate`, its label included.

    `origin` is the scheme, host and port that the device connected to (RFC 6454 6.2), http or https.
    """
    fields = [origin, portal, device, relay_nonce, client_nonce]
    packed: bytes = msgpack.packb(fields)
    return label("connect") + packed
