"""One connection: frames in, frames out, and what it may do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

from relay.core.limits import TokenBucket
from relay.errors import RelayError, RequestError, StoreError
from relay.hub.delivery import Subscription
from relay.hub.settings import CLAIM_RATE, CONGESTED_BYTES, SLOW_READER_BYTES, Sink
from relay.wire import frames as fr
from relay.wire.codec import decode_from_device, encode_appended, encode_frame
from relay.wire.connection import Connection, Side, State
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import MAX_FRAMES_PER_MESSAGE, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from relay.hub.commits import CommitQueue
    from relay.hub.hub import Hub

_log: Final = logging.getLogger("relay.hub")
Handler = Callable[["Session", Any], Coroutine[Any, Any, None] | None]


class Session:
    """The relay's end of one connection. `receive` and `lost` are for the transport, which calls them in
    turn."""

    __slots__ = (
        "_appended",
        "_out",
        "_ready_subscriptions",
        "_sink",
        "closed",
        "congested",
        "device",
        "dirty",
        "handshake_ends",
        "hub",
        "limits",
        "link",
        "nonces",
        "number",
        "out_bytes",
        "portal",
        "subscriptions",
        "token_expires",
        "user",
        "waits_for",
    )

    def __init__(self, hub: Hub, sink: Sink, handshake_ends: float) -> None:
        self.hub = hub
        self.link = Connection(Side.RELAY)
        self.handshake_ends = handshake_ends
        self.nonces: tuple[bytes, bytes] | None = None
        self.portal = PortalId("")
        self.user = UserId("")
        self.device = DeviceId(b"")
        self.token_expires = 0
        self.number = 0  # where there are other nodes: the device's newest connection has the highest
        self.limits: Limits | None = None
        self.subscriptions: dict[EngagementId, Subscription] = {}
        self.closed = False
        self.congested = False
        self.waits_for: CommitQueue | None = None  # full, since this connection's last append
        self.dirty = False
        self._sink = sink
        self._out: list[bytes] = []
        self.out_bytes = 0
        self._appended: dict[EngagementId, list[tuple[int, int]]] = {}
        self._ready_subscriptions: dict[Subscription, None] = {}

    @property
    def is_ready(self) -> bool:
        return self.link.state is State.READY

    # From the transport

    async def receive(self, message: bytes) -> None:
        """Work on one websocket message. Returns when the next one may be read: that is the back-pressure."""
        if self.closed:
            return
        try:
            self.link.check_size(message)
            frames = self.link.received_all(decode_from_device(message))
            for kind, run in groupby(frames, type):
                if kind is fr.Append:
                    await self.hub.appends.append(self, cast("list[fr.Append]", list(run)))
                else:
                    await self._work_on(self.hub.handlers[kind], run)
                if self.link.state is State.CLOSED:
                    return
        except WireError as error:
            self.end(error.code, error.detail)
            return
        except Exception:
            _log.exception("a frame could not be worked on")
            self.end(ErrorCode.INTERNAL)
            return
        if self.waits_for is not None:
            queue, self.waits_for = self.waits_for, None
            await queue.wait_room()

    async def _work_on(self, handler: Handler, frames: Iterable[Any]) -> None:
        for frame in frames:
            waiting = handler(self, frame)
            if waiting is not None:
                await waiting
                if self.link.state is State.CLOSED:
                    return

    def lost(self) -> None:
        """The transport is gone."""
        if not self.closed:
            self._close()

    def unreadable(self, code: ErrorCode, detail: str = "") -> None:
        """The transport got what is no binary message, or nothing for too long: the connection ends."""
        self.end(code, detail)

    # To the device

    def send(self, frame: fr.RelayFrame) -> None:
        """Let a frame go out with this turn's flush."""
        if self.closed:
            return
        self.link.sent(frame)
        self._put(encode_frame(frame))

    def send_error(self, request: int, error: RelayError) -> None:
        """Answer a request with why it was not done."""
        code = protocol_code(error)
        self.hub.watch.refuse(code)
        self.send(fr.Error(request, code, ""))

    def send_packed(self, frame: bytes) -> None:
        """Let an encoded frame go out, if the connection is ready and takes what it is sent."""
        if self.is_ready and not self.congested:
            self._put(frame)

    def appended(self, stream: EngagementId, counter: int, seq: int, entries: int) -> None:
        """Tell where entries are: both numbers are the first one's."""
        results = self._appended.get(stream)
        if results is None:
            if self.closed:
                return
            results = self._appended[stream] = []
            self._mark()
        results += zip(range(counter, counter + entries), range(seq, seq + entries), strict=True)

    def refuse(
        self, stream: EngagementId, counter: int, entries: int, code: str, last_commit: int = 0
    ) -> None:
        """Refuse entries, from this counter on."""
        if entries:
            self.hub.watch.refuse(code, entries)
        for number in range(counter, counter + entries):
            self.send(fr.Refused(stream, number, code, last_commit))

    def queue_entries(self, subscription: Subscription) -> None:
        """Note that a subscription has entries to go out."""
        self._ready_subscriptions[subscription] = None
        if not self.dirty:
            self._mark()

    def end(self, code: ErrorCode, detail: str = "", *, reconnect_after_ms: int = 0) -> None:
        """Say goodbye and close."""
        if self.closed:
            return
        self.goodbye(code, detail, reconnect_after_ms=reconnect_after_ms)
        self.finish()

    def goodbye(self, code: ErrorCode, detail: str = "", *, reconnect_after_ms: int = 0) -> None:
        """Say goodbye; answers to what was accepted before may still go out."""
        if self.closed or self.link.state is State.DRAINING:
            return
        _log.info("connection ends", extra={"code": code.value})
        self.hub.watch.end(code)
        self.send(fr.Goodbye(code.value, detail, reconnect_after_ms))
        self.close_subscriptions()

    def finish(self) -> None:
        """Send what there is, then close."""
        if not self.closed:
            self.flush()
            self._close()

    def flush(self) -> None:
        """Send everything of this turn, in as few messages as the protocol allows."""
        self.dirty = False
        if self.closed:
            return
        out = self._out
        for subscription in self._ready_subscriptions:
            out += subscription.take_frames()
        for stream, results in self._appended.items():
            for start in range(0, len(results), MAX_FRAMES_PER_MESSAGE):
                out.append(encode_appended(stream, results[start : start + MAX_FRAMES_PER_MESSAGE]))
        self._out, self.out_bytes, self._appended = [], 0, {}
        self._ready_subscriptions.clear()
        if out:
            was_congested = self.congested
            self._send_all(out)
            if was_congested and not (self.congested or self.closed):
                self.pump()  # streams that had to wait for this turn's end

    def pump(self) -> None:
        """Go on with streams that wait for the device to take what it was sent."""
        self.congested = self._sink.pending() + self.out_bytes > CONGESTED_BYTES
        for subscription in self.subscriptions.values():
            if subscription.wants_reading:
                self.hub.read_for(subscription)

    def close_subscriptions(self) -> None:
        """Stop every delivery."""
        for subscription in self.subscriptions.values():
            subscription.closed = True
            subscription.room.subscriptions.pop(self, None)
        self.subscriptions.clear()

    def close_subscription(self, stream: EngagementId, *, begins_anew: bool = False) -> None:
        """Stop the delivery of one stream."""
        subscription = self.subscriptions.pop(stream, None)
        if subscription is not None:
            subscription.closed = True
            subscription.room.subscriptions.pop(self, None)
            if begins_anew:  # nothing of the delivery before may come behind the next `Opened`
                self._ready_subscriptions.pop(subscription, None)

    async def answer(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        """Do what a request asks; if it cannot be done, say so under its number."""
        try:
            await work
        except (RequestError, StoreError) as error:
            self.send_error(request, error)
        except WireError:
            raise
        except Exception:
            _log.exception("a request failed")
            self.send_error(request, RelayError())

    def _put(self, frame: bytes) -> None:
        self._out.append(frame)
        self.out_bytes += len(frame)
        self._mark()

    def _mark(self) -> None:
        if not self.dirty:
            self.dirty = True
            self.hub.to_flush(self)

    def _send_all(self, frames: list[bytes]) -> None:
        sink = self._sink
        if len(frames) <= MAX_FRAMES_PER_MESSAGE and sum(map(len, frames)) <= MAX_MESSAGE_BYTES:
            sink.send(frames[0] if len(frames) == 1 else b"".join(frames))
        else:
            for message in _messages(frames):
                sink.send(message)
        pending = sink.pending()
        self.congested = pending > CONGESTED_BYTES
        if pending > SLOW_READER_BYTES and self.link.state is not State.DRAINING:
            self.end(ErrorCode.SLOW_READER)

    def _close(self) -> None:
        self.closed = True
        self.link.closed()
        self.close_subscriptions()
        self._out, self._appended = [], {}
        self._ready_subscriptions.clear()
        self.hub.detach(self)
        self._sink.close()


class Limits:
    """A ready connection's token buckets."""

    __slots__ = ("appends", "claims", "commits", "ephemeral", "requests")

    def __init__(self, hub: Hub, now: float) -> None:
        rates = hub.settings.rates
        self.appends = TokenBucket(rates.appends, now)
        self.commits = TokenBucket(rates.commits, now)
        self.ephemeral = TokenBucket(rates.ephemeral, now)
        self.requests = TokenBucket(rates.requests, now)
        self.claims = TokenBucket(CLAIM_RATE, now)


def protocol_code(error: RelayError) -> str:
    """The protocol's code for an error; what the protocol has no word for is `internal`."""
    if isinstance(error, StoreError) and error.code not in _CODES:
        return ErrorCode.STORE_UNAVAILABLE
    return str(error.code) if error.code in _CODES else ErrorCode.INTERNAL


_CODES: Final = frozenset(code.value for code in ErrorCode)


def _messages(frames: list[bytes]) -> list[bytes]:
    """Frames as few messages, each within the protocol's bounds."""
    messages: list[bytes] = []
    run: list[bytes] = []
    size = 0
    for frame in frames:
        if run and (len(run) == MAX_FRAMES_PER_MESSAGE or size + len(frame) > MAX_MESSAGE_BYTES):
            messages.append(b"".join(run))
            run, size = [], 0
        run.append(frame)
        size += len(frame)
    messages.append(b"".join(run))
    return messages
