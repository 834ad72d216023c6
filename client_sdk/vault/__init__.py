"""The encrypted local store of a device: keys, group states, what waits to be sent, and the history."""

from .history import HistoryItem
from .keys import Key, KeyringCounter, KeyringKey, PassphraseKey
from .transaction import Transaction
from .vault import Vault

__all__ = ["HistoryItem", "Key", "KeyringCounter", "KeyringKey", "PassphraseKey", "Transaction", "Vault"]
