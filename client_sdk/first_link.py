"""A new device before it has an account: it shows its words and waits for the person's other device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp

from client_sdk.engine import spaces, token_subject
from client_sdk.engine.arriving import FirstContact
from client_sdk.engine.ownlist import usable_name
from client_sdk.engine.told import ArrivalRecord, Told, keep_told, put_arrival, read_arrival
from client_sdk.errors import UsageError
from client_sdk.identity import KeyPair, generate_key_pair
from client_sdk.identity.linking import SECRET_BYTES, LinkSecret
from client_sdk.transport import (
    DeviceProof,
    Dial,
    Environment,
    Link,
    RelayAddress,
    TokenSource,
    WebSocketDial,
)
from client_sdk.vault import Key, Vault

ACCOUNT_KEY = b"account"
HISTORY_SECONDS = 24 * 3600
"""As long as the relay keeps a sealed history that no message names."""


async def link_vault(
    path: Path,
    key: Key,
    *,
    address: RelayAddress,
    token: TokenSource,
    device_name: str,
    show: Callable[[LinkSecret], None],
    environment: Environment,
    dial: Dial | None = None,
) -> None:
    """Make the vault of a new device and wait until it is linked.

    `show` is told the secret once there is somebody to show it to. Raises `LinkFailed`, `LinkTampered`,
    `AccessRefused`, `UsageError` or `VaultError`; begun again with the same vault, it is the same device, and
    once that has its account, nothing is left to do here.
    """
    with Vault.open(path, key=key, create=not path.exists()) as vault:
        if _is_under_way(vault):
            return
        record = _begin(vault, usable_name(device_name), environment)
        portal, user = token_subject(await token())
        async with aiohttp.ClientSession() as http:
            pair = KeyPair.from_private(record.device)
            proof = DeviceProof(
                origin=address.origin, portal=portal, device_key=pair.public, sign=pair.sign_labelled
            )

            def make_link(contact: FirstContact) -> Link:
                to_relay = dial or WebSocketDial(http, address.connect)
                return Link(to_relay, proof, token, contact, environment)

            def keep(told: Told) -> None:
                until = int(environment.now()) + HISTORY_SECONDS
                with vault.transaction() as tx:
                    keep_told(tx, told, ACCOUNT_KEY)
                    tx.put(spaces.DEVICE_NAME, told.account.device, record.name.encode())
                    put_arrival(tx, replace(record, granted=True, until=until))

            show(LinkSecret(record.secret))
            await FirstContact(record, portal, user, make_link, environment).run(keep)


def _is_under_way(vault: Vault) -> bool:
    """Whether the device was linked, and what was said before is still on its way."""
    with vault.transaction() as tx:
        linked = tx.get(spaces.ACCOUNT, ACCOUNT_KEY) is not None
        return linked and bool(tx.scan(spaces.ARRIVAL, limit=1) or tx.scan(spaces.HISTORY, limit=1))


def _begin(vault: Vault, name: str, environment: Environment) -> ArrivalRecord:
    """A fresh secret each time; the device's key stays, so that an attempt cut off takes no second place."""
    known = read_arrival(vault)
    with vault.transaction() as tx:
        if tx.get(spaces.ACCOUNT, ACCOUNT_KEY) is not None:
            raise UsageError("This vault belongs to a device already. To link another one, name a new vault.")
        device = known.device if known is not None else generate_key_pair(environment.rng).private
        record = ArrivalRecord(secret=environment.rng(SECRET_BYTES), device=device, name=name)
        put_arrival(tx, record)
    return record
