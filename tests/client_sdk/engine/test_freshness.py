"""Every conversation of a vault that is an older copy of itself is rejoined, however many it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.engine import spaces
from client_sdk.engine.freshness import Freshness
from client_sdk.engine.records import ConversationRecord, Phase
from client_sdk.vault import KeyringCounter, Vault
from relay.wire.ids import EngagementId
from relay.wire.limits import MAX_ENGAGEMENTS_PER_USER


def test_an_older_copy_leaves_no_conversation_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault keeps those that have ended too, and so more than one has at a time."""
    monkeypatch.setattr(KeyringCounter, "read", lambda self: 5)
    monkeypatch.setattr(KeyringCounter, "write", lambda self, number: None)
    keys = [
        spaces.conversation_key(EngagementId(f"{number:032x}"))
        for number in range(MAX_ENGAGEMENTS_PER_USER + 1)
    ]
    with Vault.open(tmp_path / "vault", key=b"k" * 32, create=True) as vault:
        with vault.transaction() as tx:
            for key in keys:
                tx.put(spaces.CONVERSATION, key, ConversationRecord(phase=Phase.MEMBER).serialize())
        Freshness(vault, KeyringCounter("anna")).opened()
        with vault.transaction() as tx:
            stored = [ConversationRecord.parse(tx.get(spaces.CONVERSATION, key) or b"") for key in keys]
    assert {record.phase for record in stored} == {Phase.REJOINING}
