"""Copying the log back into the database beside the writer, whom a whole checkpoint would hold up for long.

SQLite's automatic checkpoint runs within a commit: on a slow disk hundreds of milliseconds in which nothing
is acknowledged. Here another thread copies the bulk while commits go on, and the writer only the little
that came meanwhile, so that the log begins anew and stays small.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import apsw

from relay.store.sqlite.database import BUSY_MS, translate

# When the copying begins: 4 MB. Longer logs mean fewer pauses, but each of them is felt by more messages.
CHECKPOINT_PAGES: Final = 500
# The writer finishes what is left when it is this little, or when the log has grown this long nevertheless.
FEW_PAGES: Final = 128
MANY_PAGES: Final = 16 * CHECKPOINT_PAGES
_ROUNDS: Final = 4  # each copies what came during the one before: a tenth of it, or the disk is too slow


class Checkpoints:
    """Keeps the log of one database short. `after_commit` is for the writer's thread, the rest is its own."""

    def __init__(self, writer: apsw.Connection, path: Path) -> None:
        self._writer = writer
        self._connection = _open(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="streams-checkpoint")
        self._pages = 0
        self._begin_at = CHECKPOINT_PAGES
        self._is_running = False
        self._is_due = False
        writer.set_wal_hook(self._committed)

    def after_commit(self) -> None:
        """Begin or finish a checkpoint if it is time; between two transactions of the writer."""
        if self._is_due or self._pages >= max(MANY_PAGES, self._begin_at):
            self._is_due = False
            left = self._copy(self._writer)
            # With nothing left the next transaction writes the log from its beginning.
            self._begin_at = CHECKPOINT_PAGES + (self._pages if left else 0)
        elif self._pages >= self._begin_at and not self._is_running:
            self._is_running = True
            self._thread.submit(self._run)

    def close(self) -> None:
        """Wait for what runs, then close the second connection."""
        self._writer.set_wal_hook(None)
        self._thread.shutdown(wait=True)
        self._connection.close()

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _run(self) -> None:
        try:
            for _ in range(_ROUNDS):
                if self._copy(self._connection) <= FEW_PAGES:
                    break
        finally:
            self._is_running = False
            self._is_due = True

    def _copy(self, connection: apsw.Connection) -> int:
        """Copy what can be copied; how many pages are left. What fails is tried again when more has come."""
        try:
            logged, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error:
            return self._pages
        return logged - copied


def _open(path: Path) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("PRAGMA synchronous = FULL")
        connection.wal_autocheckpoint(0)
    except apsw.Error as error:
        raise translate(error, path.name) from error
    return connection
