"""The vault's tables, and how an older vault becomes a current one."""

from __future__ import annotations

from typing import Final

import apsw

from ..errors import VaultFormatUnknown

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE records (
        space TEXT NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (space, key)
    ) STRICT;
    CREATE TABLE items (
        row INTEGER PRIMARY KEY,
        conversation TEXT NOT NULL,
        id BLOB NOT NULL,
        position INTEGER NOT NULL,  -- seq, or 2^63 - 1 while it has none: then it is the newest
        sent_ms INTEGER NOT NULL,
        sender_user TEXT NOT NULL,
        sender_device BLOB NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        payload BLOB NOT NULL,
        mine INTEGER NOT NULL,
        UNIQUE (conversation, id)
    ) STRICT;
    CREATE INDEX items_in_order ON items (conversation, position, row);
    CREATE INDEX items_by_age ON items (conversation, sent_ms);
    """,
    """
    ALTER TABLE items ADD COLUMN about BLOB;  -- the id of the item that this one changes; else NULL
    CREATE INDEX items_about ON items (conversation, about) WHERE about IS NOT NULL;
    """,
    """
    CREATE TABLE changes (  -- which items are new, changed or gone since a number; each item stands here once
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation TEXT NOT NULL,
        id BLOB NOT NULL,
        UNIQUE (conversation, id)
    ) STRICT;
    INSERT INTO changes (conversation, id) SELECT conversation, id FROM items ORDER BY position, row;
    CREATE TRIGGER item_added AFTER INSERT ON items BEGIN
        DELETE FROM changes WHERE conversation = new.conversation AND id = new.id;
        INSERT INTO changes (conversation, id) VALUES (new.conversation, new.id);
    END;
    CREATE TRIGGER item_changed AFTER UPDATE ON items BEGIN
        DELETE FROM changes WHERE conversation = new.conversation AND id = new.id;
        INSERT INTO changes (conversation, id) VALUES (new.conversation, new.id);
    END;
    CREATE TRIGGER item_gone AFTER DELETE ON items BEGIN
        DELETE FROM changes WHERE conversation = old.conversation AND id = old.id;
        INSERT INTO changes (conversation, id) VALUES (old.conversation, old.id);
    END;
    """,
)
"""Applied in order, all in one transaction, each noted in ``migrations``; never changed, only added to."""


def migrate(connection: apsw.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the tables up to date; raises VaultFormatUnknown, changing nothing, for a newer vault."""
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY) STRICT")
        applied = [row[0] for row in connection.execute("SELECT version FROM migrations ORDER BY version")]
        if applied != list(range(1, len(applied) + 1)) or len(applied) > len(migrations):
            raise VaultFormatUnknown(
                "This vault was written by a newer version of the app. Update the app to open it."
            )
        for version, statements in enumerate(migrations[len(applied) :], len(applied) + 1):
            connection.execute(statements)
            connection.execute("INSERT INTO migrations VALUES (?)", (version,))
