"""The relay as a process: everything opened in order, signals, draining, everything closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from relay.config import ConfigError, Settings
from relay.errors import StoreUnavailable, StoreUnfit
from relay.http.access import TokenAccess
from relay.http.app import Relay, RelayApp, create_app
from relay.http.blob_owner import begin_with
from relay.http.blob_store import open_blob_store
from relay.http.ice import ice_servers
from relay.http.logs import log
from relay.http.metrics import PATH, Metrics
from relay.http.stores import Stores, open_stores, where
from relay.http.sweep import sweep_forever
from relay.hub import Hub, HubSettings, Portals
from relay.version import installed_version

BACKLOG: Final = 1024  # connections that wait to be accepted: a crowd that comes back after a restart
HEADER_SECONDS: Final = 15  # for a request's head, and for the next request on a connection
LINGER_SECONDS: Final = 5.0  # for the rest of a body that nobody wants
CLOSE_SECONDS: Final = 2.0  # for what is still open when draining is over
MOVE_SECONDS: Final = 5.0  # over which devices are told to move to other nodes: no crowd comes there at once
BEGIN_SECONDS: Final = 45.0  # for stores that are not there yet: less than the minute that Kubernetes gives
AGAIN_SECONDS: Final = 1.0  # between two tries of that
END_SECONDS: Final = 10.0  # for closing everything after that; a disk that hangs must not hold the process
COLLECT_AFTER: Final = (50_000, 20, 50)  # allocations, and collections of the generation below
MAX_HEADER_BYTES: Final = 8190  # for one line of a request's head: an access token has 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A relay that serves; `url` is where, and `metrics_url` where its metrics are, if anywhere."""

    relay: Relay
    app: RelayApp
    url: str
    metrics_url: str = ""


async def run_relay(settings: Settings, *, announce: Callable[[str], None]) -> int:
    """Run the relay until SIGTERM or SIGINT. `announce` gets the line that says where it listens."""
    stopping = _stop_on_signals()
    async with _begun(settings, stopping) as running:
        if running is None:
            return 0
        _calm_collector()
        metrics = f", metrics on {running.metrics_url}" if running.metrics_url else ""
        announce(f"coach-relay: listening on {running.url}, {where(settings)}{metrics}")
        log(logging.INFO, "started")
        await stopping.wait()
        log(logging.INFO, "draining", connections=running.app.connect.count)
        asyncio.get_running_loop().call_later(settings.drain_seconds + END_SECONDS, _give_up)
        await drain(running)
    log(logging.INFO, "stopped")
    return 0


@asynccontextmanager
async def _begun(settings: Settings, stopping: asyncio.Event) -> AsyncIterator[Serving | None]:
    """Serve as soon as Redis does: it may start, or fail over, just now. None: told to stop meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        deadline = time.monotonic() + (BEGIN_SECONDS if settings.redis else 0)
        running = None
        while running is None and not stopping.is_set():
            try:
                running = await stack.enter_async_context(serving(settings))
            except StoreUnavailable as error:
                if isinstance(error, StoreUnfit) or time.monotonic() > deadline:
                    raise
                log(logging.WARNING, f"trying again: {error}", code=error.code)
                await asyncio.sleep(AGAIN_SECONDS)
        yield running


def _calm_collector() -> None:
    """Keep full garbage collections rare: each walks every connection, and no message moves meanwhile.

    What start-up made stays for good and is not looked at again. Reference counts free nearly all the rest.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Serving]:
    """Open everything and serve; close everything in the opposite order."""
    tls = _tls_context(settings)
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(settings.host, settings.port))
        port = listener.getsockname()[1]
        stores = await open_stores(settings)
        stack.push_async_callback(stores.close)
        metrics = Metrics(installed_version()) if settings.metrics_listen else None
        relay = _join(settings, stores, port, metrics)
        await begin_with(stores.directory, relay.blobs, settings)
        await relay.hub.start()
        stack.push_async_callback(relay.hub.close)
        app = create_app(relay)
        sweeping = asyncio.create_task(sweep_forever(relay.hub, relay.blobs))
        stack.callback(sweeping.cancel)
        runner = _runner(app.app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener, ssl_context=tls, backlog=BACKLOG).start()
        metrics_url = await _serve_metrics(settings, metrics, stack) if metrics else ""
        yield Serving(relay=relay, app=app, url=_url(settings, port), metrics_url=metrics_url)


async def _serve_metrics(settings: Settings, metrics: Metrics, stack: contextlib.AsyncExitStack) -> str:
    """Serve /metrics on its own listener, where only those who may see it can connect; its address."""
    host, port = settings.metrics_listen or ("127.0.0.1", 0)
    listener = stack.enter_context(_listen(host, port))
    runner = _runner(metrics.app())
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return f"http://{_bracketed(host)}:{listener.getsockname()[1]}{PATH}"


async def drain(running: Serving) -> None:
    """Let everyone leave in order, within `drain_seconds`; then end what is left.

    /readyz says no from the first moment on, and the relay goes on answering until the end.
    """
    running.app.health.drain()
    running.app.connect.drain()
    try:
        async with asyncio.timeout(running.relay.settings.drain_seconds):
            await running.relay.hub.drain(
                over_seconds=min(MOVE_SECONDS, running.relay.settings.drain_seconds / 3)
            )
            await running.app.connect.wait_empty()
            await running.app.uploads.wait_idle()
            await running.app.downloads.wait_idle()
    except TimeoutError:
        log(logging.WARNING, "cut what did not leave", connections=running.app.connect.count)
    running.app.connect.abort_all()


def _join(settings: Settings, stores: Stores, port: int, metrics: Metrics | None) -> Relay:
    blobs = open_blob_store(settings)
    tokens = TokenAccess(
        Portals(stores.directory, clock=time.time, rng=secrets.token_bytes),
        own_origins=settings.origins(port) if settings.serve_element else (),
    )
    streams = metrics.timed(stores.streams) if metrics else stores.streams
    hub = Hub(
        streams,
        stores.directory,
        bus=stores.bus,
        settings=HubSettings(origins=settings.origins(port)),
        verify_token=tokens.verify,
        ice_servers=ice_servers(settings),
        erase_blob=blobs.delete,
        clock=time.time,
        rng=secrets.token_bytes,
    )
    stores.tell_of_loss(hub.rooms.lose_all)
    return Relay(hub=hub, streams=streams, blobs=blobs, settings=settings, metrics=metrics)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=HEADER_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=CLOSE_SECONDS,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        auto_decompress=False,  # nobody sends us compressed bodies, but for bombs
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}; stop what listens "
            "there, or choose another host or port"
        ) from None


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls_cert and tls_key cannot be used ({error}); they are PEM files, of one key"
        ) from None
    return context


def _url(settings: Settings, port: int) -> str:
    return f"{'https' if settings.tls_cert else 'http'}://{_bracketed(settings.host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _give_up() -> None:
    """End the process: what was acknowledged is stored, and nothing else can be saved."""
    log(logging.ERROR, "could not end in order")
    os._exit(1)


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. A second one ends it all: what was acknowledged is stored."""
    stopping = asyncio.Event()

    def stop(signum: int) -> None:
        if stopping.is_set():
            log(logging.WARNING, "ended at once", signal=signum)
            os._exit(128 + signum)
        stopping.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop, signum)
    return stopping
