"""Whole calls over loopback: negotiated, connected, recorded, lost and found again, ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk.calls import (
    Call,
    CallMessageInvalid,
    CallNotConnected,
    CallNotPossible,
    CallTampered,
    MediaUnavailable,
    Outcome,
    Phase,
    RecordingFailed,
    Role,
)
from client_sdk.calls.peer import Peer
from client_sdk.calls.states import MediaLost
from client_sdk.calls.statistics import CallStatistics
from client_sdk.demo.media import check_recording
from client_sdk.errors import UsageError
from tests.client_sdk.calls.line import (
    ANNAS_DEVICE,
    BENS_DEVICE,
    CALL,
    SETTINGS,
    context,
    joined,
    lines,
    pictures,
    until,
)

pytestmark = pytest.mark.usefixtures("nothing_left_running")
BOTH = frozenset({"audio", "video"})
SOUND = frozenset({"audio"})


async def connected(*, media: frozenset[str] = SOUND) -> tuple[Call, Call]:
    annas, bens = lines()
    anna = await Call.invite(context(caller=True, media=media), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept()
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    return anna, ben


async def close(*calls: Call) -> None:
    await asyncio.gather(*(call.close() for call in calls))


async def test_a_call_is_heard_and_seen_and_recorded_and_survives_a_new_network(
    film: Path, tmp_path: Path
) -> None:
    annas, bens = lines()
    anna = await Call.invite(
        context(caller=True), annas, media=film, record=tmp_path / "anna.mp4", settings=SETTINGS
    )
    assert (anna.role, anna.peer, anna.id, anna.words) == (Role.CALLER, "ben", CALL, None)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    assert (ben.role, ben.peer, ben.state) == (Role.CALLEE, "anna", Phase.RINGING)
    assert await ben.accept(media=film, record=tmp_path / "ben.mp4") is ben
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    words = anna.words
    assert words is not None
    assert len(words) == 5
    assert ben.words == words

    await asyncio.gather(pictures(anna, 15), pictures(ben, 15))
    first = await anna.statistics()
    assert first.attempt == 1
    assert first.audio.packets_sent > 20
    assert first.audio.packets_received > 20
    assert first.audio.bytes_sent > 0
    assert first.audio.jitter is not None
    assert (first.video.width, first.video.height) == (320, 240)
    assert first.video.frames_per_second > 2
    assert first.bytes_received > 5000
    assert first.audio.packets_lost == 0

    ben.network_changed()
    assert ben.state is Phase.CONNECTING
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    await until(lambda: (anna.attempt, anna.state) == (2, Phase.CONNECTED))
    assert ben.attempt == 2
    assert anna.words == ben.words != words

    await asyncio.gather(pictures(anna, 33), pictures(ben, 33))
    assert (await anna.statistics()).attempt == 2
    assert (await anna.hang_up()).outcome is Outcome.ANSWERED
    end = await ben.ended()
    assert (end.outcome, end.reason) == (Outcome.ANSWERED, "peer_hung_up")
    assert 1 <= end.seconds <= 9
    await close(anna, ben)

    for name in ("anna.mp4", "ben.mp4"):
        facts = await asyncio.to_thread(check_recording, tmp_path / name)
        assert 2 < facts.duration < 9
        assert facts.distinct_frames > 25
        assert facts.unreadable_frames <= 3
        assert facts.audio_energy > 0.02
        assert abs(facts.audio_seconds - facts.duration) < 1.0
        assert (facts.video_codec, facts.audio_codec) == ("h264", "aac")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert anna.recording_error is None


async def test_the_callee_hangs_up_and_sound_alone_is_a_call() -> None:
    anna, ben = await connected()
    assert anna.words == ben.words
    assert (await ben.hang_up()).outcome is Outcome.ANSWERED
    assert (await anna.ended()).reason == "peer_hung_up"
    await close(anna, ben)


async def test_the_caller_hangs_up_and_hanging_up_twice_is_no_fault() -> None:
    anna, ben = await connected()
    first, second = await asyncio.gather(anna.hang_up(), anna.hang_up())
    assert first == second
    assert (await ben.ended()).reason == "peer_hung_up"
    with pytest.raises(CallNotPossible):
        await ben.accept()
    await close(anna, ben)


async def test_closing_hangs_up() -> None:
    anna, ben = await connected()
    await anna.close()
    assert (await ben.ended()).reason == "peer_hung_up"
    assert anna.end is not None
    await ben.close()
    await ben.close()


async def test_a_connection_that_falls_silent_is_replaced(film: Path) -> None:
    """As when a cable is pulled: nothing says so, and nothing arrives any more."""
    annas, bens = lines()
    settings = replace(SETTINGS, silence_seconds=0.3)
    anna = await Call.invite(context(caller=True), annas, media=film, settings=settings)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept(media=film)
    await asyncio.gather(pictures(anna, 3), pictures(ben, 3))
    pull_the_cable(ben)
    await until(lambda: (anna.attempt, anna.state, ben.state) == (2, Phase.CONNECTED, Phase.CONNECTED))
    assert anna.words == ben.words
    await close(anna, ben)


async def test_where_nobody_sends_anything_silence_is_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    async def counted(peer: Peer) -> CallStatistics:
        looks.append(peer)
        return CallStatistics(packets_received=1)

    monkeypatch.setattr(Peer, "statistics", counted)
    annas, bens = lines()
    settings = replace(SETTINGS, silence_seconds=0.01)
    anna = await Call.invite(context(caller=True), annas, settings=settings)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept()
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    await until(lambda: len(looks) > 6)
    assert (anna.attempt, anna.state, ben.state) == (1, Phase.CONNECTED, Phase.CONNECTED)
    await close(anna, ben)


def pull_the_cable(call: Call) -> None:
    """Everything that this side's connection sends is lost."""

    async def lost(data: bytes) -> None:
        pass

    assert call._session._peer is not None
    for transceiver in call._session._peer._connection.getTransceivers():
        transceiver.receiver.transport.transport._send = lost


async def test_a_lost_connection_is_found_by_both_and_made_anew() -> None:
    anna, ben = await connected()
    for call in (anna, ben):
        call._feed(MediaLost(1))
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    assert (anna.attempt, ben.attempt) == (2, 2)
    assert anna.words == ben.words
    await close(anna, ben)


async def test_muted_sound_and_picture_arrive_as_silence_and_black(film: Path, tmp_path: Path) -> None:
    annas, bens = lines()
    anna = await Call.invite(context(caller=True), annas, media=film, settings=SETTINGS)
    anna.mute(audio=True, video=True)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept(record=tmp_path / "ben.mp4")
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    await pictures(ben, 10)
    assert (await ben.statistics()).audio.packets_received > 10
    await anna.hang_up()
    await ben.ended()
    await close(anna, ben)
    facts = await asyncio.to_thread(check_recording, tmp_path / "ben.mp4")
    assert facts.frames > 3
    assert facts.distinct_frames == 0
    assert facts.audio_energy < 0.001


async def test_declining_and_cancelling_and_missing() -> None:
    annas, bens = lines()
    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.decline()
    assert (await ben.ended()).outcome is Outcome.DECLINED
    assert (await anna.ended()).outcome is Outcome.DECLINED
    with pytest.raises(CallNotConnected) as caught:
        await anna.wait_connected()
    assert caught.value.outcome == "declined"
    await close(anna, ben)

    annas, bens = lines()
    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    assert (await anna.hang_up()).outcome is Outcome.CANCELLED
    assert (await ben.ended()).outcome is Outcome.CANCELLED
    await close(anna, ben)

    ben = Call.invited(context(caller=False), bens, seq=9, settings=SETTINGS)
    ben.ended_elsewhere(Outcome.MISSED)
    assert (await ben.ended()).outcome is Outcome.MISSED
    with pytest.raises(CallNotConnected):
        await ben.wait_ringing()
    await ben.close()


async def test_glare() -> None:
    annas, _ = lines()
    anna = await Call.invite(context(caller=True), annas, settings=SETTINGS)
    anna.invite_stored(7)
    assert anna.peer_invited(9) is False
    assert anna.peer_invited(5) is True
    assert (await anna.ended()).reason == "glare"
    await anna.close()


async def test_a_tampered_reveal_ends_the_call_with_an_alarm() -> None:
    annas, bens = lines()
    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)

    def tamper(kind: str, body: dict[str, object]) -> bool:
        if kind == "call.reveal":
            body["nonce"] = bytes(32)
        return True

    annas.passes = tamper
    await ben.wait_ringing()
    await ben.accept()
    with pytest.raises(CallTampered) as caught:
        await ben.wait_connected()
    assert caught.value.evidence["device"] == ANNAS_DEVICE.hex()
    assert "stand between" in caught.value.sentence
    assert (await ben.ended()).alarm is caught.value
    assert ben.words is None
    await anna.ended()
    await close(anna, ben)


async def test_a_swapped_fingerprint_never_connects_with_equal_words() -> None:
    """Whoever could change the description (a device in between) cannot also make the words agree."""
    annas, bens = lines()
    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    bens.epoch = annas.epoch = 5
    swapped = []

    def swap(kind: str, body: dict[str, object]) -> bool:
        if kind == "call.offer":
            sdp = str(body["sdp"])
            at = sdp.index("sha-256 ") + len("sha-256 ")
            value = sdp[at : at + 95]
            body["sdp"] = sdp.replace(value, value[:-2] + ("00" if value[-2:] != "00" else "11"))
            swapped.append(True)
        return True

    annas.passes = swap
    await ben.wait_ringing()
    await ben.accept()
    await until(lambda: bool(ben.words and anna.words))
    assert swapped
    assert anna.words != ben.words
    assert Phase.CONNECTED not in (anna.state, ben.state)
    await close(anna, ben)


async def test_lost_messages_are_said_again() -> None:
    annas, bens = lines()
    lost: dict[str, int] = {}

    def once(kind: str, body: dict[str, object]) -> bool:
        lost[kind] = lost.get(kind, 0) + 1
        return lost[kind] > 1 or kind in ("call.probe", "call.ringing")

    annas.passes = bens.passes = once
    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept()
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    assert anna.words == ben.words
    assert all(lost[kind] > 1 for kind in ("call.accept", "call.offer", "call.answer", "call.reveal"))
    await close(anna, ben)


async def test_what_cannot_be_opened_is_said_before_anybody_is_called(film: Path, tmp_path: Path) -> None:
    annas, bens = lines()
    with pytest.raises(MediaUnavailable):
        await Call.invite(context(caller=True), annas, media=tmp_path / "missing.mp4", settings=SETTINGS)
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    with pytest.raises(RecordingFailed):
        await Call.invite(
            context(caller=True), annas, media=film, record=tmp_path / "taken.mp4", settings=SETTINGS
        )
    assert (tmp_path / "taken.mp4").read_bytes() == b"mine"
    assert annas.sent == []

    anna = await Call.invite(context(caller=True, media=SOUND), annas, settings=SETTINGS)
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    with pytest.raises(RecordingFailed):
        await ben.accept(record=tmp_path / "taken.mp4")
    assert ben.state is Phase.RINGING  # it rings on, and can still be taken
    await ben.accept()
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    await close(anna, ben)


async def test_messages_that_do_not_fit_are_refused_and_the_call_goes_on() -> None:
    annas, _ = lines()
    anna = await Call.invite(context(caller=True), annas, settings=SETTINGS)
    good: dict[str, object] = {"call": CALL}
    bad: list[tuple[bytes, str, dict[str, object]]] = [
        (BENS_DEVICE, "call.probe", {}),
        (BENS_DEVICE, "call.probe", {"call": b"X" * 16}),
        (BENS_DEVICE, "call.unknown", good),
        (BENS_DEVICE, "call.accept", good),
        (b"nobody's device!", "call.probe", good),
    ]
    for sender, kind, body in bad:
        with pytest.raises(CallMessageInvalid):
            anna.deliver(sender, kind, body, bytes(32))
    states = [anna.state]
    anna.deliver(BENS_DEVICE, "call.probe", good, bytes(32))
    assert [*states, anna.state] == [Phase.INVITING, Phase.RINGING]
    await anna.close()


async def test_an_incoming_call_needs_its_caller() -> None:
    _, bens = lines()
    with pytest.raises(UsageError):
        Call.invited(replace(context(caller=False), caller_device=None), bens, seq=1)


async def test_a_call_to_anybody_learns_who_answered() -> None:
    annas, bens = lines()
    anna = await Call.invite(replace(context(caller=True, media=SOUND), peer=None), annas, settings=SETTINGS)
    peers = [anna.peer]
    ben = joined(annas, bens, anna)
    await ben.wait_ringing()
    await ben.accept()
    await anna.wait_connected()
    assert [*peers, anna.peer] == [None, "ben"]
    await close(anna, ben)
