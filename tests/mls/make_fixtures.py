"""Writes a stored state of each kind, made with test keys, for tests/mls/fixtures.

    python -m tests.mls.make_fixtures NAME

Run once for each version of the stored form, and never again over an old file: that old states go on loading
is what the fixtures are for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from client_sdk import mls

from .support import Group

FOLDER = Path(__file__).parent / "fixtures"
Fixture = dict[str, str | int]


def describe(state: mls.GroupState, **more: bytes) -> Fixture:
    """A state's two parts, what it must say of itself, and what it must be able to read."""
    return {
        "epoch_part": state.epoch_part().hex(),
        "ratchet_part": state.ratchet_part().hex(),
        "whole": state.serialize().hex(),
        "epoch": state.epoch,
        "members": len(state.members),
        "pending": len(state.pending),
        "epoch_authenticator": state.epoch_authenticator.hex(),
        **{name: data.hex() for name, data in more.items()},
    }


def suite_fixtures(suite: mls.CipherSuite) -> dict[str, Fixture]:
    """Fresh, in the middle of a conversation, with a proposal waiting, re-initialised."""
    group = Group("anna", "ben", "cleo", suite=suite)
    found = {"fresh": describe(group.states["ben"])}
    group.talk()
    late, early = group.send("anna", b"late"), group.send("anna", b"early")
    group.read("ben", early)
    commit = group.clients["cleo"].commit(group.states["cleo"]).commit
    found["talking"] = describe(group.states["ben"], late=late, commit=commit)
    cleo = group.clients["cleo"]
    sent = mls.create_proposal(group.states["cleo"], mls.Remove(0), auth=cleo.auth, rng=cleo.rng)
    received = group.clients["ben"].receive(group.states["ben"], sent.message)
    assert isinstance(received, mls.ProposalReceived)
    reference = mls.ProposalRef(received.ref)
    taken_up = cleo.commit(sent.state, [reference]).commit
    found["waiting"] = describe(received.state, commit=taken_up)
    group.commit("anna", [mls.ReInit(b"next", 1, suite.id, ())])
    found["ended"] = describe(group.states["ben"])
    bundle = cleo.bundle()
    found["bundle"] = {"whole": bundle.serialize().hex(), "ref": bundle.ref.hex()}
    return found


def main(name: str) -> None:
    """Write one file."""
    suites = [suite for suite in ("SUITE_1", "SUITE_3", "SUITE_XWING") if hasattr(mls, suite)]
    fixtures = {suite: suite_fixtures(getattr(mls, suite)) for suite in suites}
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    if path.exists():
        raise SystemExit(f"{path} exists: give the new form a new name")
    path.write_text(json.dumps(fixtures, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
