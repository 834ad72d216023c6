"""What the Python SDK's vectors about calls and names of files are made of."""

from __future__ import annotations

from typing import Any, Final

from client_sdk.attachments import safe_name
from client_sdk.calls.messages import (
    Accept,
    Answer,
    Candidate,
    Decline,
    Hangup,
    Message,
    Offer,
    Probe,
    Reveal,
    Ringing,
    message_body,
)
from client_sdk.calls.sdp import read_description
from tests.vectors.plain import plain
from tests.vectors.samples import some

_HEAD: Final = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
_AUDIO, _VIDEO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"


def _line(seed: int, algorithm: str = "sha-256") -> str:
    return f"a=fingerprint:{algorithm} {some(seed, 32).hex(':').upper()}\r\n"


DESCRIPTIONS: Final = (
    _HEAD + _AUDIO + _line(1) + _VIDEO + _line(1),
    _HEAD + _line(2) + _AUDIO,
    (_HEAD + _VIDEO + _line(3, "SHA-256") + "a=fingerprint:sha-1 00:11\r\n").replace("\r\n", "\n"),
    _HEAD + _AUDIO + _line(4) + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
)
NOT_DESCRIPTIONS: Final = (
    "",
    _HEAD + _line(1),
    _HEAD + _AUDIO,
    _HEAD + _AUDIO + _line(1) + _VIDEO + _line(2),
    _HEAD + _AUDIO + _line(1) + _VIDEO,
    _HEAD + _AUDIO + _line(1) + _AUDIO + _line(1),
    _HEAD + _AUDIO + _line(1, "sha-1"),
    _HEAD + _line(1) + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    _HEAD + _AUDIO + _line(1) + "a=Fingerprint:sha-256 00\r\n",
    (_HEAD + _AUDIO + _line(1))[:-2],
    _HEAD + _AUDIO + _line(1) + "a=ü\r\n",
    _HEAD + _AUDIO + _line(1) + "a=x\ra=y\r\n",
)
MESSAGES: Final[tuple[Message, ...]] = (
    Probe(),
    Ringing(),
    Accept(some(1)),
    Accept(some(2), 7),
    Decline(),
    Offer(to=some(3), attempt=1, sdp=DESCRIPTIONS[0], commit=some(4, 32)),
    Answer(attempt=1000, sdp="", nonce=some(5, 32)),
    Reveal(2, some(6, 32)),
    Candidate(attempt=1, candidate="candidate:1 1 udp 1 10.0.0.1 9 typ host", mid="0", index=15),
    Hangup("hung_up"),
)
NOT_MESSAGES: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("call.other", {}),
    ("call.accept", {}),
    ("call.accept", {"device": some(1, 15)}),
    ("call.accept", {"device": some(1), "after": None}),
    ("call.accept", {"device": some(1), "after": 1001}),
    ("call.offer", {"to": some(1), "attempt": 0, "sdp": "", "commit": some(2, 32)}),
    ("call.offer", {"to": some(1), "attempt": True, "sdp": "", "commit": some(2, 32)}),
    ("call.answer", {"attempt": 1, "sdp": "x" * (24 * 1024 + 1), "nonce": some(2, 32)}),
    ("call.reveal", {"attempt": 1, "nonce": some(2, 31)}),
    ("call.candidate", {"attempt": 1, "candidate": "", "mid": "", "index": 16}),
    ("call.hangup", {"reason": "Because"}),
    ("call.hangup", {"reason": ""}),
)
NAMES: Final = (
    "plan.pdf",
    "../../etc/passwd",
    "C:\\Users\\anna\\plan.pdf",
    "  .hidden ",
    "con.txt",
    "photo\u202egpj.exe",
    'a<b>:"c"?.txt',
    "",
    "/",
    "x" * 300 + ".pdf",
    "ü" * 200 + ".tar.gz",
    "e\u0301té .doc",
    "tab\tand\nline.txt",
    "-rf",
    "👩\u200d👩\u200d👧.png",
)


def make() -> dict[str, Any]:
    """All of it."""
    return {
        "call_messages": [
            {"kind": message.kind, "body": plain(message_body(message, some(9)))} for message in MESSAGES
        ],
        "call_messages_refused": [{"kind": kind, "body": plain(body)} for kind, body in NOT_MESSAGES],
        "descriptions": [described(sdp) for sdp in DESCRIPTIONS],
        "descriptions_refused": list(NOT_DESCRIPTIONS),
        "names": [[name, safe_name(name)] for name in NAMES],
    }


def described(sdp: str) -> dict[str, Any]:
    """What is read in a description."""
    found = read_description(sdp)
    return {"sdp": sdp, "fingerprint": found.fingerprint.hex(), "kinds": list(found.kinds)}
