"""Calls by way of a TURN server: which one is taken, what of this device is seen, and that media passes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiortc.mediastreams import AudioStreamTrack

from client_sdk.calls import Call, CallSettings, Outcome, Phase
from client_sdk.calls.gathering import GIVE_BACK_SECONDS, MAX_TURN_ADDRESSES, Connectivity
from client_sdk.calls.incoming import Incoming
from client_sdk.calls.media import Muted
from client_sdk.calls.peer import Peer
from client_sdk.demo.media import check_recording
from relay.wire.frames import IceServer
from tests.client_sdk.calls.line import context, joined, lines, pictures, until
from tests.support.coturn import LOOPBACK, Coturn, coturn_process, requires_coturn
from tests.support.ports import free_port

pytestmark = pytest.mark.usefixtures("nothing_left_running")
AUDIO = frozenset({"audio"})


@pytest.fixture
async def coturn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coturn]:
    async with coturn_process(tmp_path, *LOOPBACK) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


def candidates(sdp: str) -> list[list[str]]:
    return [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]


async def offered(*servers: IceServer, relay_only: bool = True, loopback: bool = False) -> str:
    """What a connection offers; everything of it is given back."""
    connectivity = Connectivity(ice_servers=servers, relay_only=relay_only, loopback=loopback)
    incoming = Incoming(asyncio.get_running_loop().time)
    sources: Any = {"audio": AudioStreamTrack()}
    peer = Peer(connectivity, sources=sources, muted=Muted(), incoming=incoming, on_state=lambda state: None)
    try:
        return await peer.offer(AUDIO)
    finally:
        await peer.close()


def host_addresses() -> set[str]:
    from aioice.ice import get_host_addresses

    return set(get_host_addresses(use_ipv4=True, use_ipv6=True))


@requires_coturn
@pytest.mark.parametrize("way", [0, 1, 2])
async def test_relay_only_offers_one_relayed_candidate_and_no_address_of_this_device(
    coturn: Coturn, way: int
) -> None:
    stun = IceServer((f"stun:127.0.0.1:{coturn.port}",), None, None)
    sdp = await offered(stun, coturn.server(coturn.urls[way]))
    (candidate,) = candidates(sdp)
    assert candidate[6:8] == ["typ", "relay"]
    assert candidate[8:12] == ["raddr", "0.0.0.0", "rport", "9"]
    for address in host_addresses():
        assert address not in sdp


@requires_coturn
async def test_without_it_the_relayed_candidate_comes_beside_the_others(coturn: Coturn) -> None:
    kinds = [one[7] for one in candidates(await offered(coturn.server(), relay_only=False, loopback=True))]
    assert kinds == ["host", "relay"]


@requires_coturn
async def test_the_first_address_that_works_is_taken(coturn: Coturn) -> None:
    """One where nothing listens, one that never answers, one with a wrong secret, one that we cannot read."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = silent.getsockname()[1]
        dead = coturn.server(
            f"turn:127.0.0.1:{free_port()}?transport=tcp",
            f"turns:127.0.0.1:{mute}?transport=tcp",
            "turn:127.0.0.1?transport=sctp",
        )
        wrong = coturn.server(coturn.urls[1])._replace(credential="wrong")
        began = asyncio.get_running_loop().time()
        (candidate,) = candidates(await offered(dead, wrong, coturn.server(coturn.urls[0])))
        assert candidate[7] == "relay"
        assert asyncio.get_running_loop().time() - began < 6


@requires_coturn
async def test_when_none_works_there_is_no_candidate(coturn: Coturn) -> None:
    wrong = coturn.server()._replace(credential="wrong")
    assert candidates(await offered(wrong)) == []
    assert candidates(await offered()) == []


@requires_coturn
@pytest.mark.parametrize("way", [0, 1, 2])
async def test_a_connection_closes_soon_although_its_server_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    incoming = Incoming(asyncio.get_running_loop().time)
    async with coturn_process(tmp_path, *LOOPBACK) as coturn:
        monkeypatch.setenv("SSL_CERT_FILE", str(coturn.certificate))
        connectivity = Connectivity(ice_servers=(coturn.server(coturn.urls[way]),), relay_only=True)
        sources: Any = {"audio": AudioStreamTrack()}
        peer = Peer(connectivity, sources=sources, muted=Muted(), incoming=incoming, on_state=lambda _: None)
        assert candidates(await peer.offer(AUDIO))
    async with asyncio.timeout(GIVE_BACK_SECONDS + 5):
        await peer.close()


@pytest.mark.parametrize("who", ["anna", "ben"])
async def test_without_a_server_who_hides_does_not_connect_and_learns_so_at_once(who: str) -> None:
    hidden, open_ = CallSettings(relay_only=True), CallSettings(loopback=True)
    annas, bens = lines()
    anna = await Call.invite(context(caller=True), annas, settings=hidden if who == "anna" else open_)
    ben = joined(annas, bens, anna, hidden if who == "ben" else open_)
    await ben.wait_ringing()
    await ben.accept()
    async with asyncio.timeout(30):
        ends = [await anna.ended(), await ben.ended()]
    assert {end.outcome for end in ends} == {Outcome.FAILED}
    assert ("call.offer" in annas.sent, "call.answer" in bens.sent) == (who == "ben", False)
    await asyncio.gather(anna.close(), ben.close())


def test_a_relay_that_names_very_many_is_not_followed() -> None:
    many = IceServer(tuple(f"turn:127.0.0.{n}" for n in range(1, 99)), "name", "credential")
    without = IceServer(("turn:127.0.0.1",), None, None)
    assert len(Connectivity(ice_servers=(many,)).turn_addresses) == MAX_TURN_ADDRESSES
    assert Connectivity(ice_servers=(without,)).turn_addresses == []
    assert "credential" not in repr(Connectivity(ice_servers=(many,)).turn_addresses[0])


@requires_coturn
@pytest.mark.parametrize("way", [0, 1, 2])
async def test_a_call_that_only_turn_carries(coturn: Coturn, film: Path, tmp_path: Path, way: int) -> None:
    """Media both ways, a new network in the middle, and a fresh credential for each attempt."""
    minted: list[str] = []

    async def servers() -> Sequence[IceServer]:
        server = coturn.server(coturn.urls[way], name=f"call{len(minted)}")
        minted.append(server.username or "")
        return (server,)

    settings = CallSettings(ice_servers=servers, relay_only=True)
    annas, bens = lines()
    offers: list[str] = []

    def passes(kind: str, body: dict[str, object]) -> bool:
        if "sdp" in body:
            offers.append(str(body["sdp"]))
        return True

    annas.passes = bens.passes = passes
    anna = await Call.invite(
        context(caller=True), annas, media=film, record=tmp_path / "anna.mp4", settings=settings
    )
    ben = joined(annas, bens, anna, settings)
    await ben.wait_ringing()
    await ben.accept(media=film, record=tmp_path / "ben.mp4")
    await asyncio.gather(anna.wait_connected(), ben.wait_connected())
    assert anna.words == ben.words
    await asyncio.gather(pictures(anna, 15), pictures(ben, 15))
    anna.network_changed()
    await until(lambda: (anna.attempt, anna.state) == (2, Phase.CONNECTED))
    await asyncio.gather(pictures(anna, 30), pictures(ben, 30))
    assert (await anna.hang_up()).outcome is Outcome.ANSWERED
    await ben.ended()
    await asyncio.gather(anna.close(), ben.close())
    for name in ("anna.mp4", "ben.mp4"):
        facts = await asyncio.to_thread(check_recording, tmp_path / name)
        assert facts.distinct_frames > 20
        assert facts.audio_energy > 0.02
    assert {candidate[7] for sdp in offers for candidate in candidates(sdp)} == {"relay"}
    assert len(set(minted)) == len(minted) >= 4
