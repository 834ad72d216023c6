"""The Coach Relay client SDK: it holds the keys of a coaching conversation that its relay cannot read."""

from .client import Client
from .content import (
    CallEnded,
    CallInvite,
    CheckIn,
    CheckInAnswer,
    File,
    Profile,
    Question,
    Text,
    Unknown,
    check_answers,
)
from .delivery import SecurityAlarm
from .engagement import Engagement
from .engine import Alarm, Delivery, Gap, Item, People, Person, Ring, Waiting, WaitReason
from .errors import CoachRelayError, Fault

__all__ = [
    "Alarm",
    "CallEnded",
    "CallInvite",
    "CheckIn",
    "CheckInAnswer",
    "Client",
    "CoachRelayError",
    "Delivery",
    "Engagement",
    "Fault",
    "File",
    "Gap",
    "Item",
    "People",
    "Person",
    "Profile",
    "Question",
    "Ring",
    "SecurityAlarm",
    "Text",
    "Unknown",
    "WaitReason",
    "Waiting",
    "check_answers",
]
