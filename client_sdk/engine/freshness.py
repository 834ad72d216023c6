"""Noticing, before anything is said, that a vault is an older copy of itself, by a counter outside of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from client_sdk.engine import spaces
from client_sdk.engine.records import ConversationRecord, Phase
from client_sdk.vault import KeyringCounter, Transaction, Vault

_log = logging.getLogger(__name__)

_KEY: Final = b"count"
_PAGE: Final = 256  # conversations looked at together
RESTORED: Final = "This device's data was restored from an older copy."


class Freshness:
    """Counts how often a vault was opened and closed, in the vault and in the keyring.

    The vault is written first, so its count may be one ahead after a crash; if it is behind, a newer state of
    it was in use, whose keys this copy would use a second time. Then every conversation is rejoined with new
    keys, and shows the gap. Without a keyring the relay's counters show it, as an alarm.
    """

    def __init__(self, vault: Vault, counter: KeyringCounter | None) -> None:
        self._vault = vault
        self._counter = counter

    def opened(self) -> None:
        """The vault was opened; raises `VaultError`."""
        if self._counter is None:
            return
        outside = self._counter.read()
        with self._vault.transaction() as tx:
            inside = _count(tx)
            if outside is not None and inside < outside:
                _log.warning("the vault is an older copy of itself: its conversations are rejoined")
                _rejoin_all(tx)
            elif outside is None and inside > 0:
                _log.warning("the vault was used on another machine: its conversations are rejoined")
                _rejoin_all(tx)
            tx.put(spaces.OPENED, _KEY, b"%d" % (max(inside, outside or 0) + 1))
        self._write()

    def closing(self) -> None:
        """The vault is about to be closed: a copy that was taken meanwhile is an old one from now on."""
        if self._counter is None:
            return
        with self._vault.transaction() as tx:
            tx.put(spaces.OPENED, _KEY, b"%d" % (_count(tx) + 1))
        self._write()

    def _write(self) -> None:
        with self._vault.transaction() as tx:
            count = _count(tx)
        if self._counter is not None:
            self._counter.write(count)


def _count(tx: Transaction) -> int:
    return int(tx.get(spaces.OPENED, _KEY) or b"0")


def _rejoin_all(tx: Transaction) -> None:
    after: bytes | None = None
    while rows := tx.scan(spaces.CONVERSATION, limit=_PAGE, after=after):
        _rejoin(tx, rows)
        after = rows[-1][0]


def _rejoin(tx: Transaction, rows: list[tuple[bytes, bytes]]) -> None:
    for key, value in rows:
        record = ConversationRecord.parse(value)
        if record.phase is Phase.MEMBER:
            # starts_over: the relay's counters are ahead of this copy's, and that is why.
            lost = replace(record, phase=Phase.REJOINING, rejoin_reason=RESTORED, starts_over=True)
            tx.put(spaces.CONVERSATION, key, lost.serialize())
            tx.delete(spaces.EPOCH, key)
            tx.delete(spaces.RATCHET, key)
