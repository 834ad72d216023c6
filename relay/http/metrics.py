"""Metrics in Prometheus' text format, on a listener of their own: numbers about the relay, nobody's name.

No label has a value that a peer or a portal can choose: routes are those of the application, methods and
statuses are few. Connections, engagements and files are counted, never told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from relay.core.operations import Operation, Outcome, StoredEntry, StreamView
from relay.core.quotas import NAMES
from relay.errors import StoreError
from relay.hub import Hub
from relay.hub.watch import BOUNDS, Distribution, behind, near_quotas, states
from relay.store import StreamStore
from relay.wire.ids import EngagementId

PATH: Final = "/metrics"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
QUOTA_SECONDS: Final = 60.0
"""How often the portals' quotas are looked at: it reads a record of each."""

_CONNECT: Final = "/v1/connect"
_FILES: Final = "/v1/blobs"
_NOT_STORED: Final = frozenset({"store_unavailable", "store_full", "store_corrupt"})


class Metrics:
    """What is counted while the relay runs."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        build = Gauge("coach_relay_build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(version).set(1)
        self._requests = Counter(
            "coach_relay_http_requests",
            "HTTP requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "coach_relay_http_request_seconds",
            "How long an HTTP request took, websockets excepted.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.quota_refusals = Counter(
            "coach_relay_quota_refusals", "HTTP requests refused by a quota.", registry=self.registry
        )
        self._files = Counter(
            "coach_relay_file_storage_failures",
            "Requests for files that their storage did not serve.",
            registry=self.registry,
        )
        self._commits = Histogram(
            "coach_relay_store_commit_seconds",
            "How long it took to make a batch of messages durable.",
            buckets=COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._operations = Counter(
            "coach_relay_store_operations", "Appends and upkeep given to the store.", registry=self.registry
        )
        self._failures = Counter(
            "coach_relay_store_failures", "Batches that the store refused.", registry=self.registry
        )
        self._hub: Hub | None = None
        self._near: Mapping[str, int] = dict.fromkeys(NAMES, 0)
        self._looked_at = -QUOTA_SECONDS

    def observe(self, hub: Hub, *, max_connections: int) -> None:
        """Tell about a hub as well, as it is when somebody asks."""
        limit = Gauge("coach_relay_connections_limit", "Connections that are let in.", registry=self.registry)
        limit.set(max_connections)
        self._hub = hub
        self.registry.register(_HubCollector(hub, lambda: self._near))

    def answered(self, request: web.Request, status: int, code: str, seconds: float) -> None:
        """Count a request."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        method = request.method if request.method in METHODS else "other"
        self._requests.labels(method, route, f"{status // 100}xx").inc()
        if route != _CONNECT:
            self._seconds.labels(route).observe(seconds)
        if code == "quota_exceeded":
            self.quota_refusals.inc()
        if code in _NOT_STORED and route.startswith(_FILES):
            self._files.inc()

    def timed(self, streams: StreamStore) -> StreamStore:
        """The store, its commits counted and timed."""
        return _TimedStreams(streams, self)

    def committed(self, operations: int, seconds: float, *, failed: bool) -> None:
        """Count a batch."""
        self._operations.inc(operations)
        self._commits.observe(seconds)
        if failed:
            self._failures.inc()

    def app(self) -> web.Application:
        """The application that answers /metrics, and nothing else."""
        app = web.Application(client_max_size=0)
        app.add_routes([web.get(PATH, self._answer)])
        return app

    async def _look_at_quotas(self) -> None:
        """Count anew which portals are near a quota, if that was not done just now."""
        now = time.monotonic()
        if self._hub is not None and now - self._looked_at >= QUOTA_SECONDS:
            self._looked_at = now
            with contextlib.suppress(StoreError):  # coach_relay_store_failures_total tells of that
                self._near = await near_quotas(self._hub)

    async def _answer(self, _request: web.Request) -> web.Response:
        await self._look_at_quotas()
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store", "Server": "coach-relay"}
        return web.Response(body=generate_latest(self.registry), headers=headers)


METRICS: Final = web.AppKey("metrics", Metrics)
"""Who counts the requests; missing where nobody wants to know."""


class _HubCollector(Collector):
    """Reads what the hub has when it is asked."""

    def __init__(self, hub: Hub, near: Callable[[], Mapping[str, int]]) -> None:
        self._hub = hub
        self._near = near

    def collect(self) -> Iterator[Metric]:
        now = self._hub.statistics()
        yield GaugeMetricFamily("coach_relay_connections", "Open connections.", now.connections)
        yield GaugeMetricFamily("coach_relay_devices", "Connected devices that are let in.", now.ready)
        yield GaugeMetricFamily("coach_relay_open_streams", "Conversations in memory.", now.rooms)
        yield GaugeMetricFamily("coach_relay_queued_operations", "What waits for the store.", now.queued)
        yield _by(
            GaugeMetricFamily(
                "coach_relay_connection_states", "Open connections by state.", labels=["state"]
            ),
            {state.value: count for state, count in states(self._hub).items()},
        )
        yield from self._delivery()
        yield from self._refusals()
        yield _by(
            GaugeMetricFamily(
                "coach_relay_portals_near_quota",
                "Portals that use 80 % of a quota or more.",
                labels=["quota"],
            ),
            self._near(),
        )

    def _delivery(self) -> Iterator[Metric]:
        watch, late = self._hub.watch, behind(self._hub)
        yield _histogram(
            "coach_relay_append_seconds", "From a message's arrival until it is durable.", watch.stored
        )
        yield _histogram(
            "coach_relay_delivery_seconds",
            "From a message's arrival until it goes out to a connected device.",
            watch.delivered,
        )
        yield GaugeMetricFamily(
            "coach_relay_streams_behind",
            "Open conversations of connected devices that have not taken everything.",
            late.streams,
        )
        yield GaugeMetricFamily(
            "coach_relay_oldest_undelivered_seconds",
            "How long the slowest connected device has had something that it does not acknowledge.",
            late.seconds,
        )

    def _refusals(self) -> Iterator[Metric]:
        hub = self._hub
        yield _by(
            CounterMetricFamily("coach_relay_refused", "Messages and requests not done.", labels=["code"]),
            hub.watch.refused,
        )
        yield _by(
            CounterMetricFamily(
                "coach_relay_connections_ended", "Connections that the relay ended.", labels=["code"]
            ),
            hub.watch.ended,
        )
        yield CounterMetricFamily(
            "coach_relay_connections_refused_by_quota",
            "Connections refused by a portal's quota.",
            hub.access.refused_connections,
        )
        yield CounterMetricFamily(
            "coach_relay_turn_credentials",
            "Times that a device was told of TURN servers.",
            hub.watch.turn_credentials,
        )
        yield _by(
            CounterMetricFamily(
                "coach_relay_calls", "Ends of calls by the way that they had connected.", labels=["path"]
            ),
            hub.watch.calls,
        )


Labelled = TypeVar("Labelled", GaugeMetricFamily, CounterMetricFamily)


def _by(family: Labelled, values: Mapping[str, int]) -> Labelled:
    """A family with one label, which has few values, all of them ours."""
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def _histogram(name: str, text: str, found: Distribution) -> HistogramMetricFamily:
    sums = list(accumulate(found.counts))
    buckets = [(str(bound), float(count)) for bound, count in zip((*BOUNDS, "+Inf"), sums, strict=True)]
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=found.seconds)


class _TimedStreams:
    """A `StreamStore` whose commits are timed."""

    def __init__(self, streams: StreamStore, metrics: Metrics) -> None:
        self._streams = streams
        self._metrics = metrics

    def lane(self, stream: EngagementId) -> Hashable:
        return self._streams.lane(stream)

    def commit(self, operations: Sequence[Operation]) -> asyncio.Future[list[list[Outcome]]]:
        began, count = time.perf_counter(), len(operations)
        committing = asyncio.ensure_future(self._streams.commit(operations))

        def done(future: asyncio.Future[list[list[Outcome]]]) -> None:
            failed = future.cancelled() or future.exception() is not None
            self._metrics.committed(count, time.perf_counter() - began, failed=failed)

        committing.add_done_callback(done)
        return committing

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        return await self._streams.read(stream, after=after, limit=limit, max_bytes=max_bytes)

    async def view(self, stream: EngagementId) -> StreamView | None:
        return await self._streams.view(stream)

    async def begin_history(self, history: bytes) -> None:
        await self._streams.begin_history(history)

    async def check(self) -> None:
        await self._streams.check()

    async def close(self) -> None:
        await self._streams.close()
