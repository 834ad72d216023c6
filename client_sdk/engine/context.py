"""What the steps of a conversation need besides its state: whose device this is, and chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from client_sdk.engine.account import Account
from client_sdk.identity import CredentialPolicy

ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Context:
    """The device and its source of randomness."""

    account: Account
    rng: Callable[[int], bytes]

    @property
    def policy(self) -> CredentialPolicy:
        """Who is who, while a commit or a Welcome is read (the rules of membership judge what results)."""
        return CredentialPolicy(self.account.portal)

    def new_id(self) -> bytes:
        """A fresh name for a message or a notice."""
        return self.rng(ID_BYTES)
