"""The people of a conversation, as the application sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from client_sdk.identity import TrustState, safety_number
from relay.wire.ids import PortalId, Role, UserId

_WORDS: Final = {
    TrustState.UNVERIFIED: "not yet verified",
    TrustState.VERIFIED: "verified",
    TrustState.CHANGED: "their security key has changed",
}

_safety_number = lru_cache(maxsize=256)(safety_number)  # 5 ms each, and shown again and again


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in an engagement. `name` is what they call themselves, else their user id.

    `trust` is None while they have not joined: the portal invited them, and nothing is known of their keys.
    """

    portal: PortalId
    user: UserId
    role: Role
    name: str = field(repr=False)
    trust: TrustState | None = None
    identity_key: bytes | None = field(default=None, repr=False)
    needs_admission: bool = False

    @property
    def joined(self) -> bool:
        """Whether a device of theirs takes part."""
        return self.trust is not None

    @property
    def verified(self) -> bool:
        """Whether the safety numbers were compared."""
        return self.trust is TrustState.VERIFIED

    @property
    def safety_number(self) -> str:
        """30 digits to compare with what they see; empty while they have not joined."""
        if self.identity_key is None:
            return ""
        return _safety_number(self.portal, self.user, self.identity_key)

    def __str__(self) -> str:
        """As in `Ben (client), not yet verified`."""
        if self.needs_admission:
            state = "waits for your approval"
        elif self.trust is None:
            state = "not yet joined"
        else:
            state = _WORDS[self.trust]
        return f"{self.name} ({self.role}), {state}"


class People(tuple[Person, ...]):
    """The other people of an engagement; printed as they are spoken of."""

    __slots__ = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self)) or "nobody else yet"

    def named(self, user: str) -> Person:
        """The person with this user id; raises `KeyError`."""
        for person in self:
            if person.user == user:
                return person
        raise KeyError(user)
