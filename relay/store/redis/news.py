"""What nodes tell each other by way of Redis: the channels, and the news of an append."""

from __future__ import annotations

import msgpack

from relay.store.bus import WAKE


def channel_of(topic: str) -> str:
    """The channel of a topic. One of a stream lies with the stream's keys, so that its script may publish."""
    return f"coach:{{{topic}}}:news"


def pack_wake(node: bytes, head: int, last_commit: int) -> bytes:
    """The news that `stream.lua` publishes, too."""
    packed: bytes = msgpack.packb((WAKE, node, head, last_commit), use_bin_type=False)
    return packed
