from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from client_sdk.demo.servers import PortalServer
from client_sdk.vault import keys
from tests.e2e.cli.town import PASSPHRASE, PATIENCE, QUICK_KEYS, Terminal, Town, start
from tests.support.real_relay import RealRelay


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    relay, portal = RealRelay(folder), PortalServer(folder / "portal.log")
    with asyncio.Runner() as runner:
        runner.run(relay.start())
        runner.run(portal.start(relay=relay.url, keys=relay.portal))
        town = Town(folder, relay, portal)
        town.engagement = runner.run(portal.open_engagement())["id"]
        yield town
        runner.run(portal.end())
        runner.run(relay.stop())


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COACH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COACH_PASSPHRASE", PASSPHRASE)
    for name, value in QUICK_KEYS.items():
        monkeypatch.setattr(keys, name, value)


@pytest.fixture(scope="package")
def joined(town: Town) -> Town:
    """Both have joined, each from a process of its own, at the same time."""
    both = [
        start(*town.join("anna", "--name", "Anna Lindqvist")),
        start(*town.join("ben", "--name", "Ben Okafor")),
    ]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    return town


@pytest.fixture
def coach(joined: Town, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(joined, capsys)
