"""One connection of one attempt: aiortc's RTCPeerConnection, made to keep to our rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from client_sdk.calls.errors import DescriptionRefused
from client_sdk.calls.gathering import Connectivity, Gatherer
from client_sdk.calls.incoming import Incoming
from client_sdk.calls.media import Muted
from client_sdk.calls.messages import Candidate
from client_sdk.calls.sdp import read_description, repeat_candidates
from client_sdk.calls.statistics import CallStatistics, MediaStatistics
from client_sdk.calls.webrtc import require_webrtc

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection
    from aiortc.mediastreams import MediaStreamTrack

    from client_sdk.calls.sent import SentTrack

KINDS: Final = ("audio", "video")
CLOCK_RATES: Final = {"audio": 48_000, "video": 90_000}
"""Of RTP timestamps: Opus, and every video codec."""
END_SECONDS: Final = 0.1
"""For a task of a closed connection to see that it is closed; aioice looks every 20 ms."""


class Peer:
    """One RTCPeerConnection; ``on_state`` is told "connecting", "connected", "failed" and "closed"."""

    def __init__(
        self,
        connectivity: Connectivity,
        *,
        sources: Mapping[str, MediaStreamTrack],
        muted: Muted,
        incoming: Incoming,
        on_state: Callable[[str], None],
    ) -> None:
        require_webrtc()
        self._connectivity = connectivity
        self._sources = sources
        self._muted = muted
        self._incoming = incoming
        self._on_state = on_state
        self._consumers: list[asyncio.Task[None]] = []
        self._connection = _connection(connectivity)
        self._connection.on("track", self._on_track)
        self._connection.on("connectionstatechange", self._on_change)

    async def offer(self, kinds: frozenset[str]) -> str:
        """The description to offer, candidates included, for ``kinds`` of media."""
        for kind in (kind for kind in KINDS if kind in kinds):
            self._add(kind)
        self._contain()
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        """The answer to ``offer``, candidates included; raises DescriptionRefused."""
        for kind in read_description(offer).kinds:
            if kind in self._sources:
                self._connection.addTrack(self._sent(kind))
        await self._set_remote(offer, "offer")
        self._contain()
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def take_answer(self, answer: str) -> None:
        """The other side's answer; raises DescriptionRefused."""
        await self._set_remote(answer, "answer")

    async def add_candidate(self, candidate: Candidate) -> None:
        """A trickled candidate; raises DescriptionRefused."""
        from aiortc.sdp import candidate_from_sdp

        try:
            parsed = candidate_from_sdp(candidate.candidate.removeprefix("candidate:"))
            parsed.sdpMid, parsed.sdpMLineIndex = candidate.mid, candidate.index
            await self._connection.addIceCandidate(parsed)
        except (ValueError, IndexError, AssertionError) as error:
            raise DescriptionRefused("A candidate is malformed.") from error

    @property
    def path(self) -> str:
        """The way that media takes, by the farther of the two addresses in use: "host", "srflx", "relay"."""
        kinds: set[str] = set()
        for transceiver in self._connection.getTransceivers():
            ice: Any = transceiver.receiver.transport.transport.iceGatherer._connection
            for pair in ice._nominated.values():
                kinds |= {pair.local_candidate.type, pair.remote_candidate.type}
        return "relay" if "relay" in kinds else "srflx" if kinds & {"srflx", "prflx"} else "host"

    @property
    def expects_media(self) -> bool:
        """Whether the other side said that it sends something: without that, silence is no sign."""
        return bool(self._consumers)

    async def statistics(self) -> CallStatistics:
        """What went over this connection so far."""
        return _statistics(await self._connection.getStats(), self._incoming)

    async def close(self) -> None:
        """Close the connection and end every task of it; nothing is told any more."""
        parts = _parts(self._connection)
        self._connection.remove_all_listeners()
        try:
            await self._connection.close()
        finally:
            for consumer in self._consumers:
                consumer.cancel()
            await asyncio.gather(*self._consumers, return_exceptions=True)
            # Closed while connecting, aiortc leaves tasks behind, and aioice one that never ends.
            while tasks := _tasks_of(parts):
                await _end(tasks)

    def _add(self, kind: str) -> None:
        if kind in self._sources:
            self._connection.addTrack(self._sent(kind))
        else:
            self._connection.addTransceiver(kind, direction="recvonly")

    def _sent(self, kind: str) -> SentTrack:
        from client_sdk.calls.sent import SentTrack

        return SentTrack(self._sources[kind], self._muted)

    async def _set_remote(self, sdp: str, kind: str) -> None:
        from aiortc import RTCSessionDescription
        from aiortc.exceptions import InternalError, InvalidStateError, OperationError

        try:
            description = RTCSessionDescription(sdp=repeat_candidates(sdp), type=kind)
            await self._connection.setRemoteDescription(description)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError) as error:
            # aiortc's parser has no error of its own: these are what an odd line makes of it.
            raise DescriptionRefused("The session description cannot be understood.") from error
        except (InternalError, InvalidStateError, OperationError) as error:
            raise DescriptionRefused("The session description does not fit.") from error

    def _contain(self) -> None:
        """This connection gathers what `Connectivity` allows, and several TURN servers."""
        for transceiver in self._connection.getTransceivers():
            ice: Any = transceiver.receiver.transport.transport.iceGatherer._connection
            ice.get_component_candidates = Gatherer(ice, self._connectivity)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._consumers.append(asyncio.create_task(self._incoming.consume(track)))

    def _on_change(self) -> None:
        self._on_state(self._connection.connectionState)


def _parts(connection: RTCPeerConnection) -> list[object]:
    """The objects whose methods run as tasks of the connection."""
    parts: list[object] = [connection]
    for transceiver in connection.getTransceivers():
        dtls: Any = transceiver.receiver.transport
        parts += [transceiver.receiver, transceiver.sender, dtls, dtls.transport]
        parts.append(dtls.transport.iceGatherer._connection)
    return parts


def _tasks_of(parts: list[object]) -> list[asyncio.Task[Any]]:
    frames = ((task, getattr(task.get_coro(), "cr_frame", None)) for task in asyncio.all_tasks())
    return [t for t, frame in frames if frame and any(frame.f_locals.get("self") is part for part in parts)]


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    _, left = await asyncio.wait(tasks, timeout=END_SECONDS)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def _connection(connectivity: Connectivity) -> RTCPeerConnection:
    from aiortc import (
        RTCBundlePolicy,
        RTCConfiguration,
        RTCIceServer,
        RTCIceTransportPolicy,
        RTCPeerConnection,
    )

    policy = RTCIceTransportPolicy.RELAY if connectivity.relay_only else RTCIceTransportPolicy.ALL
    return RTCPeerConnection(
        RTCConfiguration(
            # Always a list: with None aiortc asks a public server on the Internet.
            iceServers=[RTCIceServer(urls=url) for url in connectivity.stun_urls],
            iceTransportPolicy=policy,
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        )
    )


def _statistics(report: Mapping[str, Any], incoming: Incoming) -> CallStatistics:
    transports = {id: entry for id, entry in report.items() if entry.type == "transport"}.values()
    return CallStatistics(
        packets_sent=sum(entry.packetsSent for entry in transports),
        packets_received=sum(entry.packetsReceived for entry in transports),
        bytes_sent=sum(entry.bytesSent for entry in transports),
        bytes_received=sum(entry.bytesReceived for entry in transports),
        audio=_media_statistics(report, incoming, "audio"),
        video=_media_statistics(report, incoming, "video"),
    )


def _media_statistics(report: Mapping[str, Any], incoming: Incoming, kind: str) -> MediaStatistics:
    entries = {entry.type: entry for entry in report.values() if getattr(entry, "kind", None) == kind}
    sent, received = entries.get("outbound-rtp"), entries.get("inbound-rtp")
    reported = entries.get("remote-inbound-rtp")
    arrivals = incoming.arrivals[kind]
    return MediaStatistics(
        packets_sent=sent.packetsSent if sent else 0,
        bytes_sent=sent.bytesSent if sent else 0,
        packets_received=received.packetsReceived if received else 0,
        packets_lost=received.packetsLost if received else 0,
        jitter=received.jitter / CLOCK_RATES[kind] if received else None,
        round_trip_time=reported.roundTripTime if reported else None,
        frames_decoded=arrivals.frames,
        frames_per_second=incoming.rate(kind),
        width=arrivals.width,
        height=arrivals.height,
    )
