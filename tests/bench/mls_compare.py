"""MLS beside ts-mls in the same run: messages, commits and joins, by group size and cipher suite.

    python -m tests.bench.mls_compare [--quick]

One group holds members of both. Half of its leaves are renewed by external commits first, so that the tree is
filled as in a group that has lived; times are medians, in microseconds. Without Node only ours are measured.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from client_sdk import mls
from tests.interop.history import LIFETIME, NOW, Ours
from tests.interop.tsmls import InstallError, TsMls, install, missing
from tests.mls.support import Auth

SUITES = {"1": mls.SUITE_1, "3": mls.SUITE_3, "X-Wing": mls.SUITE_XWING}
SIZES = (2, 10, 50, 250)
PAYLOAD = bytes(512)
MESSAGE_REPEATS = 300
GROUP_REPEATS = 9
WHAT = ("encrypt", "decrypt", "commit", "process", "join")
TARGETS = {"encrypt": 200.0, "decrypt": 250.0}  # microseconds, for 512 bytes


@dataclass
class Measured:
    """One group: two members of ours, two of ts-mls if there is one."""

    first: Ours
    second: Ours
    node: TsMls | None
    prefix: str


def timed(action: Callable[[], object], repeats: int) -> float:
    """The median time of an action in microseconds."""
    taken = []
    gc.disable()
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            action()
            taken.append((time.perf_counter() - start) * 1e6)
    finally:
        gc.enable()
    return median(taken)


def their_package(node: TsMls, name: str, suite: mls.CipherSuite) -> bytes:
    node.ask("announce", identity=name.encode())
    bounds = (LIFETIME.not_before, LIFETIME.not_after)
    return bytes.fromhex(node.ask("client", name=name, suite=suite.id, lifetime=bounds)["package"])


def build(suite: mls.CipherSuite, size: int, node: TsMls | None) -> Measured:
    """A group of ``size``: ours first, then ts-mls's, then members that are never online again."""
    prefix = f"bench {suite.id} {size}"
    first, second = Ours(f"{prefix} a", suite), Ours(f"{prefix} b", suite)
    first.create(prefix.encode())
    theirs = [f"{prefix} ts {number}" for number in range(2)] if node and size > 2 else []
    packages = [second.package(), *(their_package(node, name, suite) for name in theirs if node)]
    ghosts = [Ours(f"{prefix} ghost {number}", suite) for number in range(size - 1 - len(packages))]
    packages += [ghost.package() for ghost in ghosts]
    if node:
        for member in (first, second, *ghosts):
            node.ask("announce", identity=member.name.encode())
    _, welcome, info = first.commit([{"kind": "add", "package": package} for package in packages])
    if welcome is None:
        raise RuntimeError("the commit has no Welcome")
    second.join(welcome)
    for name in theirs:
        if node:
            node.ask("join", name=name, welcome=welcome)
    for ghost in ghosts[::2]:
        info = renew(ghost, info, first, second, node, theirs)
    return Measured(first, second, node if theirs else None, prefix)


def renew(
    ghost: Ours, info: bytes, first: Ours, second: Ours, node: TsMls | None, theirs: list[str]
) -> bytes:
    """A member comes back by external commit: its path is filled."""
    if ghost.bundle is None:
        raise RuntimeError("a member without a key package")
    mine = ghost.bundle.key_package.leaf_node.encoded
    leaf = next(member.leaf_index for member in first.at.members if member.leaf_node.encoded == mine)
    made = mls.create_external_commit(
        info, ghost.signer, ghost.credential, remove=leaf, auth=Auth(), now=NOW, rng=ghost.rng
    )
    for member in (first, second):
        received = mls.process_message(member.at, made.commit, auth=Auth(), now=NOW)
        if not isinstance(received, mls.CommitReceived):
            raise RuntimeError("the commit removed a member")
        member.state = received.state
    for name in theirs:
        if node:
            node.ask("receive", name=name, message=made.commit)
    return made.group_info


def measure_ours(group: Measured, suite: mls.CipherSuite) -> dict[str, float]:
    """Each operation by our members; nothing they do is kept."""
    auth, first, second = Auth(), group.first, group.second
    sent: list[bytes] = []
    encrypted = timed(lambda: sent.append(first.send(PAYLOAD, b"")), MESSAGE_REPEATS)
    waiting = iter(sent)

    def decrypt() -> None:
        received = mls.process_message(second.at, next(waiting), auth=auth, now=NOW)
        if isinstance(received, mls.ApplicationReceived):
            second.state = received.state

    decrypted = timed(decrypt, MESSAGE_REPEATS)

    def commit(proposals: tuple[mls.Proposal, ...] = ()) -> mls.CommitOutput:
        return mls.create_commit(first.at, proposals, auth=auth, now=NOW, rng=first.rng)

    output = commit()
    joiner = Ours(f"{group.prefix} joiner", suite)
    joiner.package()
    if joiner.bundle is None:
        raise RuntimeError("no key package")
    bundle = joiner.bundle
    verified = mls.verify_key_package(bundle.key_package, suite=suite, auth=auth, now=NOW)
    welcome = commit((mls.Add(verified),)).welcome or b""
    return {
        "encrypt": encrypted,
        "decrypt": decrypted,
        "commit": timed(commit, GROUP_REPEATS),
        "process": timed(
            lambda: mls.process_message(second.at, output.commit, auth=auth, now=NOW), GROUP_REPEATS
        ),
        "join": timed(
            lambda: mls.join_from_welcome(welcome, bundle, joiner.signer, auth=auth, now=NOW), GROUP_REPEATS
        ),
    }


def pair_of_theirs(node: TsMls, suite: mls.CipherSuite, prefix: str) -> None:
    """A group of two ts-mls members."""
    names = [f"{prefix} ts {number}" for number in range(2)]
    packages = [their_package(node, name, suite) for name in names]
    node.ask("create", name=names[0], group=prefix.encode())
    made = node.ask("commit", name=names[0], list=[{"kind": "add", "package": packages[1]}])
    node.ask("join", name=names[1], welcome=made["welcome"])


def measure_theirs(node: TsMls, suite: mls.CipherSuite, prefix: str) -> dict[str, float]:
    """The same by ts-mls, timed within Node."""
    joiner = f"{prefix} ts joiner"
    package = their_package(node, joiner, suite)
    answer: dict[str, Any] = node.ask(
        "bench",
        first=f"{prefix} ts 0",
        second=f"{prefix} ts 1",
        joiner=joiner,
        package=package,
        payload=PAYLOAD,
        messages=MESSAGE_REPEATS,
        repeats=GROUP_REPEATS,
    )
    return {what: float(answer[what]) for what in WHAT}


def start_node() -> TsMls | None:
    """ts-mls, or None with the reason said."""
    reason = missing()
    if reason is None:
        try:
            install()
            return TsMls()
        except InstallError as error:
            reason = str(error)
    print(f"without ts-mls: {reason}")
    return None


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a message misses its target or a commit or join at 50 is slower than ts-mls's."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    node, missed = start_node(), []
    print(
        f"{'suite':>6} {'members':>7} " + " ".join(f"{what:>19}" for what in WHAT) + "   (ours / ts-mls, us)"
    )
    for label, suite in SUITES.items():
        for size in SIZES[:2] if quick else SIZES:
            group = build(suite, size, node)
            ours, theirs = measure_ours(group, suite), None
            if node is not None:
                if size == 2:
                    pair_of_theirs(node, suite, group.prefix)
                theirs = measure_theirs(node, suite, group.prefix)
            cells = [
                f"{ours[what]:9.0f} /{theirs[what]:8.0f}" if theirs else f"{ours[what]:19.0f}"
                for what in WHAT
            ]
            print(f"{label:>6} {size:>7} " + " ".join(cells), flush=True)
            missed += [f"{label}, {size}: {what}" for what, most in TARGETS.items() if ours[what] > most]
            if theirs and size == 50:
                missed += [
                    f"{label}, {size}: {what}"
                    for what in ("commit", "process", "join")
                    if ours[what] > theirs[what]
                ]
    if node is not None:
        node.close()
    print("missed: " + "; ".join(missed) if missed else "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
