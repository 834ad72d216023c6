"""What doctor, and a relay that starts, say of real Redis servers and of what they cannot have here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from relay.cli.findings import Level
from relay.cli.redis_checks import check_redis
from relay.config import ConfigError, Settings, load_settings
from relay.errors import StoreUnavailable
from relay.redis_address import RedisKind, RedisWait, parse_redis_url, parse_redis_wait
from relay.store.redis import RedisStores, Verdict
from relay.store.redis.startup import Facts, _coverage, _durability, _memory, _replicas, _version
from tests.support import real_redis as redis
from tests.support.ports import free_port
from tests.support.real_redis import Servers

needs_redis = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
SECRET = "hunter-2 of Redis"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with redis.real_redis(redis.Standalone) as running:
        yield running


def _settings(servers: Servers, wait: str = "none") -> Settings:
    return replace(Settings(), redis_url=servers.url, redis_wait=wait)


def _said(settings: Settings) -> dict[str, Level]:
    return {finding.what: finding.level for finding in check_redis(settings)}


@needs_redis
def test_a_good_server_is_good(servers: Servers) -> None:
    said = _said(_settings(servers))
    assert said["Redis makes each batch durable before it is acknowledged"] is Level.OK
    assert Level.FAILED not in said.values()


@needs_redis
async def test_where_messages_would_be_lost_no_relay_starts(servers: Servers) -> None:
    server, address = servers.servers[0], parse_redis_url(servers.url)
    for setting, bad, good in (
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ):
        server.ask("CONFIG", "SET", setting, bad)
        with pytest.raises(StoreUnavailable):
            await RedisStores.open(address, RedisWait())
        server.ask("CONFIG", "SET", setting, good)
    stores = await RedisStores.open(address, RedisWait())
    await stores.close()


@needs_redis
def test_what_may_be_lost_is_said_in_words(servers: Servers) -> None:
    server = servers.servers[0]
    server.ask("CONFIG", "SET", "appendfsync", "everysec")
    try:
        (said,) = [what for what, level in _said(_settings(servers)).items() if "appendfsync" in what]
    finally:
        server.ask("CONFIG", "SET", "appendfsync", "always")
    assert said == (
        "appendfsync is everysec: a loss of power takes a second or two of acknowledged messages with it"
    )
    said_of_wait = _said(_settings(servers, "replicas 1"))
    missing = "a primary has 0 replicas and redis_wait wants 1: nothing is acknowledged"
    assert said_of_wait[missing] is Level.FAILED


def test_nobody_there_is_said() -> None:
    settings = replace(Settings(), redis_url=f"redis://127.0.0.1:{free_port()}")
    assert Level.FAILED in _said(settings).values()


def _facts(version: str = "8.6.3", name: str = "redis_version", **settings: str) -> Facts:
    return Facts({"aof_enabled": "1", name: version}, {"appendfsync": "always", **settings})


def test_versions() -> None:
    def verdicts(facts: Facts, wait: RedisWait = RedisWait()) -> set[Verdict]:  # noqa: B008 - frozen
        return {remark.verdict for remark in _version(facts, wait)}

    assert verdicts(_facts()) == {Verdict.GOOD}
    assert verdicts(_facts("7.0.15")) == {Verdict.WARNING}
    assert verdicts(_facts("6.2.20")) == {Verdict.REFUSED}
    assert verdicts(_facts("8.1.4", "valkey_version")) == {Verdict.GOOD}
    assert verdicts(_facts("7.0.15"), RedisWait(1, aof=True)) == {Verdict.WARNING, Verdict.REFUSED}
    assert verdicts(_facts("7.2.0"), RedisWait(0, aof=True)) == {Verdict.WARNING}


def test_what_waitaof_is_worth_is_told() -> None:
    aof = RedisWait(0, aof=True)

    def verdicts(facts: Facts) -> list[Verdict]:
        return [remark.verdict for remark in _durability(facts, aof)]

    assert verdicts(_facts()) == [Verdict.GOOD]
    assert verdicts(_facts(appendfsync="everysec")) == [Verdict.GOOD]
    assert verdicts(_facts("8.1.4", "valkey_version", appendfsync="everysec")) == [Verdict.WARNING]
    assert verdicts(_facts("8.1.4", "valkey_version")) == [Verdict.GOOD]
    assert verdicts(_facts(appendfsync="no")) == [Verdict.REFUSED]
    assert verdicts(Facts({"aof_enabled": "0"}, {})) == [Verdict.REFUSED]


@pytest.mark.parametrize(("said", "warned"), [("yes", 1), ("no", 0)])
def test_a_cluster_that_refuses_everything_while_one_primary_is_away_is_warned_of(
    said: str, warned: int
) -> None:
    facts = _facts(**{"cluster-require-full-coverage": said})
    assert len(list(_coverage(facts, RedisKind.CLUSTER))) == warned
    assert list(_coverage(facts, RedisKind.SENTINEL)) == []


@needs_redis
def test_a_real_cluster_tells_its_coverage() -> None:
    """`yes` is what Redis does if nothing is said."""
    with redis.real_redis(redis.Cluster) as servers:
        (what,) = [what for what in _said(_settings(servers)) if "full-coverage" in what]
        for server in servers.servers:
            server.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
        assert what.startswith("cluster-require-full-coverage is yes: while one primary is away all")
        assert not [what for what in _said(_settings(servers)) if "full-coverage" in what]


@pytest.mark.skipif(redis.PROGRAMS["valkey"] is None, reason=redis.NONE_OF["valkey"])
async def test_valkey_is_called_by_its_name_and_takes_a_relay() -> None:
    with redis.real_redis(redis.Standalone, program=redis.PROGRAMS["valkey"]) as servers:
        said = await asyncio.to_thread(_said, _settings(servers, "aof 0"))
        assert [what for what in said if what.startswith("Valkey ")]
        assert said["Redis makes each batch durable before it is acknowledged"] is Level.OK
        assert Level.FAILED not in said.values()
        stores = await RedisStores.open(parse_redis_url(servers.url), RedisWait(0, aof=True))
        await stores.close()


def test_what_is_not_told_is_warned_of() -> None:
    silent = Facts({"aof_enabled": "1"}, {})
    assert [remark.verdict for remark in _durability(silent, RedisWait())] == [Verdict.WARNING]
    without = Facts({"aof_enabled": "0"}, {})
    assert [remark.verdict for remark in _durability(without, RedisWait())] == [Verdict.REFUSED]
    assert [remark.verdict for remark in _durability(without, RedisWait(1))] == [Verdict.WARNING]
    full = Facts({"used_memory": "90", "maxmemory": "100"}, {})
    assert [remark.verdict for remark in _memory(full)] == [Verdict.WARNING]
    replicated = Facts({"connected_slaves": "1"}, {})
    assert [remark.verdict for remark in _replicas(replicated, RedisWait(1), RedisKind.CLUSTER)] == []


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("redis://127.0.0.1", RedisKind.STANDALONE, "127.0.0.1:6379 (redis)"),
        (
            f"rediss://me:{SECRET.replace(' ', '%20')}@redis.example:7000/2",
            RedisKind.STANDALONE,
            "redis.example:7000 (redis)",
        ),
        ("unix:///run/redis.sock", RedisKind.STANDALONE, "unix:/run/redis.sock"),
        ("redis+sentinel://:pw@a,b:1/main", RedisKind.SENTINEL, "a:26379,b:1 (sentinel main)"),
        ("rediss+cluster://[::1]:7000,b", RedisKind.CLUSTER, "::1:7000,b:6379 (cluster)"),
    ],
)
def test_addresses(url: str, kind: RedisKind, shown: str) -> None:
    address = parse_redis_url(url)
    assert (address.kind, address.shown, address.tls) == (kind, shown, url.startswith("rediss"))
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "redis://",
        "redis://a,b",
        "redis://a/zero",
        "redis://a:99999",
        "redis+sentinel://a",
        "redis+cluster://a/1",
        "redis://a?x=1",
        "unix://host/path",
        "redis+ring://a",
    ],
)
def test_wrong_addresses_are_settings_errors_without_their_secrets(url: str) -> None:
    secret = url.replace("://", f"://:{SECRET.replace(' ', '')}@")
    for one in (url, secret):
        with pytest.raises(ConfigError) as caught:
            load_settings(environ={"COACH_RELAY_REDIS_URL": one, "XDG_DATA_HOME": "/nowhere"})
        assert SECRET.replace(" ", "") not in str(caught.value)


def test_settings_belong_together() -> None:
    environ = {"XDG_DATA_HOME": "/nowhere"}
    for name, value in (("WAIT", "replicas 1"), ("PASSWORD", "x")):
        with pytest.raises(ConfigError, match="redis_url"):
            load_settings(environ=environ | {f"COACH_RELAY_REDIS_{name}": value})
    url = {"COACH_RELAY_REDIS_URL": "redis://:one@a"}
    with pytest.raises(ConfigError, match="password"):
        load_settings(environ=environ | url | {"COACH_RELAY_REDIS_PASSWORD": "two"})
    settings = load_settings(environ=environ | url)
    assert settings.redis is not None
    assert settings.redis.password == "one"
    assert ":one@" not in repr(settings)


def test_waits() -> None:
    assert parse_redis_wait("none") == RedisWait()
    assert not parse_redis_wait("")
    assert parse_redis_wait("replicas 2") == RedisWait(2)
    assert parse_redis_wait("aof 0") == RedisWait(0, aof=True)
    assert parse_redis_wait("aof 0")
    for wrong in ("replicas", "replicas 0", "replicas 99", "2", "aof -1"):
        with pytest.raises(ValueError):
            parse_redis_wait(wrong)
