"""What is said inside a conversation, and its codec (docs/PROTOCOL.md section 9). Pure."""

from .checkin import CheckIn, CheckInAnswer, Question, check_answers
from .envelope import Attest, BodyInvalid, Content, Envelope, Known
from .messages import CallEnded, CallInvite, File, Media, Outcome, Profile, Receipt, Text, Unknown
from .padding import padded_length

__all__ = [
    "Attest",
    "BodyInvalid",
    "CallEnded",
    "CallInvite",
    "CheckIn",
    "CheckInAnswer",
    "Content",
    "Envelope",
    "File",
    "Known",
    "Media",
    "Outcome",
    "Profile",
    "Question",
    "Receipt",
    "Text",
    "Unknown",
    "check_answers",
    "padded_length",
]
