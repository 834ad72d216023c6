"""What is said inside a conversation, and its codec (docs/PROTOCOL.md section 9). Pure."""

from .amending import Act, Amended, amended, may_amend, that_count
from .amendments import REACTIONS, Amendment, Edit, Reaction, Retract
from .checkin import CheckIn, CheckInAnswer, Question, check_answers
from .envelope import Attest, BodyInvalid, Content, Envelope, Known
from .messages import CallEnded, CallInvite, File, Media, Outcome, Profile, Receipt, Text, Unknown
from .padding import padded_length

__all__ = [
    "REACTIONS",
    "Act",
    "Amended",
    "Amendment",
    "Attest",
    "BodyInvalid",
    "CallEnded",
    "CallInvite",
    "CheckIn",
    "CheckInAnswer",
    "Content",
    "Edit",
    "Envelope",
    "File",
    "Known",
    "Media",
    "Outcome",
    "Profile",
    "Question",
    "Reaction",
    "Receipt",
    "Retract",
    "Text",
    "Unknown",
    "amended",
    "check_answers",
    "may_amend",
    "padded_length",
    "that_count",
]
