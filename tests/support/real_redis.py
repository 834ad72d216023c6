"""Real Redis servers of a test's own on free loopback ports: alone, under Sentinels, as a cluster.

Every process is ended by its id. `PROGRAMS` are those of each kind, None where there is none; `PROGRAM` is
what serves where nothing else is said.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import redis

from tests.support.ports import free_port


def _found(name: str) -> str | None:
    """A program, also where deploy/test-programs.sh puts what the system has no package of."""
    beside = Path(sys.prefix, "bin", name)
    return shutil.which(name) or (str(beside) if beside.exists() else None)


PROGRAMS: Final = {"redis": _found("redis-server"), "valkey": _found("valkey-server")}
# REDIS_PROGRAM=/path/to/one runs every test of Redis with that program.
PROGRAM: Final = os.environ.get("REDIS_PROGRAM") or PROGRAMS["redis"] or PROGRAMS["valkey"]
MISSING: Final = "redis-server is not installed: apt-get install redis-server"
NONE_OF: Final = {
    "redis": MISSING,
    "valkey": "valkey-server is not installed: deploy/test-programs.sh gets it where it can",
}
_chosen: ContextVar[str | None] = ContextVar("program", default=PROGRAM)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_environ: ContextVar[Mapping[str, str]] = ContextVar("environ", default=_NOTHING)
QUORUM: Final = 2
SERVICE: Final = "coach"
_START_SECONDS: Final = 60.0
_FORM_SECONDS: Final = 80.0
_LOOK_SECONDS: Final = 0.05
_NODE_TIMEOUT_MS: Final = "2000"
_SLOTS: Final = 16_384
_BUS: Final = 10_000  # a cluster's own talk is so far above the port of its clients


class Process:
    """One server with its data in a folder, which `kill` leaves and `start` finds again."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, sentinel: str = "") -> None:
        program = _chosen.get()
        if program is None:
            raise RuntimeError(MISSING)
        folder.mkdir(parents=True)
        self._program = program
        self._environ = os.environ | _environ.get()
        self.port = free_port(bus=_BUS)
        self.folder = folder
        self._sentinel = sentinel
        self._settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(folder), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        config = self.folder / "redis.conf"
        if not config.exists():
            lines = [f"{name} {value or chr(34) * 2}" for name, value in self._settings.items()]
            config.write_text("\n".join([*lines, self._sentinel, ""]))
        command = [self._program, str(config), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ)
        wait_until(self._answers, _START_SECONDS, "a Redis server did not start")

    def kill(self) -> None:
        """SIGKILL: what it had not made durable is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it do nothing: as a machine that hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ask(self, *command: str) -> Any:
        """What it answers to a command."""
        with contextlib.closing(_client(self.port)) as client:
            untyped: Any = client
            return untyped.execute_command(*command)

    def _answers(self) -> bool:
        return bool(self.ask("PING"))


def _client(port: int) -> redis.Redis:
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, decode_responses=True, protocol=2)


def wait_until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Look again and again until it holds; raises RuntimeError after so long."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(_LOOK_SECONDS)


_DURABLE: Final = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


class Servers:
    """Some servers that belong together; `url` is the `redis_url` of a relay that uses them."""

    url: str
    servers: list[Process]
    shards = 1

    def empty(self) -> None:
        """Forget everything; raises RuntimeError if there is no primary that could."""
        wait_until(self._flush, _FORM_SECONDS, "the servers cannot be emptied")

    def _flush(self) -> bool:
        primaries = self.primaries()  # without one that is too busy to say so
        for server in primaries:
            server.ask("FLUSHALL")
        return len(primaries) >= self.shards

    def primaries(self) -> list[Process]:
        """The servers that take writes now."""
        return [server for server in self.servers if _is_primary(server)]

    def close(self) -> None:
        for server in self.servers:
            server.kill()


def _is_primary(server: Process) -> bool:
    try:
        return bool(server.ask("ROLE")[0] == "master")
    except (redis.RedisError, RuntimeError):
        return False


class Standalone(Servers):
    """One server."""

    def __init__(self, folder: Path, **settings: str) -> None:
        one = Process(folder / "one", _DURABLE | {k.replace("_", "-"): v for k, v in settings.items()})
        self.servers = [one]
        self.url = f"redis://127.0.0.1:{one.port}/0"
        one.start()


class Sentinels(Servers):
    """A primary, replicas, and three Sentinels which agree on another primary within about two seconds."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 1,
        through: Callable[[int], int] = int,
        settings: Mapping[str, str] = _NOTHING,
    ) -> None:
        """`through` gives for the first primary's port that by which the others are to reach it."""
        own = {**_DURABLE, **settings}
        first = Process(folder / "0", own)
        port = through(first.port)
        others = [
            Process(folder / str(number), own | {"replicaof": f"127.0.0.1 {port}"})
            for number in range(1, replicas + 1)
        ]
        monitor = "\n".join(
            [
                f"sentinel monitor {SERVICE} 127.0.0.1 {port} {QUORUM}",
                f"sentinel down-after-milliseconds {SERVICE} 1000",
                f"sentinel failover-timeout {SERVICE} 4000",
            ]
        )
        self.sentinels = [Process(folder / f"s{number}", {}, sentinel=monitor) for number in range(3)]
        self.servers = [first, *others]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"
        try:
            for process in (*self.servers, *self.sentinels):
                process.start()
            wait_until(self._is_whole, _FORM_SECONDS, "the Sentinels did not find each other")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
        super().close()

    def _is_whole(self) -> bool:
        for sentinel in self.sentinels:
            known = sentinel.ask("SENTINEL", "MASTER", SERVICE)
            if isinstance(known, list):
                known = dict(zip(known[::2], known[1::2], strict=True))
            if int(known["num-other-sentinels"]) != 2 or int(known["num-slaves"]) < len(self.servers) - 1:
                return False
        return all("master_link_status:up" in _info(server, "replication") for server in self.servers[1:])


def version_of(info: Mapping[str, Any]) -> tuple[int, ...]:
    """Whose commands a server has, by its INFO: Valkey tells there of which Redis."""
    return tuple(int(part) for part in str(info["redis_version"]).split("."))


def _info(server: Process, section: str) -> str:
    found = server.ask("INFO", section)
    return "\n".join(f"{k}:{v}" for k, v in found.items()) if isinstance(found, dict) else str(found)


class Cluster(Servers):
    """Three primaries with a replica each."""

    shards = 3

    def __init__(self, folder: Path, **settings: str) -> None:
        settings = _DURABLE | {
            "cluster-enabled": "yes",
            "cluster-node-timeout": _NODE_TIMEOUT_MS,
            "cluster-config-file": "nodes.conf",
            **{k.replace("_", "-"): v for k, v in settings.items()},
        }
        self.servers = [Process(folder / str(number), settings) for number in range(6)]
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])
        self.url = f"redis+cluster://{hosts}"
        try:
            for server in self.servers:
                server.start()
            self._form()
        except BaseException:
            self.close()
            raise

    def _form(self) -> None:
        first, *others = self.servers
        for server in others:
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(first.port))
        share = _SLOTS // 3 + 1
        for number, server in enumerate(self.servers[:3]):
            last = min(_SLOTS, (number + 1) * share) - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
        names = [str(server.ask("CLUSTER", "MYID")) for server in self.servers]
        for number, server in enumerate(self.servers[3:]):
            wait_until(
                lambda s=server, n=names[number]: n in str(s.ask("CLUSTER", "NODES")),  # type: ignore[misc]  # bound now
                _FORM_SECONDS,
                "the servers did not meet",
            )
            server.ask("CLUSTER", "REPLICATE", names[number])
        wait_until(self._is_whole, _FORM_SECONDS, "the cluster did not form")

    def _is_whole(self) -> bool:
        return all("cluster_state:ok" in _cluster_info(server) for server in self.servers) and all(
            "master_link_status:up" in _info(server, "replication") for server in self.servers[3:]
        )


def _cluster_info(server: Process) -> str:
    found = server.ask("CLUSTER", "INFO")
    return "\n".join(f"{k}:{v}" for k, v in found.items()) if isinstance(found, dict) else str(found)


@contextlib.contextmanager
def real_redis(
    make: Callable[[Path], Servers],
    *,
    program: str | None = PROGRAM,
    environ: Mapping[str, str] = _NOTHING,
) -> Iterator[Servers]:
    """Servers in a folder of their own, with some environment more, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        before, without = _chosen.set(program), _environ.set(environ)
        try:
            servers = make(Path(folder))
        finally:
            _chosen.reset(before)
            _environ.reset(without)
        try:
            yield servers
        finally:
            servers.close()
