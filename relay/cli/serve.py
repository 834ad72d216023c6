"""`coach-relay serve`: runs the relay until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.cli.options import add_command, add_settings, settings_of
from relay.http import logs
from relay.http.server import run_relay

OPTIONS = (
    "host",
    "port",
    "tls_cert",
    "tls_key",
    "log_level",
    "behind_proxy",
    "public_origins",
    "metrics_listen",
    "serve_element",
)


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "serve",
        help="run the relay",
        description="Run the relay. Without options it listens on http://127.0.0.1:8470 and keeps data in "
        "a folder that it names; SIGTERM ends it in order, a second one at once.",
        example="coach-relay serve --port 8470 --data-dir /var/lib/coach-relay",
    )
    add_settings(parser)
    parser.add_argument("--host", help="IP address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8470; 0: the system chooses)")
    parser.add_argument(
        "--public-origin",
        action="append",
        dest="public_origins",
        metavar="ORIGIN",
        help="address under which devices reach it, such as https://relay.example; repeatable",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument("--behind-proxy", action="store_true", default=None, help="a proxy in front ends TLS")
    parser.add_argument("--metrics-listen", metavar="ADDRESS:PORT", help="serve /metrics there (nowhere)")
    parser.add_argument(
        "--serve-element",
        action="store_true",
        default=None,
        help="serve the page element at /element (no)",
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="(info)")
    parser.set_defaults(run=lambda args: run(args))


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args, **{name: getattr(args, name) for name in OPTIONS})
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run_relay(settings, announce=_announce))


def _announce(line: str) -> None:
    print(line, flush=True)  # whoever started us may be waiting for it


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed: a little faster, nothing else changes."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
