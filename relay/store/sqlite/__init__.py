"""The embedded store: SQLite in a data folder."""

from relay.store.sqlite.directory import SqliteDirectory
from relay.store.sqlite.folder import DataFolder, prepare_folder
from relay.store.sqlite.streams import SqliteStreamStore

__all__ = ["DataFolder", "SqliteDirectory", "SqliteStreamStore", "prepare_folder"]
