"""The media of one call on this device: its sources, its recording, and the newest connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from client_sdk.calls.errors import CallNotPossible, RecordingFailed
from client_sdk.calls.gathering import Connectivity
from client_sdk.calls.incoming import Incoming
from client_sdk.calls.media import Media, Muted, media_from_file
from client_sdk.calls.messages import Candidate
from client_sdk.calls.peer import Peer
from client_sdk.calls.recording import Recorder
from client_sdk.calls.statistics import CallStatistics
from client_sdk.calls.webrtc import require_webrtc
from client_sdk.errors import CoachRelayError
from relay.wire.frames import IceServer

SILENCE_SECONDS: Final = 6.0
"""A connection on which nothing arrives for so long is lost: reports come every 1.5 s; ICE takes 30 s."""
CLOSE_SECONDS: Final = 10.0
"""For closing everything; whatever hangs longer is left behind."""

_log = logging.getLogger(__name__)

IceServers = Callable[[], Awaitable[Sequence[IceServer]]]


async def no_ice_servers() -> Sequence[IceServer]:
    """Direct connections only."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How calls connect; ``ice_servers`` is asked anew for every attempt, because credentials expire.

    ``loopback``: this machine only. ``relay_only``: never show this device's addresses to the other one.
    ``report_path``: once a call is over, the relay may count how it had connected (directly, through a NAT,
    by a TURN server, not at all), which is all that it is told.
    """

    ice_servers: IceServers = no_ice_servers
    loopback: bool = False
    relay_only: bool = False
    report_path: bool = True
    silence_seconds: float = SILENCE_SECONDS


class Session:
    """``on_state`` is told the attempt and its connection's state; "silent" when nothing arrives any more."""

    def __init__(
        self, settings: CallSettings, kinds: frozenset[str], on_state: Callable[[int, str], None]
    ) -> None:
        self._settings = settings
        self._kinds = kinds
        self._on_state = on_state
        self._media = Media()
        self._incoming = Incoming(asyncio.get_running_loop().time)
        self._peer: Peer | None = None
        self._attempt = 0
        self._watch: asyncio.Task[None] | None = None
        self.muted = Muted()
        self.path = ""
        """How the newest connection that came about goes: "host", "srflx" or "relay" (RFC 8445 5.1.1)."""
        self.recording_error: RecordingFailed | None = None

    async def open(self, media: Media | str | Path | None, record: str | Path | None) -> None:
        """Open what is to be sent and begin the recording.

        Raises MediaUnavailable, RecordingFailed or CallsUnavailable; nothing is open then.
        """
        await asyncio.to_thread(require_webrtc)  # the first time it reads some hundred modules
        opened = media if isinstance(media, Media) else None
        if isinstance(media, str | Path):
            opened = await media_from_file(media)
        try:
            if record is not None:
                self._incoming.recorder = Recorder(Path(record), kinds=self._kinds)
        except RecordingFailed:
            if opened is not None and opened is not media:
                await opened.close()
            raise
        self._media = opened or Media()

    async def offer(self, attempt: int) -> str:
        """The offer of a new connection, which replaces the older one."""
        return await (await self._new_peer(attempt)).offer(self._kinds)

    async def answer(self, attempt: int, sdp: str) -> str:
        """The answer of a new connection, which replaces the older one; raises DescriptionRefused."""
        return await (await self._new_peer(attempt)).answer(sdp)

    async def take_answer(self, attempt: int, sdp: str) -> None:
        """The other side's answer; raises DescriptionRefused."""
        if self._peer is not None and attempt == self._attempt:
            await self._peer.take_answer(sdp)

    async def add_candidate(self, candidate: Candidate) -> None:
        """A trickled candidate; raises DescriptionRefused."""
        if self._peer is not None and candidate.attempt == self._attempt:
            await self._peer.add_candidate(candidate)

    async def statistics(self) -> CallStatistics:
        """Of the present connection."""
        if self._peer is None:
            return CallStatistics(attempt=self._attempt)
        return replace(await self._peer.statistics(), attempt=self._attempt)

    async def close(self) -> None:
        """Close the connection, finish the recording and give back the sources.

        All at once: one that hangs or fails keeps neither the camera on nor the recording open. Raises what
        failed, TimeoutError for what hung.
        """
        steps = (self._drop_peer, self._media.close, self._finish_recording)
        async with asyncio.timeout(CLOSE_SECONDS):
            done = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure

    async def _finish_recording(self) -> None:
        recorder, self._incoming.recorder = self._incoming.recorder, None
        if recorder is None:
            return
        self.recording_error = RecordingFailed("The recording was not finished in time.")
        try:
            await recorder.close()
        except RecordingFailed as error:
            self.recording_error = error
        else:
            self.recording_error = None

    async def _new_peer(self, attempt: int) -> Peer:
        await self._drop_peer()
        connectivity = Connectivity(
            ice_servers=await self._ice_servers(),
            loopback=self._settings.loopback,
            relay_only=self._settings.relay_only,
        )
        if connectivity.relay_only and not connectivity.turn_addresses:
            raise CallNotPossible("No TURN server is known, and only one hides this device's address.")
        self._attempt = attempt
        self._peer = Peer(
            connectivity,
            sources=self._media.tracks,
            muted=self.muted,
            incoming=self._incoming,
            on_state=lambda state: self._changed(attempt, state),
        )
        return self._peer

    async def _ice_servers(self) -> Sequence[IceServer]:
        try:
            return await self._settings.ice_servers()
        except CoachRelayError as error:  # perhaps it goes without them
            _log.debug("no servers for a call: %s", error.code)
            return ()

    async def _drop_peer(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    def _changed(self, attempt: int, state: str) -> None:
        if state == "connected" and self._peer is not None:
            self.path = self._peer.path
        if state == "connected" and self._watch is None and self._peer is not None:
            self._watch = asyncio.create_task(self._watch_silence(self._peer, attempt))
        self._on_state(attempt, state)

    async def _watch_silence(self, peer: Peer, attempt: int) -> None:
        received = 0
        while True:
            await asyncio.sleep(self._settings.silence_seconds)
            now_received = (await peer.statistics()).packets_received
            if peer.expects_media and now_received == received and received > 0:
                self._on_state(attempt, "silent")
                return
            received = now_received
