"""The Coach Relay client SDK: it holds the keys of a coaching conversation that its relay cannot read."""

from .client import Client
from .content import (
    REACTIONS,
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
from .engine import (
    Alarm,
    Change,
    Changed,
    Delivery,
    Gap,
    Item,
    People,
    Person,
    Reacted,
    Retracted,
    Ring,
    Seen,
    Waiting,
    WaitReason,
)
from .errors import CoachRelayError, Fault

__all__ = [
    "REACTIONS",
    "Alarm",
    "CallEnded",
    "CallInvite",
    "Change",
    "Changed",
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
    "Reacted",
    "Retracted",
    "Ring",
    "SecurityAlarm",
    "Seen",
    "Text",
    "Unknown",
    "WaitReason",
    "Waiting",
    "check_answers",
]
