"""The websocket client: address, handshake, reconnecting, token renewal, coalesced sending."""

from client_sdk.transport.address import RelayAddress, relay_address
from client_sdk.transport.environment import Environment
from client_sdk.transport.link import Link, LinkHandler, LinkStatus, TokenSource
from client_sdk.transport.session import DeviceProof, Incoming, Session, open_session
from client_sdk.transport.socket import Dial, Socket, WebSocketDial

__all__ = [
    "DeviceProof",
    "Dial",
    "Environment",
    "Incoming",
    "Link",
    "LinkHandler",
    "LinkStatus",
    "RelayAddress",
    "Session",
    "Socket",
    "TokenSource",
    "WebSocketDial",
    "open_session",
    "relay_address",
]
