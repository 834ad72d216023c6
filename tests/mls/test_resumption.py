"""Groups that go on from others: re-initialised (to another suite, too) or branched (section 11.2, 11.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from client_sdk import mls

from .support import LIFETIME, NOW, Client, Group, seeded

NEW = b"the new group"
Bundles = dict[str, mls.KeyPackageBundle]


def ended(suite: mls.CipherSuite = mls.SUITE_3, next_suite: mls.CipherSuite = mls.SUITE_XWING) -> Group:
    """A group of three whose ReInit was committed."""
    group = Group("anna", "ben", "cleo", suite=suite)
    group.commit("ben", [mls.ReInit(NEW, 1, next_suite.id, ())])
    return group


def newcomers(names: Sequence[str], suite: mls.CipherSuite) -> tuple[dict[str, Client], Bundles]:
    clients = {name: Client(name, suite) for name in names}
    return clients, {name: client.bundle() for name, client in clients.items()}


def refound(
    group: Group,
    names: Sequence[str] = ("ben", "cleo"),
    suite: mls.CipherSuite = mls.SUITE_XWING,
    old: mls.GroupState | None = None,
) -> tuple[mls.CommitOutput, dict[str, Client], Bundles]:
    """Anna founds the group the ReInit asks for."""
    clients, bundles = newcomers(names, suite)
    anna = Client("anna", suite)
    output = mls.reinit_group(
        group.states["anna"] if old is None else old,
        [anna.verified(bundle.key_package) for bundle in bundles.values()],
        anna.signer,
        anna.credential,
        lifetime=LIFETIME,
        auth=anna.auth,
        now=NOW,
        rng=anna.rng,
    )
    return output, {"anna": anna, **clients}, bundles


def branched(
    group: Group, names: Sequence[str] = ("ben",)
) -> tuple[mls.CommitOutput, dict[str, Client], Bundles]:
    clients, bundles = newcomers(names, group.suite)
    anna = Client("anna", group.suite)
    output = mls.branch_group(
        group.states["anna"],
        b"branch",
        [anna.verified(bundle.key_package) for bundle in bundles.values()],
        anna.signer,
        anna.credential,
        lifetime=LIFETIME,
        auth=anna.auth,
        now=NOW,
        rng=anna.rng,
    )
    return output, {"anna": anna, **clients}, bundles


def refuse_join(
    client: Client, output: mls.CommitOutput, bundle: mls.KeyPackageBundle, rule: str, **options: object
) -> None:
    assert output.welcome is not None
    with pytest.raises(mls.MLSError) as caught:
        client.join(output.welcome, bundle, **options)
    assert caught.value.rule == rule


def test_a_group_moves_to_the_post_quantum_suite() -> None:
    group = ended()
    output, clients, bundles = refound(group)
    assert output.welcome is not None
    states = {"anna": output.state}
    for name, bundle in bundles.items():
        states[name] = clients[name].join(output.welcome, bundle, resumes=group.states[name])
    assert {(state.group_id, state.epoch, state.suite) for state in states.values()} == {
        (NEW, 1, mls.SUITE_XWING)
    }
    assert len({state.epoch_authenticator for state in states.values()}) == 1
    sent = mls.encrypt(states["cleo"], b"safe for longer", rng=seeded("cleo"))
    received = clients["ben"].receive(states["ben"], sent.message)
    assert isinstance(received, mls.ApplicationReceived)
    assert received.plaintext == b"safe for longer"


def test_any_member_may_found_the_new_group_and_the_stored_state_is_enough() -> None:
    group = ended()
    old = mls.GroupState.parse(group.states["anna"].serialize())
    assert old.reinit == mls.ReInit(NEW, 1, mls.SUITE_XWING.id, ())
    output, clients, bundles = refound(group, old=old)
    assert output.welcome is not None
    assert clients["ben"].join(output.welcome, bundles["ben"], resumes=group.states["ben"]).epoch == 1


def test_the_old_group_is_over() -> None:
    group = ended()
    anna, state = group.clients["anna"], group.states["anna"]
    uses: list[Callable[[], object]] = [
        lambda: mls.encrypt(state, b"x", rng=anna.rng),
        lambda: anna.commit(state),
        lambda: anna.receive(state, b""),
        lambda: mls.create_proposal(state, mls.Remove(1), auth=anna.auth, rng=anna.rng),
        lambda: mls.create_update(state, auth=anna.auth, rng=anna.rng),
        lambda: mls.branch_group(
            state,
            b"branch",
            [],
            anna.signer,
            anna.credential,
            lifetime=LIFETIME,
            auth=anna.auth,
            now=NOW,
            rng=anna.rng,
        ),
    ]
    for use in uses:
        with pytest.raises(mls.StateError) as caught:
            use()
        assert caught.value.rule == "REINIT-DONE"


def test_only_a_reinitialised_group_is_founded_anew() -> None:
    group = Group("anna", "ben", suite=mls.SUITE_3)
    before = group.states["anna"].serialize()
    with pytest.raises(mls.StateError) as caught:
        refound(group, ("ben",))
    assert caught.value.rule == "RESUME-REINIT"
    assert group.states["anna"].serialize() == before


def test_an_unknown_version_is_not_founded() -> None:
    group = Group("anna", "ben", suite=mls.SUITE_3)
    group.commit("ben", [mls.ReInit(NEW, 2, mls.SUITE_XWING.id, ())])
    with pytest.raises(mls.ValidationError) as caught:
        refound(group, ("ben",))
    assert caught.value.rule == "RESUME-VERSION"


def test_a_resuming_welcome_needs_the_old_group_and_a_plain_one_has_none() -> None:
    group = ended()
    output, clients, bundles = refound(group)
    psks = {
        mls.ResumptionPsk(usage, b"group", group.states["ben"].epoch): group.states["ben"].resumption_psk
        for usage in mls.ResumptionUsage
    }
    refuse_join(clients["ben"], output, bundles["ben"], "RESUME-WELCOME", psks=psks)
    refuse_join(clients["ben"], output, bundles["ben"], "PSK-MISSING")
    plain = Group("anna", suite=mls.SUITE_XWING)
    bundle = clients["ben"].bundle()
    made = plain.clients["anna"].commit(
        plain.states["anna"], [mls.Add(clients["ben"].verified(bundle.key_package))]
    )
    refuse_join(clients["ben"], made, bundle, "RESUME-WELCOME", resumes=group.states["ben"])


def test_another_group_or_epoch_is_not_resumed() -> None:
    group = ended()
    output, clients, bundles = refound(group)
    old = group.states["ben"]
    other = Group("ben", suite=mls.SUITE_3).states["ben"]
    psks = {mls.ResumptionPsk(mls.ResumptionUsage.REINIT, b"group", old.epoch): old.resumption_psk}
    refuse_join(clients["ben"], output, bundles["ben"], "RESUME-GROUP", resumes=other, psks=psks)


def without_reinit(state: mls.GroupState) -> mls.GroupState:
    return replace(state, epoch_state=replace(state.epoch_state, reinit=None))


def with_reinit(state: mls.GroupState, **changes: object) -> mls.GroupState:
    assert state.reinit is not None
    changed = replace(state.reinit, **changes)  # type: ignore[arg-type]  # changes of any kind
    return replace(state, epoch_state=replace(state.epoch_state, reinit=changed))


def test_members_that_saw_no_reinit_are_not_moved() -> None:
    group = ended()
    output, clients, bundles = refound(group)
    old = without_reinit(group.states["ben"])
    refuse_join(clients["ben"], output, bundles["ben"], "RESUME-NO-REINIT", resumes=old)


@pytest.mark.parametrize(
    "changes",
    [
        {"group_id": b"other"},
        {"version": 2},
        {"cipher_suite": 3},
        {"extensions": (mls.Extension(0xF001, b""),)},
    ],
    ids=["group id", "version", "suite", "extensions"],
)
def test_the_new_group_is_what_the_reinit_asked_for(changes: dict[str, object]) -> None:
    group = ended()
    output, clients, bundles = refound(group)
    old = with_reinit(group.states["ben"], **changes)
    refuse_join(clients["ben"], output, bundles["ben"], "RESUME-PARAMETERS", resumes=old)


def test_nobody_is_left_behind_and_nobody_slips_in() -> None:
    group = ended()
    for names, rule in ((("ben",), "RESUME-MISSING"), (("ben", "cleo", "dan"), "RESUME-STRANGER")):
        with pytest.raises(mls.ValidationError) as caught:
            refound(group, names)
        assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("names", "rule"), [(("ben",), "RESUME-MISSING"), (("ben", "cleo", "dan"), "RESUME-STRANGER")]
)
def test_a_joiner_counts_the_members_itself(
    names: tuple[str, ...], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = ended()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("client_sdk.mls.resumption._check_members", lambda *_: None)
        output, clients, bundles = refound(group, names)
    refuse_join(clients["ben"], output, bundles["ben"], rule, resumes=group.states["ben"])


def test_a_subgroup_branches_off() -> None:
    group = Group("anna", "ben", "cleo")
    output, clients, bundles = branched(group)
    assert output.welcome is not None
    joined = clients["ben"].join(output.welcome, bundles["ben"], resumes=group.states["ben"])
    assert joined.epoch_authenticator == output.state.epoch_authenticator
    assert (joined.group_id, joined.epoch, len(joined.members)) == (b"branch", 1, 2)
    group.talk()  # the parent lives on


def test_a_branch_keeps_suite_and_members() -> None:
    group = Group("anna", "ben", "cleo")
    with pytest.raises(mls.ValidationError) as caught:
        branched(group, ("ben", "dan"))
    assert caught.value.rule == "RESUME-STRANGER"
    output, clients, bundles = branched(group)
    old = group.states["ben"]
    other = replace(old, epoch_state=replace(old.epoch_state, suite=mls.SUITE_3))
    refuse_join(clients["ben"], output, bundles["ben"], "RESUME-BRANCH", resumes=other)


def test_a_resumption_psk_founds_nothing_later() -> None:
    state = Group("anna", "ben").states["anna"]
    with pytest.raises(mls.UsageError):
        mls.create_commit(
            state, auth=Client("anna").auth, now=NOW, rng=seeded("x"), founding=mls.ResumptionUsage.REINIT
        )


def test_a_group_one_is_in_already_is_not_joined_again() -> None:
    group, dan = Group("anna", "ben"), Client("dan")
    bundle = dan.bundle()
    welcome = group.commit_welcome("anna", bundle.key_package)
    with pytest.raises(mls.ValidationError) as caught:
        dan.join(welcome, bundle, known_groups={b"group"})
    assert caught.value.rule == "WELCOME-GROUP-KNOWN"
    assert dan.join(welcome, bundle, known_groups={b"another"}).group_id == b"group"
