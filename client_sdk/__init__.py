"""The Coach Relay client SDK: it holds the keys of a coaching conversation that its relay cannot read."""

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
from .errors import CoachRelayError, Fault

__all__ = [
    "CallEnded",
    "CallInvite",
    "CheckIn",
    "CheckInAnswer",
    "CoachRelayError",
    "Fault",
    "File",
    "Profile",
    "Question",
    "Text",
    "Unknown",
    "check_answers",
]
