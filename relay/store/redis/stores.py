"""Everything that a node has in Redis, opened together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.errors import StoreUnfit
from relay.redis_address import RedisAddress, RedisWait
from relay.store.redis.bus import RedisBus
from relay.store.redis.client import MOVING, Call, RedisClient
from relay.store.redis.directory import RedisDirectory
from relay.store.redis.startup import Remark, Verdict, look
from relay.store.redis.streams import RedisStreamStore


@dataclass(frozen=True, slots=True)
class RedisStores:
    """Both stores and the bus of one node, and what was found about the servers when it started."""

    client: RedisClient
    bus: RedisBus
    streams: RedisStreamStore
    directory: RedisDirectory
    remarks: tuple[Remark, ...]

    @classmethod
    async def open(cls, address: RedisAddress, wait: RedisWait) -> RedisStores:
        """Connect; raises `StoreUnavailable`, also where acknowledged messages would be lost."""
        client = RedisClient(address, wait=wait)
        try:
            remarks = await look(client)
            for remark in remarks:
                if remark.verdict is Verdict.REFUSED:
                    raise StoreUnfit(f"{remark.what}. {remark.do}")
            if await client.run(Call(MOVING, ("EXISTS", MOVING)), again=True):
                raise StoreUnfit("a move into this Redis was cut off: run `coach-relay migrate` again")
        except BaseException:
            await client.close()
            raise
        bus = RedisBus(client)
        streams = RedisStreamStore(client, node=bus.node)
        return cls(client, bus, streams, RedisDirectory(client), tuple(remarks))

    def tell_of_loss(self, lost: Callable[[], None]) -> None:
        """Have `lost` called when a primary is met that may lack what another one acknowledged."""
        self.client.history_changed = lost

    async def close(self) -> None:
        """Finish what was accepted, then let go of the servers."""
        await self.streams.close()
        await self.directory.close()
        await self.bus.close()
        await self.client.close()
