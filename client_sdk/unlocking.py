"""How a vault is unlocked: by a passphrase, the system's keyring or a key; and opened without blocking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from client_sdk.errors import UsageError
from client_sdk.vault import Key, KeyringCounter, KeyringKey, PassphraseKey, Vault

Passphrase = str | Callable[[], str]


def vault_key(
    path: str | Path, passphrase: Passphrase | None, keyring: bool, key: Key | None
) -> Callable[[], Key]:
    """What gives the vault's key, perhaps by asking somebody; raises UsageError for none or several."""
    if (passphrase is not None) + keyring + (key is not None) != 1:
        raise UsageError("A vault opens with a passphrase, with keyring=True, or with a key: give one.")
    if key is not None:
        return lambda: key
    if passphrase is None:
        return lambda: KeyringKey(str(Path(path).absolute()))
    if isinstance(passphrase, str):
        return lambda: PassphraseKey(passphrase)
    return lambda: PassphraseKey(passphrase())


def open_counter(path: str | Path, keyring: bool, key: Key | None) -> KeyringCounter | None:
    """A keyring that this vault uses anyhow tells an old copy of it from the newest."""
    if isinstance(key, KeyringKey):
        return KeyringCounter(key.name, key.service)
    return KeyringCounter(str(Path(path).absolute())) if keyring else None


async def opened_vault(path: Path, unlock: Callable[[], Key]) -> Vault:
    """The vault, opened in a thread; one that nobody waits for any more is closed again."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open_vault, path, unlock))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(opening: asyncio.Future[Vault]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open_vault(path: Path, key: Callable[[], Key]) -> Vault:
    return Vault.open(path, key=key(), create=not path.exists())
