"""What `doctor` looks at: each check yields what it found and, where something is wrong, what to do."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import apsw
from cryptography import x509

from relay.cli.blob_checks import check_blobs
from relay.cli.findings import Check, Finding, failed, note, ok
from relay.cli.origin_checks import check_origins, something_listens
from relay.cli.redis_checks import check_redis
from relay.cli.turn_checks import check_turn
from relay.config import Settings
from relay.errors import StoreError
from relay.store.sqlite.database import open_reader
from relay.store.sqlite.directory import DIRECTORY_FILE
from relay.store.sqlite.streams import STREAMS_FILE

SQLITE_FLOOR: Final = "3.51.3"  # earlier ones can corrupt a WAL database when it is reset
PYTHON_FLOOR: Final = (3, 11)
FLOORS: Final = {
    "aiohttp": "3.13.3",
    "aioice": "0.10.1",
    "apsw-sqlite3mc": "3.51.3.0",
    "cryptography": "46.0.5",
    "msgpack": "1.2.1",
    "obstore": "0.8.2",
    "pyjwt": "2.12.0",
    "pynacl": "1.6.2",
}
"""The versions below which a package has a known fault that matters here; those of pyproject.toml."""

MIN_FREE_BYTES: Final = 1024 * 1024 * 1024  # a day of uploads; below it, room runs out before anyone looks
SLOW_FSYNC_MS: Final = 20.0  # every message waits for one: above this, people notice
FSYNC_ROUNDS: Final = 20
SPARE_FILES: Final = 256  # descriptors that the relay needs besides one a connection
CERTIFICATE_DAYS: Final = 14
OLDEST_NOW: Final = 1_795_000_000  # November 2026, when this was written: no clock is right that is before it
CLOCK_SECONDS: Final = 120.0


def check_python(_settings: Settings) -> Iterator[Finding]:
    """The interpreter."""
    what = f"Python {platform.python_version()}"
    if sys.version_info < PYTHON_FLOOR:
        yield failed(f"{what} is too old", "Install Python 3.11 or newer, and Coach Relay into it.")
    else:
        yield ok(what)


def check_packages(_settings: Settings) -> Iterator[Finding]:
    """Versions of what the relay is built on."""
    sqlite = apsw.sqlite_lib_version()
    if _numbers(sqlite) < _numbers(SQLITE_FLOOR):
        yield failed(f"SQLite {sqlite} can corrupt its files", "Upgrade apsw-sqlite3mc, which brings SQLite.")
    else:
        yield ok(f"SQLite {sqlite}")
    for package, floor in FLOORS.items():
        yield _package(package, floor)
    try:
        yield ok(f"uvloop {version('uvloop')}")
    except PackageNotFoundError:
        yield note("uvloop is not installed", "Install it to serve a little faster; nothing else changes.")


def _now() -> float:
    return time.time()


def _package(package: str, floor: str) -> Finding:
    try:
        found = version(package)
    except PackageNotFoundError:
        return failed(f"{package} is not installed", 'Install "coach-relay[relay]".')
    if _numbers(found) < _numbers(floor):
        return failed(f"{package} {found} is older than {floor}", f'Install "{package}>={floor}".')
    return ok(f"{package} {found}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:4])


def check_folder(settings: Settings) -> Iterator[Finding]:
    """The data folder: there, ours alone, writable, with room, and quick to make durable."""
    folder = settings.data_dir
    if not folder.exists():
        yield note(f"the data folder {folder} does not exist yet", "`coach-relay serve` makes it.")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield failed(
            f"the data folder {folder} cannot be written", "Run as the relay's user, or change its owner."
        )
        return
    yield ok(f"the data folder {folder} can be written")
    if folder.stat().st_mode & 0o077:
        yield note(f"other users may look into {folder}", f"Run: chmod 700 {folder}")
    yield from _room(folder, settings.reserved_disk_bytes)
    yield from _fsync(folder)


def _room(folder: Path, reserved: int) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    what = f"{free / 1e9:.1f} GB are free there"
    if free < reserved:
        yield failed(f"only {what}: uploads are refused", "Make room, or lower reserved_disk_bytes.")
    elif free < reserved + MIN_FREE_BYTES:
        yield note(f"only {what}", "Make room soon: without it the relay stores nothing more.")
    else:
        yield ok(what)


def _fsync(folder: Path) -> Iterator[Finding]:
    try:
        taken = _syncs(folder)
    except OSError as error:
        yield failed(f"nothing can be written there: {error.strerror}", "Make room on that disk, or mend it.")
        return
    what = f"making 4 KiB durable takes {statistics.median(taken):.2f} ms there"
    if statistics.median(taken) > SLOW_FSYNC_MS:
        yield note(what, "Every message waits for that: put the data folder on a faster disk.")
    else:
        yield ok(what)


def _syncs(folder: Path) -> list[float]:
    """Milliseconds that each of some writes took to be durable; raises OSError."""
    taken = []
    with NamedTemporaryFile(dir=folder, prefix=".doctor-") as probe:
        for _round in range(FSYNC_ROUNDS):
            began = time.perf_counter()
            probe.write(b"x" * 4096)
            probe.flush()
            os.fdatasync(probe.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def check_port(settings: Settings) -> Iterator[Finding]:
    """The address it listens on: free, or answered by a relay."""
    where = f"{settings.host}:{settings.port}"
    try:
        with socket.create_server((settings.host, settings.port), family=_family(settings.host)):
            yield ok(f"the address {where} is free" if settings.port else "the port is chosen by the system")
    except OSError as error:
        if something_listens(settings):
            yield ok(f"something listens on {where} already: this relay, or ask its /livez")
        else:
            yield failed(f"cannot listen on {where}: {error.strerror}", "Choose another host or port.")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def check_descriptors(settings: Settings) -> Iterator[Finding]:
    """How many connections the system lets the process have."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit != resource.RLIM_INFINITY and limit < settings.max_connections + SPARE_FILES:
        yield note(
            f"the system allows {limit} open files, too few for {settings.max_connections} connections",
            "Raise it (LimitNOFILE in a systemd unit, `ulimit -n` in a shell), or lower max_connections.",
        )
    else:
        yield ok(f"the system allows enough open files for {settings.max_connections} connections")


def check_certificate(settings: Settings) -> Iterator[Finding]:
    """The TLS certificate, if the relay ends TLS itself."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert, settings.tls_key
        )
        certificate = x509.load_pem_x509_certificate(settings.tls_cert.read_bytes())
    except (OSError, ValueError) as error:
        yield failed(f"the TLS certificate cannot be used: {error}", "Correct tls_cert and tls_key.")
        return
    left = certificate.not_valid_after_utc - datetime.fromtimestamp(_now(), UTC)
    if left < timedelta(0):
        yield failed("the TLS certificate has expired", "Renew it.")
    elif left < timedelta(days=CERTIFICATE_DAYS):
        yield note(f"the TLS certificate expires in {left.days} days", "Renew it.")
    else:
        yield ok(f"the TLS certificate is good for {left.days} days")


def check_clock(settings: Settings) -> Iterator[Finding]:
    """The clock: tokens and retention go by it."""
    now = _now()
    if now < OLDEST_NOW:
        yield failed("the clock is years behind", "Set it, and keep it set (chrony, systemd-timesyncd).")
        return
    files = [path for path in settings.data_dir.glob("*") if path.is_file()]
    ahead = max((path.stat().st_mtime for path in files), default=now) - now
    if ahead > CLOCK_SECONDS:
        yield failed(
            f"files in the data folder are from {ahead:.0f} s in the future: the clock was set back",
            "Set it right, and keep it so (chrony, systemd-timesyncd).",
        )
    else:
        yield ok("the clock is plausible")


def check_store(settings: Settings) -> Iterator[Finding]:
    """The databases: whole, and of a version that this relay knows. A running relay is not disturbed."""
    for name in (STREAMS_FILE, DIRECTORY_FILE):
        path = settings.data_dir / name
        if path.exists():
            yield _database(path)


def _database(path: Path) -> Finding:
    try:
        with closing(open_reader(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchall()
    except (StoreError, apsw.Error) as error:
        return failed(f"{path.name} cannot be read: {type(error).__name__}", "Restore it from a copy.")
    if verdict != [("ok",)]:
        return failed(f"{path.name} is damaged", "Stop the relay, and restore the data folder from a copy.")
    return ok(f"{path.name} is whole")


CHECKS: Final[tuple[Check, ...]] = (
    check_python,
    check_packages,
    check_folder,
    check_store,
    check_redis,
    check_clock,
    check_port,
    check_certificate,
    check_origins,
    check_descriptors,
    check_blobs,
    check_turn,
)
