"""Metrics in Prometheus' text format, on a listener of their own: numbers about the relay, nobody's name.

No label has a value that a peer or a portal can choose: routes are those of the application, methods and
statuses are few. Connections, engagements and files are counted, never told apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from relay.core.operations import Operation, Outcome, StoredEntry, StreamView
from relay.hub import Hub
from relay.store import StreamStore
from relay.wire.ids import EngagementId

PATH: Final = "/metrics"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_CONNECT: Final = "/v1/connect"


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

    def observe(self, hub: Hub) -> None:
        """Tell about a hub as well, as it is when somebody asks."""
        self.registry.register(_HubCollector(hub))

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

    async def _answer(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store", "Server": "coach-relay"}
        return web.Response(body=generate_latest(self.registry), headers=headers)


METRICS: Final = web.AppKey("metrics", Metrics)
"""Who counts the requests; missing where nobody wants to know."""


class _HubCollector(Collector):
    """Reads what the hub has when it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        now = self._hub.statistics()
        yield GaugeMetricFamily("coach_relay_connections", "Open connections.", now.connections)
        yield GaugeMetricFamily("coach_relay_devices", "Connected devices that are let in.", now.ready)
        yield GaugeMetricFamily("coach_relay_open_streams", "Conversations in memory.", now.rooms)
        yield GaugeMetricFamily("coach_relay_queued_operations", "What waits for the store.", now.queued)
        yield CounterMetricFamily(
            "coach_relay_connections_refused_by_quota",
            "Connections refused by a portal's quota.",
            self._hub.access.refused_connections,
        )


class _TimedStreams:
    """A `StreamStore` whose commits are timed."""

    def __init__(self, streams: StreamStore, metrics: Metrics) -> None:
        self._streams = streams
        self._metrics = metrics

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

    async def check(self) -> None:
        await self._streams.check()

    async def close(self) -> None:
        await self._streams.close()
