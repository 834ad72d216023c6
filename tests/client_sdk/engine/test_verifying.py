"""Two people verify each other by scanning."""

from __future__ import annotations

import pytest

from client_sdk.errors import SafetyCodeInvalid, UsageError
from tests.support.world import World


async def test_both_scan_and_both_are_verified(world: World) -> None:
    async with world.pair() as (anna, ben):
        of_ben, of_anna = anna.room.people.named("ben"), ben.room.people.named("anna")
        shown = anna.room.verification_code(of_ben)
        assert (await ben.room.verify_scanned(of_anna, shown)).verified
        assert (await anna.room.verify_scanned(of_ben, ben.room.verification_code(of_anna))).verified
        with pytest.raises(SafetyCodeInvalid):
            await anna.room.verify_scanned(of_ben, shown)


async def test_who_has_not_joined_has_nothing_to_compare(world: World) -> None:
    async with world.device("anna") as anna:
        with pytest.raises(UsageError):
            anna.room.verification_code(anna.room.people.named("ben"))
