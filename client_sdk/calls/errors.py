"""Errors of calls.

CoachRelayError
└── CallError
    ├── CallsUnavailable     the extra "calls" is not installed (a local fault)
    ├── CallNotPossible      not in this state of the call (a local fault)
    ├── CallNotConnected     it ended before it was connected; ``outcome`` and ``reason`` say how
    ├── CallMessageInvalid   a message that does not fit docs/PROTOCOL.md section 12 (a remote fault)
    ├── DescriptionRefused   a session description that we do not take (a remote fault)
    ├── CallTampered         the call words' commitment does not open: an alarm (a remote fault)
    ├── MediaUnavailable     a file or device to be sent cannot be opened (a local fault)
    └── RecordingFailed      the recording cannot be written (a local fault)
"""

from __future__ import annotations

from client_sdk.errors import CoachRelayError, Fault


class CallError(CoachRelayError):
    """Root of the errors about calls."""

    code = "call"


class CallsUnavailable(CallError):
    """This installation cannot make calls: the extra is missing."""

    code = "calls_unavailable"


class CallNotPossible(CallError):
    """What was asked of the call does not go in its present state."""

    code = "call_not_possible"


class CalledAlready(CallNotPossible):
    """The other side is calling at this moment: the two would call each other past one another."""

    code = "called_already"


class CallNotConnected(CallError):
    """The call ended before it was connected."""

    code = "call_not_connected"
    fault = Fault.REMOTE

    def __init__(self, *, outcome: str, reason: str) -> None:
        super().__init__(f"The call was not connected: {outcome} ({reason}).")
        self.outcome = outcome
        self.reason = reason


class CallMessageInvalid(CallError):
    """A message about a call is malformed; it was ignored and the call goes on."""

    code = "call_message_invalid"
    fault = Fault.REMOTE


class DescriptionRefused(CallError):
    """A session description (SDP) is not one that we take: the call ends."""

    code = "call_description_refused"
    fault = Fault.REMOTE


class CallTampered(CallError):
    """The caller's nonce does not open its commitment: somebody may stand between; the call is over."""

    code = "call_tampered"
    fault = Fault.REMOTE
    sentence = (
        "The other device did not keep to what it had committed itself to, so somebody may stand between "
        "you two. The call was ended. Call again, and compare your safety numbers if it happens again."
    )

    def __init__(self, *, call: bytes, device: bytes, attempt: int) -> None:
        super().__init__(self.sentence)
        self.evidence: dict[str, int | str] = {
            "call": call.hex(),
            "device": device.hex(),
            "attempt": attempt,
        }


class MediaUnavailable(CallError):
    """What should be sent (a file, a camera, a microphone) cannot be opened."""

    code = "call_media_unavailable"


class RecordingFailed(CallError):
    """The recording cannot be written; the call itself goes on."""

    code = "call_recording_failed"
