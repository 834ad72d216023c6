"""Calls between two devices: negotiated inside the conversation, media from device to device (WebRTC).

The extra "calls" is needed to make one; without it a call raises `CallsUnavailable`.
"""

from client_sdk.calls.call import Call, CallContext, Party, Signals
from client_sdk.calls.errors import (
    CalledAlready,
    CallError,
    CallMessageInvalid,
    CallNotConnected,
    CallNotPossible,
    CallsUnavailable,
    CallTampered,
    DescriptionRefused,
    MediaUnavailable,
    RecordingFailed,
)
from client_sdk.calls.media import Media, media_from_devices, media_from_file
from client_sdk.calls.messages import KINDS, call_id
from client_sdk.calls.session import CallSettings
from client_sdk.calls.states import CallEnd, Outcome, Phase, Role
from client_sdk.calls.statistics import CallStatistics, MediaStatistics

__all__ = [
    "KINDS",
    "Call",
    "CallContext",
    "CallEnd",
    "CallError",
    "CallMessageInvalid",
    "CallNotConnected",
    "CallNotPossible",
    "CallSettings",
    "CallStatistics",
    "CallTampered",
    "CalledAlready",
    "CallsUnavailable",
    "DescriptionRefused",
    "Media",
    "MediaStatistics",
    "MediaUnavailable",
    "Outcome",
    "Party",
    "Phase",
    "RecordingFailed",
    "Role",
    "Signals",
    "call_id",
    "media_from_devices",
    "media_from_file",
]
