"""The rules of delivery: who has seen what, what to send again, and what means alarm. Pure."""

from .stream_hash import after_commit, after_entry, entry_hash

__all__ = ["after_commit", "after_entry", "entry_hash"]
