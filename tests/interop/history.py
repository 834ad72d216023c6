"""Random histories of one group whose members are ours and ts-mls's, compared after each step.

Everything is chosen by the seed; ts-mls (and ML-KEM on our side) draw their own randomness, so a replay makes
the same choices with other keys.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from client_sdk import mls
from tests.interop.tsmls import TsMls
from tests.mls.support import Auth, seeded

NOW = int(time.time())  # ts-mls has a clock of its own
LIFETIME = mls.Lifetime(NOW - 3600, NOW + 90 * 24 * 3600)
MAX_MEMBERS = 6


def psk_id(number: int) -> bytes:
    """The id of one of the keys every member has."""
    return f"psk {number}".encode()


PSKS: dict[mls.ExternalPsk | mls.ResumptionPsk, bytes] = {
    mls.ExternalPsk(psk_id(number)): seeded(f"psk {number}")(32) for number in range(3)
}


class Ours:
    """A member that is this package."""

    def __init__(self, name: str, suite: mls.CipherSuite) -> None:
        self.name, self.suite, self.auth, self.rng = name, suite, Auth(), seeded(f"interop {name}")
        self.signer = mls.generate_signature_key(suite, self.rng)
        self.credential = mls.BasicCredential(name.encode())
        self.state: mls.GroupState | None = None
        self.bundle: mls.KeyPackageBundle | None = None

    @property
    def at(self) -> mls.GroupState:
        assert self.state is not None
        return self.state

    def package(self) -> bytes:
        self.bundle = mls.generate_key_package(
            self.suite, self.signer, self.credential, lifetime=LIFETIME, rng=self.rng
        )
        return mls.MLSMessage(self.bundle.key_package).serialize()

    def create(self, group: bytes) -> None:
        self.state = mls.create_group(
            self.suite, group, self.signer, self.credential, lifetime=LIFETIME, rng=self.rng
        )

    def proposal(self, item: dict[str, Any]) -> mls.Proposal:
        match item["kind"]:
            case "add":
                body = mls.MLSMessage.parse(item["package"]).body
                assert isinstance(body, mls.KeyPackage)
                return mls.Add(mls.verify_key_package(body, suite=self.suite, auth=self.auth, now=NOW))
            case "remove":
                return mls.Remove(item["leaf"])
            case "psk":
                return mls.PreSharedKey(mls.PreSharedKeyID(mls.ExternalPsk(item["id"]), item["nonce"]))
            case "resumption":
                psk = mls.ResumptionPsk(mls.ResumptionUsage.APPLICATION, item["group"], item["epoch"])
                return mls.PreSharedKey(mls.PreSharedKeyID(psk, item["nonce"]))
            case "extensions":
                return mls.GroupContextExtensions(tuple(mls.Extension(*entry) for entry in item["list"]))
            case "reinit":
                return mls.ReInit(item["group"], 1, item["suite"], ())
            case kind:
                raise AssertionError(kind)

    def commit(self, items: list[dict[str, Any]], **_options: object) -> tuple[bytes, bytes | None, bytes]:
        """Commit; handshakes of ours are always encrypted."""
        refs = [mls.ProposalRef(pending.ref) for pending in self.at.pending]
        made = mls.create_commit(
            self.at,
            [*refs, *(self.proposal(item) for item in items)],
            auth=self.auth,
            now=NOW,
            rng=self.rng,
            psks=PSKS,
        )
        self.state = made.state
        return made.commit, made.welcome, made.group_info

    def propose(self, item: dict[str, Any], **_options: object) -> bytes:
        if item["kind"] == "update":
            sent = mls.create_update(self.at, auth=self.auth, rng=self.rng)
        else:
            sent = mls.create_proposal(self.at, self.proposal(item), auth=self.auth, rng=self.rng)
        self.state = sent.state
        return sent.message

    def join(self, welcome: bytes) -> None:
        assert self.bundle is not None
        self.state = mls.join_from_welcome(
            welcome, self.bundle, self.signer, auth=self.auth, now=NOW, psks=PSKS
        )

    def rejoin(self, group_info: bytes) -> tuple[bytes, bytes]:
        """Come from outside: in one's own place, or new."""
        made = mls.create_external_commit(
            group_info,
            self.signer,
            self.credential,
            remove=None if self.state is None else self.state.own_leaf_index,
            auth=self.auth,
            now=NOW,
            rng=self.rng,
        )
        self.state = made.state
        return made.commit, made.group_info

    def send(self, text: bytes, aad: bytes) -> bytes:
        sent = mls.encrypt(self.at, text, authenticated_data=aad, rng=self.rng)
        self.state = sent.state
        return sent.message

    def receive(self, message: bytes) -> bytes | None:
        received = mls.process_message(self.at, message, auth=self.auth, now=NOW, psks=PSKS)
        assert not isinstance(received, mls.RemovedFromGroup)
        # What is stored is what goes on: each step also shows that nothing lives outside the stored state.
        self.state = mls.GroupState.parse(received.state.serialize())
        return received.plaintext if isinstance(received, mls.ApplicationReceived) else None

    def view(self) -> tuple[int, bytes, bytes, bytes]:
        state = self.at
        exported = state.export_secret("interop", b"\1\2", 40)
        return state.epoch, state.epoch_authenticator, exported, state.resumption_psk

    @property
    def leaf(self) -> int:
        return self.at.own_leaf_index


class Theirs:
    """A member that is ts-mls."""

    def __init__(self, name: str, suite: mls.CipherSuite, node: TsMls) -> None:
        self.name, self.suite, self.node = name, suite, node
        self.leaf = -1

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        return self.node.ask(command, name=self.name, **arguments)

    def package(self) -> bytes:
        bounds = (LIFETIME.not_before, LIFETIME.not_after)
        answer = self.ask("client", suite=self.suite.id, lifetime=bounds)
        for number, key in enumerate(PSKS.values()):
            self.ask("psk", id=psk_id(number), key=key)
        return bytes.fromhex(answer["package"])

    def create(self, group: bytes) -> None:
        self.package()
        self.ask("create", group=group)

    def commit(self, items: list[dict[str, Any]], **options: object) -> tuple[bytes, bytes | None, bytes]:
        made = self.ask("commit", list=items, **options)
        welcome, info = made["welcome"], made["group_info"]
        return (
            bytes.fromhex(made["commit"]),
            bytes.fromhex(welcome) if welcome else None,
            bytes.fromhex(info or ""),
        )

    def propose(self, item: dict[str, Any], **options: object) -> bytes:
        return bytes.fromhex(self.ask("propose", item=item, **options)["message"])

    def join(self, welcome: bytes, **options: object) -> None:
        self.ask("join", welcome=welcome, **options)

    def rejoin(self, group_info: bytes) -> tuple[bytes, bytes]:
        self.package()
        made = self.ask("external", group_info=group_info, resync=self.leaf >= 0)
        return bytes.fromhex(made["commit"]), bytes.fromhex(made["group_info"])

    def send(self, text: bytes, aad: bytes) -> bytes:
        return bytes.fromhex(self.ask("send", text=text, aad=aad)["message"])

    def receive(self, message: bytes) -> bytes | None:
        text = self.ask("receive", message=message)["text"]
        return None if text is None else bytes.fromhex(text)

    def view(self) -> tuple[int, bytes, bytes, bytes]:
        seen = self.ask("view")
        self.leaf = seen["leaf"]
        return (
            seen["epoch"],
            bytes.fromhex(seen["authenticator"]),
            bytes.fromhex(seen["exporter"]),
            bytes.fromhex(seen["resumption"]),
        )


AnyMember = Ours | Theirs


class History:
    """One group, its members of both kinds, and a seeded source of what happens next."""

    def __init__(self, suite: mls.CipherSuite, seed: str, node: TsMls) -> None:
        self.suite, self.seed, self.node = suite, seed, node
        self.chance = random.Random(seed)
        self.count = 0
        self.members: list[AnyMember] = []
        self.group_info = b""
        self.done: Counter[str] = Counter()
        first = self.fresh(ours=self.chance.random() < 0.5)
        first.create(f"group {seed}".encode())
        self.members.append(first)
        first.view()
        self.add(ours=isinstance(first, Theirs))

    # ---- members -------------------------------------------------------------------------------------

    def fresh(self, *, ours: bool) -> AnyMember:
        name, self.count = f"{self.seed}/{self.count}", self.count + 1
        self.node.ask("announce", identity=name.encode())
        return Ours(name, self.suite) if ours else Theirs(name, self.suite, self.node)

    def pick(self, *others: AnyMember) -> AnyMember:
        return self.chance.choice([member for member in self.members if member not in others])

    def spread(self, sender: AnyMember, message: bytes) -> None:
        for member in self.members:
            if member is not sender:
                member.receive(message)

    def check(self) -> None:
        views = {member.view() for member in self.members}
        assert len(views) == 1, f"seed {self.seed}: members disagree after {dict(self.done)}"

    # ---- steps ---------------------------------------------------------------------------------------

    def step(self) -> None:
        room, several = len(self.members) < MAX_MEMBERS, len(self.members) > 2
        steps: list[tuple[str, Callable[[], None], bool]] = [
            ("add", lambda: self.add(ours=self.chance.random() < 0.5), room),
            ("remove", self.remove, several),
            ("update", self.update, True),
            ("proposed update", self.proposed_update, True),
            ("proposed add", self.proposed_add, room),
            ("proposed remove", self.proposed_remove, several),
            ("rejoin", self.rejoin, True),
            ("come from outside", self.come_from_outside, room),
            ("psk", self.psk, True),
            ("resumption psk", self.resumption, True),
            ("extensions", self.extensions, True),
            ("mixed", self.mixed, several),
            ("talk", self.talk, True),
            ("talk out of order", self.talk_out_of_order, True),
        ]
        name, act, _ = self.chance.choice([entry for entry in steps if entry[2]])
        self.done[name] += 1
        act()
        self.check()

    def commit(self, committer: AnyMember, items: list[dict[str, Any]]) -> bytes | None:
        commit, welcome, self.group_info = committer.commit(items, open=self.chance.random() < 0.25)
        self.spread(committer, commit)
        return welcome

    def join(self, member: AnyMember, welcome: bytes | None) -> None:
        assert welcome is not None
        member.join(welcome)
        self.members.append(member)

    def add(self, *, ours: bool) -> None:
        member = self.fresh(ours=ours)
        welcome = self.commit(self.pick(), [{"kind": "add", "package": member.package()}])
        self.join(member, welcome)
        self.check()

    def remove(self) -> None:
        committer = self.pick()
        gone = self.pick(committer)
        self.members.remove(gone)
        self.commit(committer, [{"kind": "remove", "leaf": gone.leaf}])

    def update(self) -> None:
        self.commit(self.pick(), [])

    def propose(self, proposer: AnyMember, item: dict[str, Any]) -> None:
        self.spread(proposer, proposer.propose(item, open=self.chance.random() < 0.25))

    def proposed_update(self) -> None:
        ours = [member for member in self.members if isinstance(member, Ours)]
        if not ours:
            return
        proposer = self.chance.choice(ours)  # ts-mls offers no way to make an own Update
        self.propose(proposer, {"kind": "update"})
        self.commit(self.pick(proposer), [])

    def proposed_add(self) -> None:
        member = self.fresh(ours=self.chance.random() < 0.5)
        self.propose(self.pick(), {"kind": "add", "package": member.package()})
        self.join(member, self.commit(self.pick(), []))

    def proposed_remove(self) -> None:
        committer = self.pick()
        gone = self.pick(committer)
        proposer = self.pick(gone)
        self.propose(proposer, {"kind": "remove", "leaf": gone.leaf})
        self.members.remove(gone)
        self.commit(committer, [])

    def psk(self) -> None:
        psk = psk_id(self.chance.randrange(len(PSKS)))
        nonce = self.chance.randbytes(self.suite.hash_length)
        self.commit(self.pick(), [{"kind": "psk", "id": psk, "nonce": nonce}])

    def mixed(self) -> None:
        """Remove, Add and a PSK in one commit."""
        committer, member = self.pick(), self.fresh(ours=self.chance.random() < 0.5)
        gone = self.pick(committer)
        self.members.remove(gone)
        items: list[dict[str, Any]] = [
            {"kind": "remove", "leaf": gone.leaf},
            {"kind": "add", "package": member.package()},
            {"kind": "psk", "id": b"psk 0", "nonce": self.chance.randbytes(self.suite.hash_length)},
        ]
        self.join(member, self.commit(committer, items))

    def rejoin(self) -> None:
        member = self.pick()
        commit, self.group_info = member.rejoin(self.group_info)
        self.spread(member, commit)

    def come_from_outside(self) -> None:
        member = self.fresh(ours=self.chance.random() < 0.5)
        commit, self.group_info = member.rejoin(self.group_info)
        self.spread(member, commit)
        self.members.append(member)

    def resumption(self) -> None:
        """The group's own secret of this epoch, mixed into the next."""
        epoch, nonce = self.members[0].view()[0], self.chance.randbytes(self.suite.hash_length)
        group = f"group {self.seed}".encode()
        self.commit(self.pick(), [{"kind": "resumption", "group": group, "epoch": epoch, "nonce": nonce}])

    def extensions(self) -> None:
        """Ours replaces the group's extensions, by a list that is not empty: docs/MLS.md says why."""
        ours = [member for member in self.members if isinstance(member, Ours)]
        if not ours:
            return
        credential_types = self.chance.choice([(), (1,)])
        required = mls.RequiredCapabilities(credential_types=credential_types).to_extension()
        listed = [(required.type, required.data)]
        self.commit(self.chance.choice(ours), [{"kind": "extensions", "list": listed}])

    def talk(self) -> None:
        sender, text = self.pick(), self.chance.randbytes(self.chance.randrange(300))
        message = sender.send(text, self.chance.randbytes(3))
        for member in self.members:
            if member is not sender:
                assert member.receive(message) == text

    def talk_out_of_order(self) -> None:
        sender = self.pick()
        sent = [(text, sender.send(text, b"")) for text in (b"one", b"two", b"three", b"four")]
        self.chance.shuffle(sent)
        for text, message in sent:
            for member in self.members:
                if member is not sender:
                    assert member.receive(message) == text
