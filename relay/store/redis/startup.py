"""What an operator must know of the Redis servers before the relay trusts them: settings, version, memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from redis import exceptions

from relay.errors import StoreUnavailable
from relay.redis_address import RedisKind, RedisWait
from relay.store.redis.client import RedisClient
from relay.store.redis.connection import RedisServer, translate

OLDEST: Final = (7, 0)  # sharded publish and subscribe
FLOOR: Final = (8, 6, 3)  # below it are known holes, unless whoever packaged it has mended them
VALKEY_FLOOR: Final = (8, 1, 4)
WAITAOF_SINCE: Final = (7, 2)
FULL: Final = 0.8  # of maxmemory: from there on it is time to do something
_SECTIONS: Final = ("server", "memory", "replication", "persistence")
_COVERAGE: Final = "cluster-require-full-coverage"
_SETTINGS: Final = ("appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write", _COVERAGE)


class Verdict(Enum):
    """How a remark is meant."""

    GOOD = "good"
    WARNING = "warning"
    WAITING = "waiting"
    """Nothing is stored until that changes, and then it is."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Remark:
    """What was found, and what to do about it."""

    verdict: Verdict
    what: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a primary says of itself. A setting that it does not tell is not in `settings`."""

    info: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self.shown_version)[:3])

    @property
    def shown_version(self) -> str:
        return self.info.get("valkey_version") or self.info.get("redis_version", "0")

    @property
    def is_valkey(self) -> bool:
        return "valkey_version" in self.info

    def number(self, name: str) -> int:
        """A number that it tells, 0 if it does not."""
        text = self.info.get(name, "0")
        return int(text) if text.isdecimal() else 0


async def look(client: RedisClient) -> list[Remark]:
    """Remarks about all primaries, each once; raises `StoreError` if they cannot be asked."""
    await client.look_around()
    remarks: dict[Remark, None] = {}
    for server in client.topology.servers():
        facts = await _facts(server)
        for remark in (*_durability(facts, client.wait), *_memory(facts), *_version(facts, client.wait)):
            remarks[remark] = None
        kind = client.topology.address.kind
        for remark in (*_replicas(facts, client.wait, kind), *_coverage(facts, kind)):
            remarks[remark] = None
    return list(remarks)


async def _facts(server: RedisServer) -> Facts:
    commands: list[tuple[str | bytes | int, ...]] = [("INFO", section) for section in _SECTIONS]
    commands += [("CONFIG", "GET", name) for name in _SETTINGS]
    try:
        answers = await server.send(commands, meet=False)
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise translate(error) from error
    info: dict[str, str] = {}
    for answer in answers[: len(_SECTIONS)]:
        if isinstance(answer, Exception):
            raise StoreUnavailable("Redis does not let this user ask INFO") from answer
        pairs = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
        info |= {name: value for name, colon, value in pairs if colon}
    settings: dict[str, str] = {}
    for answer in answers[len(_SECTIONS) :]:
        if isinstance(answer, list) and len(answer) == 2:
            settings[answer[0].decode()] = answer[1].decode()
    return Facts(info, settings)


def _durability(facts: Facts, wait: RedisWait) -> Iterator[Remark]:
    """What of the acknowledged is lost with the process, or with the power."""
    fsync = facts.settings.get("appendfsync")
    if facts.info.get("aof_enabled", "0") != "1" and wait.aof:
        yield Remark(
            Verdict.REFUSED,
            "Redis keeps no append-only file, and redis_wait waits for it: nothing would be acknowledged",
            "Set appendonly yes and appendfsync always, at the replicas too.",
        )
    elif facts.info.get("aof_enabled", "0") != "1":
        what = "Redis keeps no append-only file: with its process everything is lost that it had acknowledged"
        do = "Set appendonly yes and appendfsync always."
        yield Remark(Verdict.WARNING if wait.replicas else Verdict.REFUSED, what, do)
    elif fsync is None:
        yield Remark(
            Verdict.WARNING,
            "Redis does not tell its appendfsync: unless it is always, acknowledged messages can be lost",
            "See to it that it is always, or let the user ask CONFIG GET.",
        )
    elif fsync == "always":
        yield Remark(Verdict.GOOD, "Redis makes each batch durable before it is acknowledged")
    elif wait.aof:
        yield _waited_for(fsync, is_valkey=facts.is_valkey)
    else:
        window = "a second or two" if fsync == "everysec" else "half a minute"
        yield Remark(
            Verdict.WARNING,
            f"appendfsync is {fsync}: a loss of power takes {window} of acknowledged messages with it",
            'Set appendfsync always. From Redis 7.2 on (not Valkey) redis_wait = "aof 0" waits for the disk.',
        )


def _waited_for(fsync: str, *, is_valkey: bool) -> Remark:
    """What WAITAOF is worth where not each batch is synced by itself."""
    if fsync == "no":
        what = "appendfsync is no, so that nothing is ever synced which redis_wait could wait for"
        return Remark(Verdict.REFUSED, what, "Set appendfsync always.")
    if is_valkey:  # seen in 8.0.1 and 8.1.1: WAITAOF answers after 0.1 s, the sync comes once a second
        what = f"appendfsync is {fsync}, and Valkey's WAITAOF does not wait for that: "
        what += "a loss of power takes a second or two of acknowledged messages with it"
        return Remark(Verdict.WARNING, what, "Set appendfsync always.")
    what = f"appendfsync is {fsync}; redis_wait waits until a batch is durable, which takes a second"
    return Remark(Verdict.GOOD, what)


def _memory(facts: Facts) -> Iterator[Remark]:
    policy = facts.settings.get("maxmemory-policy") or facts.info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Remark(
            Verdict.REFUSED,
            f"maxmemory-policy is {policy}: Redis would throw messages away that nobody has read",
            "Set maxmemory-policy noeviction.",
        )
    used, most = facts.number("used_memory"), facts.number("maxmemory")
    if not most:
        yield Remark(
            Verdict.WARNING,
            "Redis has no maxmemory: when memory is used up the system ends it, and nothing is served",
            "Set maxmemory to what the machine can spare; the relay then refuses what has no room.",
        )
    elif used > FULL * most:
        yield Remark(
            Verdict.WARNING,
            f"Redis uses {used / most:.0%} of its maxmemory: beyond it new messages are refused",
            "Give it more memory, or shorten the retention.",
        )
    else:
        yield Remark(Verdict.GOOD, f"Redis uses {used / most:.0%} of its maxmemory")


def _version(facts: Facts, wait: RedisWait) -> Iterator[Remark]:
    name = "Valkey" if facts.is_valkey else "Redis"
    floor = VALKEY_FLOOR if facts.is_valkey else FLOOR
    shown = ".".join(map(str, floor))
    if facts.version < OLDEST:
        yield Remark(Verdict.REFUSED, f"{name} {facts.shown_version} is too old", f"Install {name} {shown}.")
    elif facts.version < floor:
        yield Remark(
            Verdict.WARNING,
            f"{name} {facts.shown_version} is below {shown}: earlier ones have known security holes",
            f"Install {name} {shown}, or a release of its branch in which they are mended.",
        )
    else:
        yield Remark(Verdict.GOOD, f"{name} {facts.shown_version}")
    if wait.aof and facts.version < WAITAOF_SINCE:
        yield Remark(
            Verdict.REFUSED,
            f"{name} {facts.shown_version} has no WAITAOF, which redis_wait asks for",
            'Use 7.2 or newer, or redis_wait = "replicas N" with appendfsync always.',
        )


def _replicas(facts: Facts, wait: RedisWait, kind: RedisKind) -> Iterator[Remark]:
    there = facts.number("connected_slaves")
    if there < wait.replicas:
        yield Remark(
            Verdict.WAITING,
            f"a primary has {there} replicas and redis_wait wants {wait.replicas}: nothing is acknowledged",
            "Start the replicas that are missing.",
        )
    elif there and not wait:
        yield Remark(
            Verdict.WARNING,
            "redis_wait is none: when a replica takes over, it may lack the last that was acknowledged",
            'Set redis_wait = "replicas 1": an answer then takes one more way to a replica and back.',
        )
    elif not there and kind is not RedisKind.STANDALONE:
        yield Remark(Verdict.WARNING, "a primary has no replica that could take over", "Start one.")
    if there and kind is RedisKind.SENTINEL and facts.settings.get("min-replicas-to-write") == "0":
        yield Remark(
            Verdict.WARNING,
            "min-replicas-to-write is 0: a primary that is cut off goes on taking what is lost afterwards",
            "Set min-replicas-to-write 1 and min-replicas-max-lag 10.",
        )


def _coverage(facts: Facts, kind: RedisKind) -> Iterator[Remark]:
    if kind is RedisKind.CLUSTER and facts.settings.get(_COVERAGE) == "yes":
        yield Remark(
            Verdict.WARNING,
            f"{_COVERAGE} is yes: while one primary is away all of them refuse, not its conversations alone",
            f"Set {_COVERAGE} no at every server of the cluster.",
        )
