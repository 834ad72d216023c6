"""The keys that a participant's vault holds, so that the demo can look for them where they must not be."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from client_sdk.demo.errors import DemoError
from client_sdk.engine import spaces
from client_sdk.engine.account import AccountRecord
from client_sdk.engine.standing import load
from client_sdk.mls import GroupState
from client_sdk.vault import PassphraseKey, Transaction, Vault
from relay.wire.ids import EngagementId


def read_secrets(path: Path, passphrase: str, engagement: str) -> tuple[list[bytes], list[bytes]]:
    """Return a person's private keys and the conversation's present secrets; the vault must be closed."""
    with Vault.open(path, key=PassphraseKey(passphrase)) as vault, vault.transaction() as tx:
        group = load(tx, EngagementId(engagement)).group
        if group is None:
            raise DemoError(f"{path.name} holds no keys of the conversation")
        return [*_account_keys(tx), *group.epoch_state.private_keys.values()], _epoch_secrets(group)


def _account_keys(tx: Transaction) -> list[bytes]:
    [(_key, value)] = tx.scan(spaces.ACCOUNT, limit=1)
    account = AccountRecord.parse(value)
    return [account.device, account.identity, account.recovery]


def _epoch_secrets(group: GroupState) -> list[bytes]:
    secrets = group.epoch_state.secrets
    return [getattr(secrets, field.name) for field in fields(secrets)]
