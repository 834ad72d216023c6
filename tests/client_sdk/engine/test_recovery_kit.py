"""The recovery kit at first use: due until it was made, and then the words are nowhere on the device."""

from __future__ import annotations

import pytest

from client_sdk.errors import RecoveryWordsInvalid, UsageError
from client_sdk.kit import kit_text
from client_sdk.vault import Vault
from tests.support.linking import read_account
from tests.support.world import World


async def test_the_kit_is_due_until_two_of_its_words_came_back(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        assert anna.client.recovery_kit_due
        kit = anna.client.recovery_kit()
        assert kit.whose == "Anna (anna, portal-1)"
        assert kit.seed.key.public == anna.engine.account.manifest.recovery_key
        assert anna.client.safety_number[:5] in kit_text(kit)
        with pytest.raises(UsageError):
            await anna.client.recovery_kit_made({1: kit.words[0]})
        with pytest.raises(RecoveryWordsInvalid):
            await anna.client.recovery_kit_made({1: kit.words[0], 2: "wrong"})
        assert anna.client.recovery_kit_due
        await anna.client.recovery_kit_made({2: kit.words[1], 12: kit.words[11]})
        assert anna.engine.account.recovery_seed is None
        with pytest.raises(UsageError, match="does not keep its words"):
            anna.client.recovery_kit()
    async with world.device("anna") as anna:
        assert not anna.client.recovery_kit_due


async def test_the_recovery_key_leaves_the_vault_with_the_kit(world: World) -> None:
    async with world.device("anna") as anna:
        kit = anna.client.recovery_kit()
        await anna.client.recovery_kit_made(dict(enumerate(kit.words, 1)))
        await anna.client.set_name("Anna")  # what is stored later does not bring it back
    assert read_account(world.folder, "anna").record.recovery == b""
    words = " ".join(kit.words).encode()
    path, key = world.folder / "anna.vault", b"anna".ljust(32, b".")
    with Vault.open(path, key=key, create=False) as vault, vault.transaction() as tx:
        stored = [bytes(row[0]) for row in tx._alive().execute("SELECT value FROM records")]
    assert len(stored) > 3
    for value in stored:
        assert not any(secret in value for secret in (kit.seed.value, kit.seed.key.private, words))
