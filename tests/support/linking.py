"""Gives a user another device, or takes one away, by signing device lists as linking does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from client_sdk.engine import spaces
from client_sdk.engine.account import Account, AccountRecord
from client_sdk.identity import KeyPair, ManifestDevice, generate_key_pair, next_manifest
from client_sdk.vault import Vault
from tests.support.fake_time import SeededRandom
from tests.support.world import Device, World

KEY = b"account"


def _vault(folder: Path, name: str, *, create: bool = False) -> Vault:
    return Vault.open(folder / f"{name}.vault", key=name.encode().ljust(32, b"."), create=create)


def read_account(folder: Path, name: str) -> Account:
    """The account in the vault of a program that does not run."""
    with _vault(folder, name) as vault, vault.transaction() as tx:
        return Account(AccountRecord.parse(tx.get(spaces.ACCOUNT, KEY) or b""))


def write_account(folder: Path, name: str, record: AccountRecord, *, create: bool = False) -> None:
    """Replace the account in such a vault."""
    with _vault(folder, name, create=create) as vault, vault.transaction() as tx:
        tx.put(spaces.ACCOUNT, KEY, record.serialize())


def link_device(folder: Path, first: str, second: str) -> None:
    """Make a vault for a second device of the first one's user; both know the new list."""
    account = read_account(folder, first)
    key = generate_key_pair(SeededRandom(second))
    devices = (*account.manifest.devices, ManifestDevice(key.public))
    manifest = next_manifest(
        account.manifest, key=KeyPair.from_private(account.record.identity), devices=devices
    )
    known = replace(account.record, manifest=manifest.raw)
    write_account(folder, first, known)
    write_account(folder, second, replace(known, device=key.private), create=True)


def revoke_device(folder: Path, first: str, second: str) -> None:
    """Sign a list without the second device; only the first one knows it."""
    account, gone = read_account(folder, first), read_account(folder, second)
    devices = tuple(d for d in account.manifest.devices if d.device_key != gone.device_key.public)
    manifest = next_manifest(
        account.manifest, key=KeyPair.from_private(account.record.identity), devices=devices
    )
    write_account(folder, first, replace(account.record, manifest=manifest.raw))


@asynccontextmanager
async def ben_and_two_of_anna(world: World) -> AsyncIterator[tuple[Device, Device, Device]]:
    """Ben, and Anna with a second device, who have met before: all three are in the conversation."""
    link_device(world.folder, "anna", "anna-2")
    async with (
        world.device("ben") as ben,
        world.device("anna") as one,
        world.device("anna", vault="anna-2") as two,
    ):
        await world.pass_time(10)
        yield ben, one, two
