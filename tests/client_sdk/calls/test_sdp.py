"""What we read in a session description, and how little we forgive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.calls.errors import DescriptionRefused
from client_sdk.calls.messages import MAX_SDP_CHARS
from client_sdk.calls.sdp import read_description, repeat_candidates

PRINT = "AB:" * 31 + "CD"
OTHER = "AB:" * 31 + "CE"
HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
AUDIO, VIDEO = "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 97\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


def line(value: str = PRINT, algorithm: str = "sha-256") -> str:
    return f"a=fingerprint:{algorithm} {value}\r\n"


def test_one_fingerprint_for_all_media() -> None:
    found = read_description(HEAD + AUDIO + line() + VIDEO + line())
    assert found.fingerprint == bytes.fromhex(PRINT.replace(":", ""))
    assert found.kinds == ("audio", "video")


@pytest.mark.parametrize(
    "sdp",
    [
        HEAD + line() + AUDIO + VIDEO,
        HEAD + line() + AUDIO + line() + VIDEO,
        HEAD + AUDIO + line(PRINT.lower(), "SHA-256") + line("00:11", "sha-1"),
        HEAD + AUDIO + line() + "m=video 0 UDP/TLS/RTP/SAVPF 97\r\n",
        (HEAD + AUDIO + line()).replace("\r\n", "\n"),
    ],
    ids=["session", "both", "other algorithms too", "a rejected section", "bare newlines"],
)
def test_usual_forms_are_read(sdp: str) -> None:
    assert read_description(sdp).fingerprint == bytes.fromhex(PRINT.replace(":", ""))


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        HEAD,
        HEAD + line(),
        HEAD + AUDIO,
        HEAD + AUDIO + line() + line(OTHER),
        HEAD + AUDIO + line() + VIDEO + line(OTHER),
        HEAD + line() + AUDIO + line(OTHER),
        HEAD + AUDIO + line() + VIDEO,
        HEAD + AUDIO + line() + VIDEO.replace(" 9 ", " 0 ") + "a=bundle-only\r\n",
        HEAD + AUDIO + line(PRINT[3:]),
        HEAD + AUDIO + line(PRINT + ":00"),
        HEAD + AUDIO + line(algorithm="sha-1"),
        HEAD + AUDIO + line() + "a=fingerprint:sha-256  " + OTHER + "\r\n",
        HEAD + AUDIO + line() + "a=fingerprint:sha-256\t" + OTHER + "\r\n",
        HEAD + AUDIO + line() + " a=fingerprint:sha-256 " + OTHER + "\r\n",
        HEAD + AUDIO + line() + "A=FINGERPRINT:sha-256 " + OTHER + "\r\n",
        HEAD + AUDIO + line() + "a=x\x0ba=fingerprint:sha-256 " + OTHER + "\r\n",
        HEAD + AUDIO + line() + "a=x\ra=fingerprint:sha-256 " + OTHER + "\r\n",
        HEAD + AUDIO + line() + "a=x\u2028y\r\n",
        HEAD + AUDIO + line() + "a=no end",
        HEAD + AUDIO + line() + AUDIO + line(),
        HEAD + line() + AUDIO + DATA,
        HEAD + line() + "m=audio\r\n",
        HEAD + AUDIO + line() + "a=x\r\n" * MAX_SDP_CHARS,
        HEAD + AUDIO + line() + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 101,
    ],
)
def test_anything_doubtful_is_refused(sdp: str) -> None:
    with pytest.raises(DescriptionRefused):
        read_description(sdp)


def test_only_agreed_media_are_taken() -> None:
    sdp = HEAD + line() + AUDIO + VIDEO
    assert read_description(sdp, allowed=frozenset({"audio", "video"})).kinds == ("audio", "video")
    with pytest.raises(DescriptionRefused):
        read_description(sdp, allowed=frozenset({"audio"}))


@given(
    st.text(max_size=300) | st.lists(st.sampled_from([HEAD, AUDIO, VIDEO, line(), line(OTHER)])).map("".join)
)
def test_whatever_comes_is_read_or_refused(sdp: str) -> None:
    try:
        found = read_description(sdp)
    except DescriptionRefused:
        return
    assert len(found.fingerprint) == 32
    assert found.kinds
    assert not (PRINT in sdp and OTHER in sdp)


def test_bundled_sections_share_the_addresses_of_the_first() -> None:
    address = "a=candidate:1 1 udp 1 127.0.0.1 9 typ relay raddr 0.0.0.0 rport 0\r\n"
    answer = HEAD + AUDIO + line() + address + VIDEO + line()
    assert repeat_candidates(answer) == answer + address
    assert repeat_candidates(answer + address) == answer + address
    assert repeat_candidates(HEAD + AUDIO + line() + VIDEO) == HEAD + AUDIO + line() + VIDEO
