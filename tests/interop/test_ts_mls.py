"""In step with ts-mls: one group of both implementations' members, whatever happens to it.

Each history prints its seed; `INTEROP_SEED=... pytest tests/interop` plays it again.
`make interop-long` plays a long one in each suite, with a fresh seed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from client_sdk import mls
from tests.interop.history import LIFETIME, NOW, History, Ours, Theirs
from tests.interop.tsmls import InstallError, TsMls, TsMlsError, install, missing
from tests.mls.support import Auth

REASON = missing()
if REASON is not None:
    pytest.skip(REASON, allow_module_level=True)

SUITES = {"1": mls.SUITE_1, "3": mls.SUITE_3, "X-Wing": mls.SUITE_XWING}
LONG = "INTEROP_STEPS" in os.environ
STEPS = int(os.environ.get("INTEROP_STEPS", "25"))
if "INTEROP_SEED" in os.environ:
    SEEDS = [os.environ["INTEROP_SEED"]]
else:
    SEEDS = [secrets.token_hex(4)] if LONG else ["a", "b", "c"]


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
    print(f"\nINTEROP_SEED={seed} INTEROP_STEPS={STEPS}, suite {suite.id}", flush=True)
    history = History(suite, f"{seed}-{suite.id}", node)
    for _ in range(STEPS):
        history.step()
    history.check()
    epoch = history.members[0].view()[0]
    print(f"{epoch} epochs, {history.count} members came, {dict(history.done.most_common())}", flush=True)
    assert epoch > STEPS / 2  # all but talking begins an epoch


def pair(suite: mls.CipherSuite, name: str, node: TsMls) -> tuple[Ours, Theirs]:
    """A group of one member of each kind, ours its founder."""
    history = History.__new__(History)
    history.suite, history.seed, history.node, history.count = suite, name, node, 0
    ours, theirs = history.fresh(ours=True), history.fresh(ours=False)
    assert isinstance(ours, Ours)
    assert isinstance(theirs, Theirs)
    ours.create(name.encode())
    _, welcome, _ = ours.commit([{"kind": "add", "package": theirs.package()}])
    assert welcome is not None
    theirs.join(welcome)
    assert ours.view() == theirs.view()
    return ours, theirs


@pytest.mark.parametrize("founder", ["ours", "theirs"])
@pytest.mark.parametrize("committer", ["ours", "theirs"])
def test_a_group_moves_to_x_wing_together(committer: str, founder: str, node: TsMls) -> None:
    ours, theirs = pair(mls.SUITE_3, f"reinit {committer} {founder}", node)
    reinit = {"kind": "reinit", "group": b"next", "suite": mls.SUITE_XWING.id}
    if committer == "ours":
        theirs.receive(ours.commit([reinit])[0])
    else:
        ours.receive(theirs.commit([reinit])[0])
    assert theirs.ask("view")["suspended"] == "suspendedPendingReinit"
    assert ours.at.reinit == mls.ReInit(b"next", 1, mls.SUITE_XWING.id, ())
    fresh, their_next = Ours(ours.name, mls.SUITE_XWING), Theirs(f"{theirs.name}", mls.SUITE_XWING, node)
    if founder == "ours":
        refound_by_us(ours, fresh, theirs, their_next)
    else:
        refound_by_them(ours, fresh, theirs)
    view = fresh.view()
    assert view == Theirs(f"{theirs.name}", mls.SUITE_XWING, node).view()
    assert fresh.receive(theirs.send(b"post-quantum", b"")) == b"post-quantum"


def refound_by_us(ours: Ours, fresh: Ours, theirs: Theirs, their_next: Theirs) -> None:
    parsed = mls.MLSMessage.parse(their_next.package()).body
    assert isinstance(parsed, mls.KeyPackage)
    made = mls.reinit_group(
        ours.at,
        [mls.verify_key_package(parsed, suite=mls.SUITE_XWING, auth=Auth(), now=NOW)],
        fresh.signer,
        fresh.credential,
        lifetime=LIFETIME,
        auth=Auth(),
        now=NOW,
        rng=fresh.rng,
    )
    fresh.state = made.state
    assert made.welcome is not None
    theirs.join(made.welcome, resumes=theirs.name)


def refound_by_them(ours: Ours, fresh: Ours, theirs: Theirs) -> None:
    next_of_them = Theirs(theirs.name, mls.SUITE_XWING, theirs.node)
    next_of_them.package()
    nonce = fresh.rng(mls.SUITE_XWING.hash_length)
    made = theirs.ask("refound", resumes=theirs.name, group=b"next", packages=[fresh.package()], nonce=nonce)
    assert fresh.bundle is not None
    fresh.state = mls.join_from_welcome(
        bytes.fromhex(made["welcome"]), fresh.bundle, fresh.signer, auth=Auth(), now=NOW, resumes=ours.at
    )


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES.keys())
def test_public_messages_of_theirs_are_read(suite: mls.CipherSuite, node: TsMls) -> None:
    ours, theirs = pair(suite, f"public {suite.id}", node)
    commit, _, _ = theirs.commit([], open=True, aad=b"in the open")
    received = mls.process_message(ours.at, commit, auth=Auth(), now=NOW)
    assert isinstance(received, mls.CommitReceived)
    assert received.authenticated_data == b"in the open"
    ours.state = received.state
    assert ours.view() == theirs.view()


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES.keys())
def test_a_resumption_psk_of_the_group_itself(suite: mls.CipherSuite, node: TsMls) -> None:
    ours, theirs = pair(suite, f"resumption {suite.id}", node)
    item = {
        "kind": "resumption",
        "group": ours.at.group_id,
        "epoch": ours.at.epoch,
        "nonce": ours.rng(suite.hash_length),
    }
    theirs.receive(ours.commit([item])[0])
    assert ours.view() == theirs.view()
    item |= {"epoch": ours.at.epoch, "nonce": ours.rng(suite.hash_length)}
    ours.receive(theirs.commit([item])[0])
    assert ours.view() == theirs.view()


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES.keys())
def test_required_capabilities_bind_both(suite: mls.CipherSuite, node: TsMls) -> None:
    ours, theirs = pair(suite, f"required {suite.id}", node)
    required = mls.RequiredCapabilities(credential_types=(1,)).to_extension()
    made = mls.create_commit(
        ours.at, [mls.GroupContextExtensions((required,))], auth=Auth(), now=NOW, rng=ours.rng
    )
    ours.state = made.state
    theirs.receive(made.commit)
    assert ours.view() == theirs.view()


def test_what_one_refuses_the_other_does_not_send(node: TsMls) -> None:
    """A damaged message, a replay and a stranger's message are refused by both, and both go on."""
    ours, theirs = pair(mls.SUITE_3, "refusals", node)
    from_us, from_them = ours.send(b"1", b""), theirs.send(b"1", b"")
    for message, receiver in ((from_us, theirs), (from_them, ours)):
        damaged = message[:-1] + bytes([message[-1] ^ 1])
        with pytest.raises((mls.MLSError, TsMlsError)):
            receiver.receive(damaged)
        assert receiver.receive(message) == b"1"
        with pytest.raises((mls.MLSError, TsMlsError)):
            receiver.receive(message)
    assert ours.view() == theirs.view()
