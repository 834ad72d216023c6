"""Small tools for the MLS tests: a seeded random source, an authentication service, groups of members."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from client_sdk import mls
from client_sdk.mls import committing, external_commit, proposal_list, treekem
from client_sdk.mls.proposal_list import ResolvedProposal

NOW = 1_800_000_000
DAY = 24 * 3600
LIFETIME = mls.Lifetime(NOW - 3600, NOW + 90 * DAY)
FOREVER = 1 << 64

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "vectors"
PUBLISHED = os.environ.get("COACH_RELAY_VECTORS", str(_BESIDE) if _BESIDE.is_dir() else "") or None
"""The published vectors: the folder COACH_RELAY_VECTORS names, or ``shared/vectors`` beside the checkout."""


def seeded(seed: str) -> mls.Rng:
    """A deterministic random source: never the same bytes twice, never the same for two seeds."""
    counter = 0

    def draw(count: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}/{counter}".encode()).digest(count)

    return draw


class RefusedError(Exception):
    """What a refusing authentication service raises."""


@dataclass
class Auth:
    """Accepts everyone except whom a test names, and keeps a record of every question."""

    refuse_identity: bytes | None = None
    refuse_successor: bool = False
    asked: list[bytes] = field(default_factory=list)
    successors: list[tuple[bytes, bytes]] = field(default_factory=list)

    def verify_credential(self, credential: mls.Credential, signature_key: bytes) -> None:
        self.asked.append(credential.content)
        if credential.content == self.refuse_identity:
            raise RefusedError("credential")

    def verify_successor(self, old: mls.LeafNode, new: mls.LeafNode) -> None:
        self.successors.append((old.credential.content, new.credential.content))
        if self.refuse_successor or old.credential.content != new.credential.content:
            raise RefusedError("successor")


def stored(state: mls.GroupState) -> bytes:
    """The state as it would be stored, nothing of it remembered from before."""
    return replace(state, epoch_state=replace(state.epoch_state)).serialize()


@contextmanager
def unchanged_by_refusal(state: mls.GroupState) -> Iterator[None]:
    """Whatever is refused within, the state is afterwards what it was."""
    before = stored(state)
    try:
        yield
    except Exception:
        assert stored(state) == before
        raise


@dataclass
class Client:
    """A test client: a name, a signature key, a random source."""

    name: str
    suite: mls.CipherSuite = mls.SUITE_1
    auth: Auth = field(default_factory=Auth)

    def __post_init__(self) -> None:
        self.rng = seeded(f"client {self.name}")
        self.signer = mls.generate_signature_key(self.suite, self.rng)
        self.credential = mls.BasicCredential(self.name.encode())

    def bundle(self, **options: object) -> mls.KeyPackageBundle:
        arguments = {"lifetime": LIFETIME, "rng": self.rng, **options}
        return mls.generate_key_package(self.suite, self.signer, self.credential, **arguments)  # type: ignore[arg-type]  # options of any kind

    def create(self, **options: object) -> mls.GroupState:
        arguments = {"lifetime": LIFETIME, "rng": self.rng, **options}
        return mls.create_group(self.suite, b"group", self.signer, self.credential, **arguments)  # type: ignore[arg-type]  # options of any kind

    def commit(
        self,
        state: mls.GroupState,
        proposals: Sequence[mls.Proposal | mls.ProposalRef] = (),
        **options: object,
    ) -> mls.CommitOutput:
        arguments = {"auth": self.auth, "now": NOW, "rng": self.rng, **options}
        with unchanged_by_refusal(state):
            return mls.create_commit(state, proposals, **arguments)  # type: ignore[arg-type]  # options of any kind

    def verified(self, package: mls.KeyPackage) -> mls.VerifiedKeyPackage:
        return mls.verify_key_package(package, suite=self.suite, auth=self.auth, now=NOW)

    def receive(self, state: mls.GroupState, message: bytes, **options: object) -> mls.Received:
        arguments = {"auth": self.auth, "now": NOW, **options}
        with unchanged_by_refusal(state):
            return mls.process_message(state, message, **arguments)  # type: ignore[arg-type]  # options of any kind

    def join(self, welcome: bytes, bundle: mls.KeyPackageBundle, **options: object) -> mls.GroupState:
        arguments = {"auth": self.auth, "now": NOW, **options}
        return mls.join_from_welcome(welcome, bundle, self.signer, **arguments)  # type: ignore[arg-type]  # options of any kind

    def rejoin(self, group_info: bytes, remove: int | None, **options: object) -> mls.CommitOutput:
        arguments = {"auth": self.auth, "now": NOW, "rng": self.rng, "remove": remove, **options}
        return mls.create_external_commit(group_info, self.signer, self.credential, **arguments)  # type: ignore[arg-type]  # options of any kind


class Group:
    """Several clients in one group, all in step."""

    def __init__(self, *names: str, suite: mls.CipherSuite = mls.SUITE_1, **options: object) -> None:
        self.suite = suite
        founder = Client(names[0], suite)
        self.clients = {founder.name: founder}
        self.states = {founder.name: founder.create(**options)}
        self.last: mls.CommitOutput | None = None
        for name in names[1:]:
            self.add(names[0], name)

    def add(
        self, adder: str, *names: str, bundle_options: Mapping[str, object] | None = None
    ) -> mls.CommitOutput:
        """One member adds clients, and they join."""
        committer, joining, adds = self.clients[adder], {}, []
        for name in names:
            client = Client(name, self.suite) if name not in self.clients else self.clients[name]
            self.clients[name] = client
            joining[name] = client.bundle(**(bundle_options or {}))
            adds.append(mls.Add(committer.verified(joining[name].key_package)))
        output = self.commit(adder, adds)
        assert output.welcome is not None
        for name, bundle in joining.items():
            self.states[name] = self.clients[name].join(output.welcome, bundle)
        return output

    def commit(
        self, committer: str, proposals: Iterable[mls.Proposal | mls.ProposalRef] = (), **options: object
    ) -> mls.CommitOutput:
        """One member commits; all others follow, the removed leave."""
        output = self.clients[committer].commit(self.states[committer], tuple(proposals), **options)
        self.deliver(committer, output)
        return output

    def commit_welcome(self, adder: str, package: mls.KeyPackage) -> bytes:
        """Add a client whose joining the test does itself; returns the Welcome."""
        output = self.commit(adder, [mls.Add(self.clients[adder].verified(package))])
        assert output.welcome is not None
        return output.welcome

    def deliver(self, committer: str, output: mls.CommitOutput) -> None:
        """Give a commit to all but its sender."""
        for name in [name for name in self.states if name != committer]:
            received = self.clients[name].receive(self.states[name], output.commit)
            if isinstance(received, mls.RemovedFromGroup):
                del self.states[name]
            else:
                assert isinstance(received, mls.CommitReceived)
                self.states[name] = received.state
        self.states[committer] = output.state
        self.last = output

    def rejoin(self, name: str, remove: int | None = None) -> mls.CommitOutput:
        """A client joins by external commit, in place of the leaf ``remove``."""
        assert self.last is not None
        output = self.clients[name].rejoin(self.last.group_info, remove)
        self.states.pop(name, None)
        self.deliver(name, output)
        return output

    def send(self, sender: str, plaintext: bytes, **options: object) -> bytes:
        """Encrypt, keeping the sender's state."""
        arguments = {"rng": self.clients[sender].rng, **options}
        sent = mls.encrypt(self.states[sender], plaintext, **arguments)  # type: ignore[arg-type]  # options of any kind
        self.states[sender] = sent.state
        return sent.message

    def read(self, name: str, message: bytes) -> mls.ApplicationReceived:
        """Decrypt, keeping the receiver's state."""
        received = self.clients[name].receive(self.states[name], message)
        assert isinstance(received, mls.ApplicationReceived)
        self.states[name] = received.state
        return received

    def leaf(self, name: str) -> int:
        """A member's leaf index."""
        return self.states[name].own_leaf_index

    def talk(self) -> None:
        """Everyone says something, everyone else reads it."""
        for sender in list(self.states):
            message = self.send(sender, f"from {sender}".encode())
            for name in self.states:
                if name != sender:
                    received = self.read(name, message)
                    assert received.plaintext == f"from {sender}".encode()
                    assert received.sender == self.leaf(sender)

    def check_agreement(self) -> None:
        """All members see the same epoch."""
        views = {
            (
                state.epoch,
                state.epoch_authenticator,
                state.group_context.encoded,
                state.export_secret("x", b"", 32),
            )
            for state in self.states.values()
        }
        assert len(views) == 1


@contextmanager
def unchecked(**replacements: Callable[..., object]) -> Iterator[None]:
    """Let a rogue member build what our own checks would stop; ``committing_x`` replaces ``committing.x``."""

    def trust(_rules: object, entry: ResolvedProposal) -> mls.Proposal:
        package = getattr(entry.proposal, "key_package", None)
        return entry.proposal if package is None else mls.Add(mls.VerifiedKeyPackage(package))

    def nothing(*_args: object, **_options: object) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposal_list, "check_list", nothing)
        patch.setattr(proposal_list, "check_proposal", trust)
        patch.setattr(proposal_list, "check_psk_ids", nothing)
        for module in (committing, external_commit):
            patch.setattr(module, "check_new_tree", nothing)
            patch.setattr(module, "check_leaf", nothing)
        patch.setattr(committing, "path_required", lambda entries: False)
        for name, replacement in replacements.items():
            module_name, _, attribute = name.partition("_")
            modules = {"committing": committing, "external": external_commit, "treekem": treekem}
            patch.setattr(modules[module_name], attribute, replacement)
        yield


def refused(
    group: Group, name: str, message: bytes, rule: str, error: type[mls.MLSError] = mls.ValidationError
) -> None:
    """A member must refuse the message under that rule, and its state must stay good."""
    with pytest.raises(error) as caught:
        group.clients[name].receive(group.states[name], message)
    assert caught.value.rule == rule
