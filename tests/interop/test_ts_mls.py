"""In step with ts-mls: one group of both implementations' members, whatever happens to it.

A failing history names its seed; `INTEROP_SEED=... pytest tests/interop` plays it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from client_sdk import mls
from tests.interop.history import History
from tests.interop.tsmls import InstallError, TsMls, install, missing

REASON = missing()
if REASON is not None:
    pytest.skip(REASON, allow_module_level=True)

SUITES = {"1": mls.SUITE_1, "3": mls.SUITE_3, "X-Wing": mls.SUITE_XWING}
SEEDS = [os.environ["INTEROP_SEED"]] if "INTEROP_SEED" in os.environ else ["a", "b", "c"]
STEPS = int(os.environ.get("INTEROP_STEPS", "25"))


@pytest.fixture(scope="module")
def node() -> Iterator[TsMls]:
    try:
        install()
    except InstallError as error:
        pytest.skip(f"ts-mls could not be installed: {error}")
    running = TsMls()
    yield running
    running.close()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES.keys())
def test_members_agree_whatever_happens(suite: mls.CipherSuite, seed: str, node: TsMls) -> None:
    history = History(suite, f"{seed}-{suite.id}", node)
    for _ in range(STEPS):
        history.step()
    history.check()
