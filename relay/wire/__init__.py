"""The protocol between relay and device: typed frames, their codec, the connection automaton. Pure."""

from relay.wire.bundle import Bundle
from relay.wire.codec import decode_from_device, decode_from_relay, encode, encode_frame
from relay.wire.connection import Connection, Side, State
from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import DeviceFrame, EntryKind, Frame, RelayFrame
from relay.wire.proof import connect_proof_bytes

__all__ = [
    "Bundle",
    "Connection",
    "DeviceFrame",
    "EntryKind",
    "ErrorCode",
    "Frame",
    "RelayFrame",
    "Side",
    "State",
    "WireError",
    "connect_proof_bytes",
    "decode_from_device",
    "decode_from_relay",
    "encode",
    "encode_frame",
]
