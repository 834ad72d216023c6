"""Devices as they were before there was a stronger suite: their signed lists name suite 3 alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

import client_sdk.client
from client_sdk.engine.account import Account, create_account, with_known_suites
from client_sdk.identity import KeyPair, first_manifest
from client_sdk.mls import SUITE_3
from relay.wire.ids import PortalId, UserId


class Versions:
    """Which users have the older program; it makes accounts with suite 3, and does not add to their lists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *older: str) -> None:
        self.older: set[str] = set(older)
        monkeypatch.setattr(client_sdk.client, "create_account", self._create)
        monkeypatch.setattr(client_sdk.client, "with_known_suites", self._updated)

    def update(self, users: Collection[str]) -> None:
        """These users' programs are new from their next start on."""
        self.older -= set(users)

    def _create(self, portal: PortalId, user: UserId, name: str, rng: Callable[[int], bytes]) -> Account:
        made = create_account(portal, user, name, rng)
        return old_account(made) if user in self.older else made

    def _updated(self, account: Account) -> Account:
        return account if account.user in self.older else with_known_suites(account)


def old_account(account: Account) -> Account:
    """The same new user with a first device list that names suite 3 alone."""
    record = account.record
    manifest = first_manifest(
        portal=account.portal,
        user=account.user,
        identity=KeyPair.from_private(record.identity),
        recovery_key=account.manifest.recovery_key,
        devices=account.manifest.devices,
        suites=[SUITE_3.id],
    )
    return Account(replace(record, manifest=manifest.raw))
