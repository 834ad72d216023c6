"""MLS by group size and cipher suite, beside ts-mls in the same run: messages, commits and joins.

One group holds members of both. Some of its leaves are renewed by external commits first, so that the tree is
filled as in a group that has lived. Without Node only ours are measured.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from client_sdk import mls
from tests.bench.context import Context
from tests.bench.errors import UnexpectedError
from tests.bench.figures import MICROSECONDS, Bound, Figure, Target
from tests.bench.progress import Progress
from tests.interop.history import LIFETIME, NOW, Ours
from tests.interop.tsmls import InstallError, TsMls, install, missing
from tests.mls.support import Auth

SUITES: Final = {"1": mls.SUITE_1, "3": mls.SUITE_3, "X-Wing": mls.SUITE_XWING}
WHAT: Final = ("encrypt", "decrypt", "commit", "process", "join")
_PAYLOAD: Final = bytes(512)
_REPEATS: Final = {2: 5, 10: 5, 50: 3}  # of commits and joins, each round; once in larger groups
_RENEWED: Final = 16  # at most so many leaves: each takes a commit that all members follow
_MESSAGE_TARGETS: Final = {"encrypt": 200.0, "decrypt": 250.0}  # microseconds
_COMPARED_AT: Final = 50  # members; commits and joins there take at most as long as ts-mls's
_LABELS: Final = {"commit": "make a commit", "process": "follow a commit", "join": "join by Welcome"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigure(Figure):
    """A figure of one operation in a group of that size."""

    what: str
    members: int
    suite: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One group: two members of ours, and two of ts-mls if there is one."""

    first: Ours
    second: Ours
    node: TsMls | None
    prefix: str
    members: int


def measure_groups(context: Context) -> list[Figure]:
    """Each operation for each suite and size; rounds of ours and of ts-mls alternate."""
    node = _start_node(context.progress)
    figures: list[Figure] = []
    try:
        for label, suite in SUITES.items():
            for members in context.plan.mls_sizes:
                context.progress.say(f"mls groups: suite {label}, {members} members")
                figures += _group_figures(context, label, suite, members, node)
    finally:
        if node is not None:
            node.close()
    return figures


def _group_figures(
    context: Context, label: str, suite: mls.CipherSuite, members: int, node: TsMls | None
) -> list[GroupFigure]:
    group, messages = build(suite, members, node), max(5, context.plan.mls_messages // 15)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for _ in range(context.plan.rounds):
        ours.append(measure_ours(group, suite, messages))
        if node is not None:
            theirs.append(measure_theirs(group, suite, messages, node))
    return [
        GroupFigure(
            name=_name(what, members, label),
            unit="us",
            rounds=tuple(taken[what] for taken in ours),
            baseline_name="ts-mls" if theirs else "",
            baseline_rounds=tuple(taken[what] for taken in theirs),
            target=_target(what, members, compared=bool(theirs)),
            what=what,
            members=members,
            suite=label,
        )
        for what in WHAT
    ]


def _name(what: str, members: int, label: str) -> str:
    said = _LABELS.get(what, f"{what} {len(_PAYLOAD)} bytes")
    return f"MLS {said}, {members} members, suite {label}"


def _target(what: str, members: int, *, compared: bool) -> Target | None:
    if what in _MESSAGE_TARGETS:
        return Target(Bound.VALUE_AT_MOST, _MESSAGE_TARGETS[what])
    return Target(Bound.RATIO_AT_MOST, 1.0) if compared and members == _COMPARED_AT else None


def _start_node(progress: Progress) -> TsMls | None:
    """ts-mls, or None with the reason said."""
    reason = missing()
    if reason is None:
        try:
            install()
            return TsMls()
        except InstallError as error:
            reason = str(error)
    progress.say(f"mls groups: without ts-mls: {reason}")
    return None


def timed(action: Callable[[], object], repeats: int) -> float:
    """The median time of an action in microseconds."""
    taken = []
    gc.disable()
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            action()
            taken.append((time.perf_counter() - start) * MICROSECONDS)
    finally:
        gc.enable()
    return median(taken)


# ---- the group ---------------------------------------------------------------------------------------


def build(suite: mls.CipherSuite, members: int, node: TsMls | None) -> Measured:
    """A group of that many: ours, members that are never online again, and last ts-mls's."""
    prefix = f"bench {suite.id} {members}"
    first, second = Ours(f"{prefix} a", suite), Ours(f"{prefix} b", suite)
    first.create(prefix.encode())
    theirs = [their_name(prefix, number) for number in range(2)] if node and members > 2 else []
    ghosts = [Ours(f"{prefix} ghost {number}", suite) for number in range(members - 2 - len(theirs))]
    if node:
        for member in (first, second, *ghosts):
            node.ask("announce", identity=member.name.encode())
    info, welcome = add(first, [member.package() for member in (second, *ghosts)])
    second.join(welcome)
    for ghost in ghosts[:: max(2, len(ghosts) // _RENEWED)]:
        info = renew(ghost, info, first, second)
    if node and theirs:
        join_theirs(node, suite, theirs, first, second)
    elif node:
        found_theirs(node, suite, prefix)
    return Measured(first, second, node, prefix, members)


def their_name(prefix: str, number: int) -> str:
    """The name of a ts-mls member."""
    return f"{prefix} ts {number}"


def add(adder: Ours, packages: list[bytes]) -> tuple[bytes, bytes]:
    """Add them all by one commit; the GroupInfo and the Welcome."""
    _, welcome, info = adder.commit([{"kind": "add", "package": package} for package in packages])
    if welcome is None:
        raise UnexpectedError("a commit with Adds made no Welcome")
    return info, welcome


def follow(member: Ours, commit: bytes) -> None:
    """One of ours follows a commit."""
    received = mls.process_message(member.at, commit, auth=Auth(), now=NOW)
    if not isinstance(received, mls.CommitReceived):
        raise UnexpectedError("a commit removed a member")
    member.state = received.state


def renew(ghost: Ours, info: bytes, first: Ours, second: Ours) -> bytes:
    """A member comes back by external commit: its path is filled."""
    if ghost.bundle is None:
        raise UnexpectedError("a member has no key package")
    mine = ghost.bundle.key_package.leaf_node.encoded
    leaf = next(member.leaf_index for member in first.at.members if member.leaf_node.encoded == mine)
    made = mls.create_external_commit(
        info, ghost.signer, ghost.credential, remove=leaf, auth=Auth(), now=NOW, rng=ghost.rng
    )
    for member in (first, second):
        follow(member, made.commit)
    return made.group_info


def their_package(node: TsMls, name: str, suite: mls.CipherSuite) -> bytes:
    """A key package of a ts-mls client."""
    bounds = (LIFETIME.not_before, LIFETIME.not_after)
    return bytes.fromhex(node.ask("client", name=name, suite=suite.id, lifetime=bounds)["package"])


def join_theirs(node: TsMls, suite: mls.CipherSuite, names: list[str], first: Ours, second: Ours) -> None:
    """Two ts-mls members come in."""
    packages = [their_package(node, name, suite) for name in names]
    items = [{"kind": "add", "package": package} for package in packages]
    commit, welcome, _ = first.commit(items)
    follow(second, commit)
    for name in names:
        node.ask("join", name=name, welcome=welcome)


def found_theirs(node: TsMls, suite: mls.CipherSuite, prefix: str) -> None:
    """A group of two ts-mls members."""
    names = [their_name(prefix, number) for number in range(2)]
    packages = [their_package(node, name, suite) for name in names]
    node.ask("create", name=names[0], group=prefix.encode())
    made = node.ask("commit", name=names[0], list=[{"kind": "add", "package": packages[1]}])
    node.ask("join", name=names[1], welcome=made["welcome"])


# ---- the operations ----------------------------------------------------------------------------------


def measure_ours(group: Measured, suite: mls.CipherSuite, messages: int) -> dict[str, float]:
    """Each operation by our members; nothing they do is kept but the message keys."""
    auth, first, second = Auth(), group.first, group.second
    repeats, sent = _REPEATS.get(group.members, 1), list[bytes]()
    encrypted = timed(lambda: sent.append(first.send(_PAYLOAD, b"")), messages)
    waiting = iter(sent)

    def decrypt() -> None:
        received = mls.process_message(second.at, next(waiting), auth=auth, now=NOW)
        if isinstance(received, mls.ApplicationReceived):
            second.state = received.state

    def commit(proposals: tuple[mls.Proposal, ...] = ()) -> mls.CommitOutput:
        return mls.create_commit(first.at, proposals, auth=auth, now=NOW, rng=first.rng)

    decrypted, output = timed(decrypt, messages), commit()
    joiner = Ours(f"{group.prefix} joiner", suite)
    joiner.package()
    bundle = joiner.bundle
    if bundle is None:
        raise UnexpectedError("a client has no key package")
    verified = mls.verify_key_package(bundle.key_package, suite=suite, auth=auth, now=NOW)
    welcome = commit((mls.Add(verified),)).welcome or b""
    return {
        "encrypt": encrypted,
        "decrypt": decrypted,
        "commit": timed(commit, repeats),
        "process": timed(lambda: mls.process_message(second.at, output.commit, auth=auth, now=NOW), repeats),
        "join": timed(
            lambda: mls.join_from_welcome(welcome, bundle, joiner.signer, auth=auth, now=NOW), repeats
        ),
    }


def measure_theirs(group: Measured, suite: mls.CipherSuite, messages: int, node: TsMls) -> dict[str, float]:
    """The same by ts-mls, timed within Node."""
    joiner = f"{group.prefix} ts joiner"
    answer: dict[str, Any] = node.ask(
        "bench",
        first=their_name(group.prefix, 0),
        second=their_name(group.prefix, 1),
        joiner=joiner,
        package=their_package(node, joiner, suite),
        payload=_PAYLOAD,
        messages=messages,
        repeats=_REPEATS.get(group.members, 1),
    )
    return {what: float(answer[what]) for what in WHAT}
