"""Where Redis is, from one URL: a server, the Sentinels that know it, or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_HOSTS: Final = 32  # named in one URL: more is a mistake
MAX_WAIT_REPLICAS: Final = 16

_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WAIT: Final = re.compile(r"(?P<how>replicas|aof) (?P<count>[0-9]{1,2})")


class RedisKind(Enum):
    """How the servers belong together."""

    STANDALONE = "redis"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """`hosts` are the server, the Sentinels, or some of the cluster's servers; `path` is a socket file's."""

    kind: RedisKind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tls: bool = False
    sentinel_password: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The address without its secrets, for people."""
        if self.path:
            return f"unix:{self.path}"
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts} ({self.kind.value}{' ' + self.service if self.service else ''})"


def parse_redis_url(url: str, *, password: str = "") -> RedisAddress:
    """Read a `redis_url`; `password` is the one that stands apart. Raises ValueError without a secret in it.

    `redis://` or `rediss://` (TLS) with `user:password@host:port/database`, `unix:///path`;
    `redis+sentinel://host,host,host/service`, `redis+cluster://host,host,host`, or the same with `rediss+`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("it must be a URL such as redis://127.0.0.1:6379/0") from None
    scheme, plus, suffix = parts.scheme.partition("+")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, own = (unquote(part) for part in credentials.partition(":"))
    if own and password:
        raise ValueError("there is a password in it and another beside it; leave one of them out")
    login = {"username": username, "password": own or password}
    query = dict(parse_qsl(parts.query))
    if set(query) - ({"sentinel_password"} if suffix == "sentinel" else set()):
        raise ValueError("behind the ? may stand sentinel_password, with redis+sentinel://, and nothing else")
    if scheme == "unix" and not plus:
        if not parts.path or hosts:
            raise ValueError("a socket file is named as unix:///path/to/redis.sock")
        return RedisAddress(
            kind=RedisKind.STANDALONE,
            path=unquote(parts.path),
            username=login["username"],
            password=login["password"],
        )
    if scheme not in ("redis", "rediss") or (plus and suffix not in ("sentinel", "cluster")):
        raise ValueError("it must begin with redis:, rediss:, unix:, redis+sentinel: or redis+cluster:")
    kind = RedisKind(suffix) if plus else RedisKind.STANDALONE
    return _of_hosts(kind, hosts, parts.path.strip("/"), scheme == "rediss", login, query)


def _of_hosts(
    kind: RedisKind, hosts: str, path: str, tls: bool, login: dict[str, str], query: dict[str, str]
) -> RedisAddress:
    found = _hosts(hosts, SENTINEL_PORT if kind is RedisKind.SENTINEL else REDIS_PORT)
    service, database = "", 0
    if kind is RedisKind.SENTINEL:
        if not _SERVICE.fullmatch(path):
            raise ValueError("it must end with the Sentinels' name for the server, such as /mymaster")
        service = path
    elif kind is RedisKind.STANDALONE:
        if len(found) != 1:
            raise ValueError("one server has one host; several are redis+sentinel: or redis+cluster:")
        if path and not (path.isascii() and path.isdecimal() and int(path) < 1024):
            raise ValueError("behind the / stands the number of a database")
        database = int(path or 0)
    elif path:
        raise ValueError("a cluster has no databases: nothing stands behind the hosts")
    return RedisAddress(
        kind=kind,
        hosts=found,
        service=service,
        database=database,
        tls=tls,
        username=login["username"],
        password=login["password"],
        sentinel_password=query.get("sentinel_password", ""),
    )


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for one in text.split(","):
        match = _HOST.fullmatch(one)
        if match is None or int(match["port"] or 1) not in range(1, 65_536):
            raise ValueError(
                "hosts are names or addresses and ports, such as 10.0.0.5:6379, joined by commas"
            )
        found.append((match["host"].strip("[]"), int(match["port"] or default_port)))
    if len(found) > MAX_HOSTS:
        raise ValueError(f"it must name at most {MAX_HOSTS} hosts")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RedisWait:
    """What must have an entry before it is acknowledged, beside the primary: so many replicas.

    With `aof` the primary's append-only file and that of so many replicas (WAITAOF, from Redis 7.2 on).
    """

    replicas: int = 0
    aof: bool = False

    def __bool__(self) -> bool:
        return self.aof or self.replicas > 0


def parse_redis_wait(text: str) -> RedisWait:
    """Read a `redis_wait`: `none`, `replicas N` or `aof N`. Raises ValueError."""
    if text in ("", "none"):
        return RedisWait()
    match = _WAIT.fullmatch(text)
    if match is None or int(match["count"]) > MAX_WAIT_REPLICAS or text == "replicas 0":
        raise ValueError("it must be none, or one such as `replicas 1` or `aof 1`")
    return RedisWait(int(match["count"]), match["how"] == "aof")
