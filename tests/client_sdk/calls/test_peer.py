"""The connection under our rules: contained, asking nobody unnamed, refusing what it cannot read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioice.ice
import av
import pytest
from aiortc import RTCConfiguration
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from client_sdk.calls import Media, MediaUnavailable, media_from_devices, media_from_file
from client_sdk.calls.errors import DescriptionRefused
from client_sdk.calls.gathering import Connectivity
from client_sdk.calls.incoming import Incoming, _Placed
from client_sdk.calls.media import Muted, blank_frame
from client_sdk.calls.messages import Candidate
from client_sdk.calls.peer import Peer, _connection
from client_sdk.calls.sdp import read_description
from client_sdk.calls.sent import SentTrack
from relay.wire.frames import IceServer

pytestmark = pytest.mark.usefixtures("nothing_left_running")
BOTH = frozenset({"audio", "video"})
LOOPBACK = Connectivity(loopback=True)


def peer(connectivity: Connectivity = LOOPBACK, **sources: Any) -> tuple[Peer, list[str]]:
    states: list[str] = []
    incoming = Incoming(asyncio.get_running_loop().time)
    made = Peer(connectivity, sources=sources, muted=Muted(), incoming=incoming, on_state=states.append)
    return made, states


def candidates(sdp: str) -> list[str]:
    return [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")]


async def test_loopback_is_the_only_candidate_and_other_connections_are_untouched() -> None:
    before = aioice.ice.get_host_addresses
    contained, _ = peer()
    free, _ = peer(Connectivity())
    try:
        inside, outside = candidates(await contained.offer(BOTH)), candidates(await free.offer(BOTH))
        assert inside
        assert set(inside) == {"127.0.0.1"}
        assert "127.0.0.1" not in outside
        assert aioice.ice.get_host_addresses is before
    finally:
        await contained.close()
        await free.close()


def configuration(connection: Any) -> RTCConfiguration:
    found: RTCConfiguration = connection._RTCPeerConnection__configuration
    return found


async def test_nobody_is_asked_who_was_not_named() -> None:
    connection = _connection(Connectivity())
    assert configuration(connection).iceServers == []
    await connection.close()
    named = IceServer(("turn:127.0.0.1:3478?transport=udp",), "user", "secret")
    seen = IceServer(("stun:127.0.0.1:3478", "stun://odd", "stuns:127.0.0.1"), None, None)
    connection = _connection(Connectivity(ice_servers=(named, seen), relay_only=True))
    (server,) = configuration(connection).iceServers or []
    assert server.urls == "stun:127.0.0.1:3478"  # TURN servers are asked by our own rules
    assert configuration(connection).iceTransportPolicy.value == "relay"
    await connection.close()


async def test_relay_only_shows_no_address_of_this_device() -> None:
    hidden, _ = peer(Connectivity(relay_only=True))
    assert candidates(await hidden.offer(BOTH)) == []
    await hidden.close()


async def test_our_own_descriptions_are_ones_that_we_take() -> None:
    one, _ = peer(audio=AudioStreamTrack(), video=VideoStreamTrack())
    other, _ = peer()
    offer = await one.offer(BOTH)
    answer = await other.answer(offer)
    assert read_description(offer).kinds == read_description(answer).kinds == ("audio", "video")
    assert read_description(offer).fingerprint != read_description(answer).fingerprint
    await one.close()
    await other.close()


async def test_states_are_told_until_it_is_closed() -> None:
    one, ones = peer(audio=AudioStreamTrack())
    other, others = peer()
    await one.take_answer(await other.answer(await one.offer(frozenset({"audio"}))))
    async with asyncio.timeout(30):
        while "connected" not in ones or "connected" not in others:  # noqa: ASYNC110  a network's time
            await asyncio.sleep(0.01)
    await one.close()
    assert ones == ["connecting", "connected"]  # nothing is told of one's own closing
    async with asyncio.timeout(30):
        while others[-1] != "closed":  # noqa: ASYNC110  a network's time
            await asyncio.sleep(0.01)
    await other.close()
    await other.close()


@pytest.mark.parametrize("turns", [0, 1, 5, 30])
async def test_closed_while_connecting_it_leaves_nothing_behind(turns: int) -> None:
    one, _ = peer(audio=AudioStreamTrack())
    other, _ = peer()
    await one.take_answer(await other.answer(await one.offer(frozenset({"audio"}))))
    for _ in range(turns):
        await asyncio.sleep(0.002)
    await one.close()
    await other.close()


async def test_descriptions_that_cannot_be_understood_are_refused() -> None:
    one, _ = peer()
    offer = await one.offer(frozenset({"audio"}))
    broken = {
        "credentials": offer.replace("a=ice-ufrag", "a=nothing"),
        "role": offer.replace("a=setup:actpass", "a=setup:nonsense"),
        "payload type": offer.replace("SAVPF 96", "SAVPF 999"),
        "multiplexing": offer.replace("a=rtcp-mux", "a=nothing"),
        "codecs": offer.replace("opus/", "no/").replace("PCM", "NO").replace("G722", "NO"),
        "candidate": offer.replace("a=candidate:", "a=candidate:x "),
    }
    taken = []
    for what, sdp in broken.items():
        other, _ = peer()
        try:
            await other.answer(sdp)
            taken.append(what)
        except DescriptionRefused:
            pass
        finally:
            await other.close()
    assert taken == []
    with pytest.raises(DescriptionRefused):
        await one.take_answer(offer)  # an offer is no answer
    await one.close()


async def test_candidates_are_taken_or_refused() -> None:
    one, _ = peer(audio=AudioStreamTrack())
    other, _ = peer()
    await one.take_answer(await other.answer(await one.offer(frozenset({"audio"}))))
    good = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
    await one.add_candidate(Candidate(1, good, "0", 0))
    for bad in ("", "candidate:", "candidate:1 1 udp x 127.0.0.1 9 typ host"):
        with pytest.raises(DescriptionRefused):
            await one.add_candidate(Candidate(1, bad, "0", 0))
    await one.close()
    await other.close()


async def test_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no film").write_bytes(b"no film")
    for path in (tmp_path / "missing", tmp_path / "no film"):
        with pytest.raises(MediaUnavailable) as caught:
            await media_from_file(path)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(MediaUnavailable):
        await media_from_devices(camera=str(tmp_path / "no camera"))
    with pytest.raises(MediaUnavailable):
        await media_from_devices(camera=None, microphone="no such microphone")


async def test_tracks_of_others_are_not_stopped() -> None:
    track = AudioStreamTrack()
    await Media(audio=track).close()
    assert track.readyState == "live"
    await Media(audio=track, owned=True).close()
    assert track.readyState == "ended"


async def test_a_sent_track_is_blank_while_muted_and_outlived_by_its_source() -> None:
    muted = Muted(video=True)
    source = VideoStreamTrack()
    track = SentTrack(source, muted)
    frame = await track.recv()
    assert (frame.width, frame.height, frame.pts) == (640, 480, 0)
    assert bytes(frame.planes[0])[:8] == bytes([16]) * 8
    muted.video = False
    assert bytes((await track.recv()).planes[0])[:8] == bytes(8)
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert source.readyState == "live"


def frames() -> Iterator[Any]:
    sound: Any = av.AudioFrame("s16", "stereo", 960)
    sound.sample_rate, sound.pts = 48_000, 7
    for plane in sound.planes:
        plane.update(b"\x01" * plane.buffer_size)
    yield sound
    picture: Any = av.VideoFrame(64, 48, "yuv420p")
    picture.pts = 8
    yield picture


@pytest.mark.parametrize("frame", list(frames()))
def test_a_blank_frame_is_like_the_one_it_hides(frame: Any) -> None:
    blank = blank_frame(frame)
    assert (blank.pts, type(blank)) == (frame.pts, type(frame))
    if isinstance(frame, av.AudioFrame):
        assert (blank.samples, blank.sample_rate, blank.layout.name) == (960, 48_000, "stereo")
        assert not any(bytes(blank.planes[0]))


def test_encoded_packets_cannot_be_made_blank() -> None:
    assert blank_frame(av.Packet(b"secret picture")) is None


class Timed:
    def __init__(self, time: float | None) -> None:
        self.time = time


def test_frames_are_placed_by_the_senders_clock_unless_it_jumps() -> None:
    placed = _Placed()
    assert placed.at(Timed(10.0), 2.0) == 2.0
    assert placed.at(Timed(10.5), 2.61) == 2.5  # jitter of the network is no jitter of the film
    assert placed.at(Timed(99.0), 3.0) == 3.0  # a new clock
    assert placed.at(Timed(99.5), 3.4) == 3.5
    assert placed.at(Timed(None), 4.0) == 4.0
