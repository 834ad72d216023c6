"""A new device of somebody who comes back with the words of their recovery kit, before it is opened."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from client_sdk.engine import Account, spaces, token_subject
from client_sdk.engine.account import AccountRecord
from client_sdk.engine.records import ConversationRecord
from client_sdk.engine.recovering import (
    Recovered,
    asking,
    newest_known,
    outranking,
    own_engagements,
    recovered_account,
    shut_out,
)
from client_sdk.engine.restoring import OnRestored, Restoration
from client_sdk.errors import VaultExists
from client_sdk.first_link import ACCOUNT_KEY
from client_sdk.identity import RecoverySeed
from client_sdk.transport import (
    DeviceProof,
    Dial,
    Environment,
    RelayAddress,
    TokenSource,
    WebSocketDial,
)
from client_sdk.vault import Key, Vault
from relay.wire.ids import PortalId, UserId

MOST_SCANNED = 1000

__all__ = ["OnRestored", "Recovered", "recover_vault"]


async def recover_vault(
    path: Path,
    key: Key,
    *,
    words: str,
    name: str,
    address: RelayAddress,
    token: TokenSource,
    unchecked: bool,
    environment: Environment,
    dial: Dial | None = None,
    on_restored: OnRestored | None = None,
) -> Recovered:
    """Make the vault of the new device; begun again with the same vault, it goes on.

    Raises `RecoveryWordsInvalid`, `RecoveryRefused`, `VaultExists`, another `VaultError`, or `RelayError`.
    """
    seed, access = RecoverySeed.from_words(words), await token()
    now, rng = environment.now(), environment.rng
    existing = _begun(path, key, seed, token_subject(access))
    account = existing or recovered_account(*token_subject(access), name, seed, now=now, rng=rng)
    async with aiohttp.ClientSession() as http:
        to_relay = dial or WebSocketDial(http, address.connect)
        async with asking(to_relay, _proof(account, address), access, rng) as relay:
            engagements = await own_engagements(relay)
            if existing is None:
                known = await newest_known(relay, account, engagements, unchecked=unchecked)
                account = outranking(account, known, seed)
            with Vault.open(path, key=key, create=not path.exists()) as vault:
                with vault.transaction() as tx:
                    tx.put(spaces.ACCOUNT, ACCOUNT_KEY, account.record.serialize())
                await shut_out(relay, account)
                restoration = Restoration(vault, relay, account, seed, on_restored)
                found = await restoration.restore(engagements, now_ms=int(now * 1000), rng=rng)
    return Recovered(
        len(engagements),
        sum(each.items for each in found),
        max((each.until_ms for each in found), default=0),
        any(each.broken for each in found),
    )


def _begun(path: Path, key: Key, seed: RecoverySeed, subject: tuple[PortalId, UserId]) -> Account | None:
    """The account of a recovery that was cut off; raises `VaultExists` if the vault is anything else."""
    if not path.exists():
        return None
    with Vault.open(path, key=key, create=False) as vault, vault.transaction() as tx:
        stored = tx.get(spaces.ACCOUNT, ACCOUNT_KEY)
        in_use = any(
            ConversationRecord.parse(data).cursor
            for _, data in tx.scan(spaces.CONVERSATION, limit=MOST_SCANNED)
        )
    account = None if stored is None else Account(AccountRecord.parse(stored))
    if account is None:
        return None  # cut off before anything was in it
    manifest = account.manifest
    if (
        (account.portal, account.user) != subject
        or manifest.recovery_key != seed.key.public
        or not manifest.era
    ):
        raise VaultExists(
            "There is a vault at this path already, which these words did not make. Choose another path."
        )
    if in_use:
        raise VaultExists("You are back in this vault already: go on with it, nothing is to be recovered.")
    return account


def _proof(account: Account, address: RelayAddress) -> DeviceProof:
    return DeviceProof(
        origin=address.origin,
        portal=account.portal,
        device_key=account.device_key.public,
        sign=account.device_key.sign_labelled,
    )
