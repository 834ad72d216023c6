"""Both stores in Redis (7.0 or newer, or Valkey): one server or many nodes of a relay share it."""

from relay.store.redis.connection import connect
from relay.store.redis.directory import RedisDirectory
from relay.store.redis.streams import RedisStreamStore

__all__ = ["RedisDirectory", "RedisStreamStore", "connect"]
