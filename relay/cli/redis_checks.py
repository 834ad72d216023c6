"""Redis, for `doctor`: whether it answers, and what its settings mean for messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relay.cli.findings import Finding, failed, note, ok
from relay.config import Settings
from relay.errors import StoreError
from relay.http.stores import MISSING
from relay.redis_address import RedisAddress, parse_redis_wait

if TYPE_CHECKING:
    from relay.store.redis import Remark


def check_redis(settings: Settings) -> Iterator[Finding]:
    """The Redis servers, if the relay keeps its streams and records there."""
    address = settings.redis
    if address is None:
        return
    try:
        from relay.store.redis import Verdict
    except ImportError:
        yield failed("the part for Redis is not installed", MISSING)
        return
    if not address.tls and not address.path and not address.password:
        yield note("Redis asks for no password", "Give it one, unless nobody else can reach it.")
    try:
        remarks = asyncio.run(_look(address, settings.redis_wait))
    except StoreError as error:
        yield failed(
            f"this Redis cannot be used: {error}",
            "See that it runs, and correct redis_url, redis_password or the firewall between.",
        )
        return
    yield ok(f"Redis answers at {address.shown}")
    for remark in remarks:
        if remark.verdict is Verdict.GOOD:
            yield ok(remark.what)
        elif remark.verdict is Verdict.WARNING:
            yield note(remark.what, remark.do)
        elif remark.verdict is Verdict.WAITING:
            yield failed(remark.what, remark.do)
        else:
            yield failed(f"{remark.what}: the relay does not start", remark.do)
    if not settings.s3_bucket:
        yield note("files stay in this node's data folder", "Set s3_bucket if there are several nodes.")


async def _look(address: RedisAddress, wait: str) -> list[Remark]:
    from relay.store.redis import RedisClient, look

    client = RedisClient(address, wait=parse_redis_wait(wait))
    try:
        return await look(client)
    finally:
        await client.close()
