"""Where the relay keeps streams and records."""

from relay.store.interface import ABSENT, Directory, Record, StreamStore
from relay.store.memory import MemoryDirectory, MemoryStreamStore

__all__ = ["ABSENT", "Directory", "MemoryDirectory", "MemoryStreamStore", "Record", "StreamStore"]
