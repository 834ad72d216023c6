"""Quotas: how much of a relay one portal may take."""

from __future__ import annotations

from typing import Final, NamedTuple

from relay.errors import InvalidRequest, QuotaExceeded
from relay.wire.limits import MAX_UINT

NAMES: Final = ("engagements", "stored_bytes", "connections")


class Quotas(NamedTuple):
    """At most so many active engagements, bytes of sealed files, connected devices; 0 is without bound."""

    engagements: int = 0
    stored_bytes: int = 0
    connections: int = 0

    def check(self, name: str, *, used: int, more: int = 1) -> None:
        """Raise `QuotaExceeded` if `more` is not left of a quota."""
        limit = getattr(self, name)
        if limit and used + more > limit:
            raise QuotaExceeded(name, limit)


NO_QUOTAS: Final = Quotas()


def check_quotas(quotas: Quotas) -> Quotas:
    """The quotas; raises `InvalidRequest` on one that is no count."""
    if any(not 0 <= value <= MAX_UINT for value in quotas):
        raise InvalidRequest("a quota is a whole number, and 0 is without bound")
    return quotas
