"""The hub: live connections, delivery, the commit queue, and the services behind the portal API."""

from relay.hub.engagement_admin import EngagementAdmin
from relay.hub.hub import Hub, Statistics
from relay.hub.portals import NewKeys, Portals
from relay.hub.session import Session
from relay.hub.settings import EraseBlob, HubSettings, IceServersFor, Sink, VerifyToken

__all__ = [
    "EngagementAdmin",
    "EraseBlob",
    "Hub",
    "HubSettings",
    "IceServersFor",
    "NewKeys",
    "Portals",
    "Session",
    "Sink",
    "Statistics",
    "VerifyToken",
]
