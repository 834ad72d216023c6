"""What goes out together is one step of Redis, which syncs its disk once for all of it."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions

from relay.core.operations import CreateStream
from relay.redis_address import parse_redis_url
from relay.store.redis import RedisClient, RedisStreamStore
from relay.store.redis.client import unwrap
from relay.wire.ids import EngagementId
from tests.conformance.support import INCARNATION
from tests.support import real_redis as redis

_STREAMS = [EngagementId(f"stream-{number}") for number in range(20)]


@pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
async def test_a_batch_of_many_streams_is_one_transaction_also_when_the_script_was_unknown() -> None:
    with redis.real_redis(redis.Standalone) as servers:
        client = RedisClient(parse_redis_url(servers.url))
        store = RedisStreamStore(client)
        for _ in range(2):
            servers.servers[0].ask("SCRIPT", "FLUSH")
            servers.servers[0].ask("CONFIG", "RESETSTAT")
            outcomes = await store.commit([CreateStream(stream, INCARNATION) for stream in _STREAMS])
            assert [outcome.code for (outcome,) in outcomes] == [None] * len(_STREAMS)
            calls: Any = servers.servers[0].ask("INFO", "commandstats")
            assert calls["cmdstat_exec"]["calls"] == 2, "once in vain, once with the script"
        assert [await store.view(stream) is not None for stream in _STREAMS] == [True] * len(_STREAMS)
        await store.close()
        await client.close()


def test_of_a_transaction_that_was_not_queued_nothing_was_done() -> None:
    moved = exceptions.ReadOnlyError("a replica now")
    aborted = exceptions.ExecAbortError("discarded")
    assert unwrap([b"OK", b"QUEUED", b"QUEUED", [1, 2]]) == [1, 2]
    assert unwrap([b"OK", b"QUEUED", moved, aborted]) == [moved, moved]
    assert unwrap([moved, moved, moved, aborted]) == [moved, moved]
    assert unwrap([b"OK", b"QUEUED", b"QUEUED", aborted]) == [aborted, aborted]
