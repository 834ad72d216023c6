from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from client_sdk.vault import keys
from tests.e2e.cli.town import PASSPHRASE, QUICK_KEYS, Terminal, Town, open_town


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("town")) as town:
        yield town


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COACH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COACH_PASSPHRASE", PASSPHRASE)
    for name, value in QUICK_KEYS.items():
        monkeypatch.setattr(keys, name, value)


@pytest.fixture(scope="package")
def joined(town: Town) -> Town:
    """Both have joined."""
    town.join_both()
    return town


@pytest.fixture
def coach(joined: Town, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(joined, capsys)
