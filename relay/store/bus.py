"""What nodes of one relay tell each other: short news by topic, best effort. Nothing that matters rests on
it: whoever missed some looks at the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

WAKE: Final = "w"
"""The kind of the news that a stream goes on: (kind, node, head, last commit) in MessagePack.

Where the node stands there may be [node, head before, [run, bodies, ...]] instead: what was appended, if it
is small and no commit, each run as `stream.lua` stores it. A version that does not know this takes it for a
node it has not heard of, and reads.
"""

Heard = Callable[[str, bytes], None]


class Bus(Protocol):
    """The way to the other nodes. News of a topic reach those who follow it, in the order of their sender."""

    @property
    def node(self) -> bytes:
        """This node's name, another each time it starts; empty if there are no others."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether nothing is missed now, as far as anybody can know."""
        ...

    async def start(self, heard: Heard, missed: Callable[[], None]) -> None:
        """Begin to listen. `heard` gets topic and news, `missed` is told after news may have been missed.

        News that bring entries are heard when those are as durable as what is acknowledged.
        """
        ...

    async def follow(self, topic: str) -> None:
        """Hear what is told from when this returns; raises `StoreUnavailable` if that cannot be had now."""
        ...

    def unfollow(self, topic: str) -> None:
        """Stop to hear it."""
        ...

    def tell(self, topic: str, news: bytes) -> None:
        """Tell all who follow a topic, ourselves too if we do. It does not wait, and may be lost."""
        ...

    async def close(self) -> None:
        """Stop to listen and to tell."""
        ...


class LocalBus:
    """The bus of a relay that is one process: there is nobody to tell, and nothing to miss."""

    node = b""
    is_current = True

    async def start(self, heard: Heard, missed: Callable[[], None]) -> None:
        del heard, missed

    async def follow(self, topic: str) -> None:
        del topic

    def unfollow(self, topic: str) -> None:
        del topic

    def tell(self, topic: str, news: bytes) -> None:
        del topic, news

    async def close(self) -> None:
        return
