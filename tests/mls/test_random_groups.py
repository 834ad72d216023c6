"""Random histories: whatever happens in whatever order, all members agree and the removed are out."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_sdk import mls

from .support import Group

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "add two", "remove", "update", "rejoin", "say", "store", "bare add", "mixed"]
        ),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=14,
)
MAX_MEMBERS = 9


class History:
    """A group to which things happen."""

    def __init__(self, suite: mls.CipherSuite) -> None:
        self.group = Group("0", suite=suite)
        self.group.commit("0")
        self.count = 1
        self.removed: dict[str, mls.GroupState] = {}

    def pick(self, number: int) -> str:
        names = sorted(self.group.states, key=int)
        return names[number % len(names)]

    def fresh(self) -> str:
        self.count += 1
        return str(self.count - 1)

    def step(self, what: str, one: int, two: int) -> None:
        group, actor, other = self.group, self.pick(one), self.pick(two)
        room = len(group.states) < MAX_MEMBERS
        if what == "add" and room:
            group.add(actor, self.fresh())
        elif what == "bare add" and room:
            self.bare_add(actor)
        elif what == "add two" and room:
            group.add(actor, self.fresh(), self.fresh())
        elif what == "remove" and actor != other:
            self.removed[other] = group.states[other]
            group.commit(actor, [mls.Remove(group.leaf(other))])
        elif what == "mixed" and actor != other and room:
            self.mixed(actor, other)
        elif what == "update":
            group.commit(actor)
        elif what == "rejoin":
            group.rejoin(actor, group.leaf(actor))
        elif what == "store":
            group.states[actor] = mls.GroupState.parse(group.states[actor].serialize())
        else:
            group.talk()

    def join(self, adder: str, proposals: list[mls.Proposal], **options: object) -> None:
        group, name = self.group, self.fresh()
        client = type(group.clients[adder])(name, group.suite)
        bundle = client.bundle()
        add = mls.Add(group.clients[adder].verified(bundle.key_package))
        output = group.commit(adder, [*proposals, add], **options)
        assert output.welcome is not None
        group.clients[name], group.states[name] = client, client.join(output.welcome, bundle)

    def bare_add(self, adder: str) -> None:
        self.join(adder, [], force_path=False)

    def mixed(self, actor: str, other: str) -> None:
        self.removed[other] = self.group.states[other]
        self.join(actor, [mls.Remove(self.group.leaf(other))])


@pytest.mark.parametrize("suite", [mls.SUITE_1, mls.SUITE_3, mls.SUITE_XWING], ids=["1", "3", "X-Wing"])
@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_members_agree_whatever_happens(suite: mls.CipherSuite, steps: list[tuple[str, int, int]]) -> None:
    history = History(suite)
    for what, one, two in steps:
        history.step(what, one, two)
        history.group.check_agreement()
    group = history.group
    group.talk()
    message = group.send(history.pick(0), b"for members only")
    for name, state in history.removed.items():
        with pytest.raises(mls.WrongEpoch):
            group.clients[name].receive(state, message)
    for state in group.states.values():
        public = suite.kem.public_key
        for node, private in state.epoch_state.private_keys.items():
            found = state.epoch_state.tree.nodes[node]
            assert found is not None
            assert found.encryption_key == public(private), "only keys of nodes as they are now"
