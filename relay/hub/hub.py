"""The hub: joins connections, rules and stores."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, NamedTuple

from relay.core.engagements import EngagementRecord
from relay.errors import RelayError, StoreError
from relay.hub.access import Access
from relay.hub.appends import Appends
from relay.hub.archives import Archives
from relay.hub.blob_access import BlobAccess
from relay.hub.cache import Cache
from relay.hub.commits import Answers
from relay.hub.delivery import Subscription
from relay.hub.devices import Devices
from relay.hub.engagements import Engagements
from relay.hub.handshake import Handshake
from relay.hub.keypackages import KeyPackages
from relay.hub.lanes import CommitLanes
from relay.hub.leases import Leases
from relay.hub.nodes import CHANGED, DEVICES, ENGAGEMENT, ENTERED, LOW, STOCK, STORED, Nodes
from relay.hub.overview import Overview
from relay.hub.portals import Portals
from relay.hub.requests import Requests
from relay.hub.rooms import Rooms
from relay.hub.session import Handler, Session
from relay.hub.settings import (
    CONCURRENT_READS,
    MOVE_TURN_SECONDS,
    MOVED_WITHIN_MS,
    EraseBlob,
    HubSettings,
    IceServersFor,
    Sink,
    VerifyToken,
    no_ice_servers,
)
from relay.hub.sweep import Sweep
from relay.hub.uploads import Uploads
from relay.hub.watch import Watch
from relay.store.bus import Bus, LocalBus
from relay.store.interface import Directory, StreamStore
from relay.wire import frames as fr
from relay.wire.codec import encode_frame
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import HANDSHAKE_SECONDS

_log: Final = logging.getLogger("relay.hub")


class Statistics(NamedTuple):
    """What the hub is doing: numbers, nobody's name."""

    connections: int
    ready: int
    rooms: int
    queued: int


class Hub:
    """One relay. Call `start` before the first connection, `drain` and `close` at the end."""

    def __init__(
        self,
        streams: StreamStore,
        directory: Directory,
        *,
        settings: HubSettings,
        verify_token: VerifyToken,
        ice_servers: IceServersFor = no_ice_servers,
        erase_blob: EraseBlob | None = None,
        bus: Bus | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        rng: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.streams = streams
        self.directory = directory
        self.settings = settings
        self.verify_token = verify_token
        self.ice_servers = ice_servers
        self.clock = clock  # dates: they are stored, and compared with those of others
        self.steady = steady  # how long something takes, also while somebody sets the date
        self.rng = rng
        self.bus: Bus = bus or LocalBus()
        self.watch = Watch()
        self.nodes = Nodes(self)
        self.leases = Leases(directory, self.bus.node, clock, steady)
        self.appends = Appends(self)
        handshake = Handshake(self)
        self.rooms = Rooms(self)
        answers = Answers(self.appends.committed, self.appends.failed, self.rooms.deliver)
        self.commits = CommitLanes(streams, answers)
        self.devices = Devices(directory, self._device_forgotten)
        self.key_packages = KeyPackages(directory, rng, clock, self._key_packages_low, self._stock_changed)
        self.engagements = Engagements(
            directory,
            self.commits,
            self.leases,
            clock=clock,
            rng=rng,
            changed=self._engagement_changed,
            tell=self._tell_engagement,
        )
        self.overview = Overview(self)
        self.uploads = Uploads(
            directory, self.engagements.portal_of, clock=clock, rng=rng, tell=self._tell_stored
        )
        self.blob_access = BlobAccess(directory, self.engagements, self.devices, clock=clock, rng=rng)
        self.portals = Portals(directory, clock=clock, rng=rng)
        self.access = Access(self)
        self.archives = Archives(self)
        self.sweep = Sweep(streams, self.commits, self.engagements, self.uploads, self.archives, erase_blob)
        self.handlers: dict[type, Handler] = {
            fr.Hello: handshake.hello,
            fr.Authenticate: handshake.authenticate,
            fr.Renew: handshake.renew,
            fr.Ack: self.appends.acknowledge,
            **Requests(self).handlers(),
        }
        self._sessions: dict[Session, None] = {}
        self._by_device: dict[DeviceId, Session] = {}
        self._by_user: dict[tuple[PortalId, UserId], dict[Session, None]] = {}
        self._to_flush: list[Session] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: dict[EngagementId, object] = {}
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._tick: asyncio.TimerHandle | None = None
        self._next_sweep = 0.0
        self._draining = False

    async def start(self) -> None:
        """Begin to commit, to keep time and to sweep. Raises `StoreError`."""
        await self.streams.check()
        await self.nodes.start()
        await self.blob_access.start()
        await self.engagements.start()
        self.commits.start()
        self._keep_time()

    def attach(self, sink: Sink) -> Session:
        """A new connection. The transport calls its `receive` in turn, and `lost` at the end."""
        session = Session(self, sink, self.steady() + HANDSHAKE_SECONDS)
        self._sessions[session] = None
        if self._draining:
            session.end(ErrorCode.DRAINING, reconnect_after_ms=self.jitter_ms())
        return session

    async def drain(self, *, over_seconds: float = 0.0) -> None:
        """Tell every device to come again, answer what was accepted, close all connections.

        Where there are other nodes, devices are told in turns, `over_seconds`, and come there at once.
        """
        self._draining = True
        if self.nodes.is_shared and over_seconds:
            await self._move(over_seconds)
        await self._send_away(list(self._sessions))

    async def _move(self, over_seconds: float) -> None:
        turns = max(1, round(over_seconds / MOVE_TURN_SECONDS))
        sessions = sorted(self._sessions, key=lambda _: self.rng(4))
        for turn in range(turns):
            await self._send_away(sessions[turn::turns])
            if sessions[turn + 1 :]:
                await asyncio.sleep(MOVE_TURN_SECONDS)

    async def _send_away(self, sessions: list[Session]) -> None:
        for session in sessions:
            session.goodbye(ErrorCode.DRAINING, reconnect_after_ms=self.jitter_ms())
            session.flush()
        await self.commits.settle()
        for session in sessions:
            session.finish()

    async def close(self) -> None:
        """Drain, finish what runs, and stop. The stores are the caller's to close."""
        await self.drain()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        await self.settle()
        await self.commits.close()

    async def settle(self) -> None:
        """Wait until everything that was begun is done and sent."""
        while self._tasks or len(self.commits):
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.commits.settle()
        await self.commits.settle()
        self._flush()

    def statistics(self) -> Statistics:
        """What the hub is doing now."""
        return Statistics(len(self._sessions), len(self._by_device), len(self.rooms), len(self.commits))

    def sessions(self) -> Iterable[Session]:
        """The open connections; not to be kept."""
        return self._sessions

    # For sessions

    def enter(self, session: Session) -> None:
        """A device has proved itself; an older connection of it ends."""
        older = self._by_device.get(session.device)
        if older is not None:
            older.end(ErrorCode.REPLACED)
        self._by_device[session.device] = session
        self._by_user.setdefault((session.portal, session.user), {})[session] = None
        self.nodes.tell(ENTERED, session.device, session.number)

    def detach(self, session: Session) -> None:
        """A connection is gone."""
        self._sessions.pop(session, None)
        self.access.leave(session)
        if self._by_device.get(session.device) is session:
            del self._by_device[session.device]
        sessions = self._by_user.get((session.portal, session.user))
        if sessions is not None:
            sessions.pop(session, None)
            if not sessions:
                del self._by_user[session.portal, session.user]

    def session_of(self, device: DeviceId) -> Session | None:
        """A device's connection, if it has one."""
        return self._by_device.get(device)

    def end_device(self, device: DeviceId, code: ErrorCode) -> None:
        """End a device's connection, if it has one."""
        session = self._by_device.get(device)
        if session is not None:
            session.end(code)

    def to_flush(self, session: Session) -> None:
        """Send what a session has at the end of this turn of the loop, together with all others'."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(session)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the connections; failures are logged."""
        task = asyncio.get_running_loop().create_task(_reported(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def read_for(self, subscription: Subscription) -> None:
        """Read what memory did not give."""
        subscription.reading = True
        self.spawn(self._read_for(subscription))

    def caches(self) -> list[Cache[Any, Any]]:
        """What is kept of the Directory in memory."""
        return [*self.devices.caches, *self.engagements.caches, *self.key_packages.caches]

    def changed(self, engagement: EngagementId) -> None:
        """Tell the participants, at whichever node, that something about an engagement is different."""
        self.spawn(self.tell_changed(engagement))
        self.nodes.tell(CHANGED, engagement)

    async def engagements_of_changed(self, portal: PortalId, user: UserId) -> None:
        """Tell the participants of all engagements of a user, whose devices are different."""
        self.nodes.tell(DEVICES, portal, user)
        await self.tell_engagements_of(portal, user)

    async def tell_engagements_of(self, portal: PortalId, user: UserId) -> None:
        """`engagements_of_changed`, for those who are at this node."""
        for record in await self.engagements.of_user(portal, user):
            if not record.ended:
                await self.tell_changed(record.id)

    def jitter_ms(self) -> int:
        """When to come again: spread, so that not all come at once. Another node is there at once."""
        within = MOVED_WITHIN_MS if self.nodes.is_shared else self.settings.reconnect_within_ms
        return int.from_bytes(self.rng(4), "big") % (within + 1)

    # Inside

    def _flush(self) -> None:
        sessions, self._to_flush = self._to_flush, []
        for session in sessions:
            try:
                session.flush()
            except Exception:
                _log.exception("a connection could not be written to")
                session.lost()

    async def _read_for(self, subscription: Subscription) -> None:
        room = subscription.room
        session = subscription.session
        try:
            subscription.reading = False
            while subscription.wants_reading:
                subscription.reading = True
                async with self._reads:
                    head = room.head
                    entries, size = subscription.room_left
                    found = await self.streams.read(
                        room.record.id, after=subscription.sent, limit=entries, max_bytes=size
                    )
                    if subscription.closed:
                        return
                    before = subscription.sent
                    subscription.push_read(found)
                    if not found:
                        subscription.sent = max(before, head)
                subscription.reading = False
                if found and subscription.sent == before:
                    return  # the window or the device is full: an acknowledgement goes on
        except StoreError as error:
            _log.error("reading failed", extra={"code": str(error.code)})
            session.end(ErrorCode.DRAINING, reconnect_after_ms=self.jitter_ms())
        finally:
            subscription.reading = False

    async def tell_changed(self, engagement: EngagementId) -> None:
        """`changed`, for those who are at this node."""
        # Who begins to look later sees more: what was seen before that must not be told behind it.
        look = self._looks[engagement] = object()
        try:
            record = await self.engagements.load(engagement)
            sessions = self._sessions_of(record) if record is not None else []
            if record is None or not sessions:
                return
            packed = encode_frame(fr.EngagementChanged(await self.overview.of(record)))
            if self._looks.get(engagement) is look:
                for session in sessions:
                    session.send_packed(packed)
        finally:
            if self._looks.get(engagement) is look:
                del self._looks[engagement]

    def _sessions_of(self, record: EngagementRecord) -> list[Session]:
        return [session for user in record.users for session in self._by_user.get((record.portal, user), ())]

    def _tell_engagement(self, before: EngagementRecord, after: EngagementRecord) -> None:
        """What only one node does about a change: tell the others, and erase what has ended."""
        self.nodes.tell(ENGAGEMENT, before.serialize())
        if after.ended:
            self.spawn(self._end(after))

    def _engagement_changed(self, before: EngagementRecord, after: EngagementRecord) -> None:
        room = self.rooms.get(after.id)
        if room is not None:
            room.update(after)
            if after.ended:
                self.rooms.drop(after.id)
            for session in list(room.subscriptions):
                if after.ended or session.user not in after.users:
                    session.close_subscription(after.id)
        self.spawn(self.tell_changed(after.id))
        self._tell_removed(before, after)

    def _tell_removed(self, before: EngagementRecord, after: EngagementRecord) -> None:
        """Who is gone from the roster learns that, and nothing else about it."""
        gone = fr.Engagement(after.id, after.status, after.created, after.retention_hours, (), (), 0)
        packed = encode_frame(fr.EngagementChanged(gone))
        for user in before.users - after.users:
            for session in self._by_user.get((before.portal, user), ()):
                session.send_packed(packed)

    async def _end(self, record: EngagementRecord) -> None:
        await self.sweep.sweep(record, int(self.clock() * 1000))

    def _key_packages_low(self, device: DeviceId, left: int) -> None:
        if not self.tell_low(device, left):
            self.nodes.tell(LOW, device, left)

    def tell_low(self, device: DeviceId, left: int) -> bool:
        """Tell a device, if it is here, that it has few key packages left."""
        session = self._by_device.get(device)
        if session is not None:
            session.send_packed(encode_frame(fr.KeyPackagesLow(left)))
        return session is not None

    def _device_forgotten(self, device: DeviceId) -> None:
        self.key_packages.forgotten(device)
        self._stock_changed(device)

    def _stock_changed(self, device: DeviceId) -> None:
        self.nodes.tell(STOCK, device)

    def _tell_stored(self, portal: PortalId, size: int) -> None:
        self.nodes.tell(STORED, portal, size)

    def _keep_time(self) -> None:
        """Once a second: tokens, handshakes, devices that went on reading without saying so, the sweep."""
        self._tick = asyncio.get_running_loop().call_later(self.settings.tick_seconds, self._keep_time)
        self.tick()

    def tick(self) -> None:
        """Do what time asks for."""
        now, date = self.steady(), self.clock()
        for session in list(self._sessions):
            if not session.is_ready:
                if session.handshake_ends <= now:
                    session.end(ErrorCode.HANDSHAKE_TIMEOUT)
            elif session.token_expires <= date:
                session.end(ErrorCode.TOKEN_EXPIRED)
            elif session.congested:
                session.pump()
        self.rooms.tick(now)
        self.nodes.tick(now)
        self.spawn(self.access.poll())
        if now >= self._next_sweep:
            self._next_sweep = now + self.settings.sweep_seconds
            self.spawn(self._sweep(date))

    async def _sweep(self, now: float) -> None:
        # Half as long again: the node that swept the last time goes on, another one if it does not.
        if not await self.leases.take("sweep", self.settings.sweep_seconds * 1.5):
            return
        await self.sweep.run(int(now * 1000))
        await self.access.sweep(int(now))
        await self.engagements.idempotency.sweep(int(now))


async def _reported(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except RelayError as error:
        _log.warning("work beside the connections failed", extra={"code": str(error.code)})
    except Exception:
        _log.exception("work beside the connections failed")
