"""What nodes tell each other by way of Redis: the channels, and the news of an append."""

from __future__ import annotations

from typing import Final

import msgpack

from relay.store.bus import WAKE

# Bodies that the news of one append bring along. Larger ones are read: a node that is slow to hear must not
# have Redis keep much for it.
MAX_TOLD_BYTES: Final = 64 * 1024
_BRINGING: Final = b"\x94\xa1w\x93"


def channel_of(topic: str) -> str:
    """The channel of a topic. One of a stream lies with the stream's keys, so that its script may publish."""
    return f"coach:{{{topic}}}:news"


def pack_wake(node: bytes, head: int, last_commit: int) -> bytes:
    """The news that `stream.lua` publishes, too."""
    packed: bytes = msgpack.packb((WAKE, node, head, last_commit), use_bin_type=False)
    return packed


def begin_bringing(node: bytes) -> bytes:
    """What the news of a node begin with that bring entries."""
    packed: bytes = msgpack.packb(node, use_bin_type=False)
    return _BRINGING + packed


def brings_entries(news: bytes) -> bool:
    """Whether these are news of an append that bring its entries."""
    return news.startswith(_BRINGING)
