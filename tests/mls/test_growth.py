"""No cost grows faster with the group than RFC 9420's own: counted in calls, which no busy machine changes.

A message costs the same in every group. Who follows a commit opens one ciphertext, its maker seals one for
each node it reaches, and both look at each leaf; who joins checks each leaf and node.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest

from client_sdk import mls

from .support import NOW, Client, Group

SMALL, LARGE = 32, 128
MOST = {"encrypt": 1.1, "decrypt": 1.1, "follow": 3.0, "commit": 4.0, "join": 4.6, "load": 4.6}


def calls(action: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(action)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # set at run time


def grown(members: int) -> tuple[Group, Client, mls.KeyPackageBundle]:
    """A group most of whose members are never heard of again, and a client that will join."""
    group = Group("anna", "ben")
    anna, others = group.clients["anna"], [Client(f"other {number}") for number in range(members - 2)]
    group.commit("anna", [mls.Add(anna.verified(other.bundle().key_package)) for other in others])
    group.commit("ben")
    group.commit("anna")
    joiner = Client("joiner")
    return group, joiner, joiner.bundle()


def costs(members: int) -> dict[str, int]:
    group, joiner, bundle = grown(members)
    anna, ben, now = group.states["anna"], group.states["ben"], NOW
    maker, reader = group.clients["anna"], group.clients["ben"]
    sent = mls.encrypt(anna, b"x", rng=maker.rng)
    first = mls.process_message(ben, sent.message, auth=reader.auth, now=now)
    assert isinstance(first, mls.ApplicationReceived)
    second = mls.encrypt(sent.state, b"y", rng=maker.rng)
    commit = maker.commit(anna).commit
    welcome = maker.commit(anna, [mls.Add(maker.verified(bundle.key_package))]).welcome
    assert welcome is not None
    stored = anna.serialize()
    return {
        "encrypt": calls(lambda: mls.encrypt(sent.state, b"y", rng=maker.rng)),
        "decrypt": calls(lambda: mls.process_message(first.state, second.message, auth=reader.auth, now=now)),
        "follow": calls(lambda: mls.process_message(ben, commit, auth=reader.auth, now=now)),
        "commit": calls(lambda: mls.create_commit(anna, auth=maker.auth, now=now, rng=maker.rng)),
        "join": calls(lambda: joiner.join(welcome, bundle)),
        "load": calls(lambda: mls.GroupState.parse(stored)),
    }


@pytest.fixture(scope="module")
def measured() -> tuple[dict[str, int], dict[str, int]]:
    costs(SMALL)  # what is computed once in a process is computed here
    return costs(SMALL), costs(LARGE)


@pytest.mark.parametrize("what", MOST)
def test_a_group_four_times_as_large(what: str, measured: tuple[dict[str, int], dict[str, int]]) -> None:
    small, large = measured
    assert small[what] <= large[what] <= MOST[what] * small[what], (small[what], large[what])
