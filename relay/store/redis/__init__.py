"""Both stores in Redis (7.0 or newer, or Valkey), and the bus of the relay's nodes: all share it."""

from relay.store.redis.bus import RedisBus
from relay.store.redis.client import RedisClient
from relay.store.redis.directory import RedisDirectory
from relay.store.redis.startup import Remark, Verdict, look
from relay.store.redis.stores import RedisStores
from relay.store.redis.streams import RedisStreamStore

__all__ = [
    "RedisBus",
    "RedisClient",
    "RedisDirectory",
    "RedisStores",
    "RedisStreamStore",
    "Remark",
    "Verdict",
    "look",
]
