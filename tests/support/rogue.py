"""A member that breaks the rules, and a stranger with keys of its own: what an attacker can make."""

from __future__ import annotations

from collections.abc import Sequence

from client_sdk.engine.account import Account, create_account
from client_sdk.engine.key_packages import capabilities, lifetime
from client_sdk.engine.membership import Made
from client_sdk.identity import generate_key_pair
from client_sdk.mls import (
    SUITE_XWING,
    Add,
    BasicCredential,
    CipherSuite,
    Credential,
    GroupState,
    KeyPackage,
    LeafNode,
    MLSMessage,
    Proposal,
    Remove,
    SignatureKeyPair,
    create_commit,
    create_external_commit,
    generate_key_package,
    verify_key_package,
)
from relay.wire import Bundle
from relay.wire.ids import DeviceId, UserId, device_id
from tests.support.fake_relay import PORTAL
from tests.support.fake_time import SeededRandom


class Anyone:
    """An authentication service that accepts everybody: the rogue's, never ours."""

    def verify_credential(self, credential: Credential, signature_key: bytes) -> None:
        """Whoever it is."""

    def verify_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Whoever it is."""


def stranger(user: str, seed: str = "stranger") -> Account:
    """Somebody with keys of their own who claims to be this user."""
    return create_account(PORTAL, UserId(user), "", SeededRandom(f"{seed} {user}"))


def package_of(
    account: Account, now: int, *, credential: Credential | None = None, suite: CipherSuite = SUITE_XWING
) -> bytes:
    """A key package of this account's device, as it is published."""
    bundle = generate_key_package(
        suite,
        account.signer,
        credential or account.credential,
        lifetime=lifetime(now),
        rng=SeededRandom(f"package {account.device.hex()}"),
        capabilities=capabilities(),
    )
    return MLSMessage(bundle.key_package).serialize()


def forged_package(victim_manifest: bytes, now: int) -> tuple[DeviceId, bytes]:
    """A key package with somebody else's device list and a key that is not on it."""
    key = generate_key_pair(SeededRandom("forger"))
    signer = SignatureKeyPair(key.public, key.private)
    bundle = generate_key_package(
        SUITE_XWING,
        signer,
        BasicCredential(victim_manifest),
        lifetime=lifetime(now),
        rng=SeededRandom("forged"),
        capabilities=capabilities(),
    )
    return device_id(key.public), MLSMessage(bundle.key_package).serialize()


def rogue_commit(
    group: GroupState,
    *,
    now: int,
    add: Sequence[bytes] = (),
    remove: Sequence[int] = (),
    more: Sequence[Proposal] = (),
    names: tuple[tuple[DeviceId, ...], tuple[DeviceId, ...]] | None = None,
) -> Made:
    """A member's commit that asks nobody, with these names in its bundle (or the true ones)."""
    packages = [MLSMessage.parse(package).body for package in add]
    parsed = [package for package in packages if isinstance(package, KeyPackage)]
    adds = [Add(verify_key_package(p, suite=group.suite, auth=Anyone(), now=now)) for p in parsed]
    removed = [leaf for index in remove if (leaf := group.member(index)) is not None]
    output = create_commit(
        group,
        [*(Remove(index) for index in remove), *adds, *more],
        auth=Anyone(),
        now=now,
        rng=SeededRandom("rogue"),
    )
    true_names = (
        tuple(device_id(package.leaf_node.signature_key) for package in parsed),
        tuple(device_id(leaf.signature_key) for leaf in removed),
    )
    added, gone = names or true_names
    bundle = Bundle(
        adds=added,
        removes=gone,
        commit=output.commit,
        welcome=output.welcome,
        group_info=output.group_info,
    )
    return Made(bundle.serialize(), output.state, output.current)


def strangers_external_commit(group_info: bytes, account: Account, *, remove: int | None, now: int) -> bytes:
    """The bundle by which a stranger would make itself a member."""
    output = create_external_commit(
        group_info,
        account.signer,
        account.credential,
        remove=remove,
        auth=Anyone(),
        now=now,
        rng=SeededRandom("external"),
        capabilities=capabilities(),
    )
    return Bundle(commit=output.commit, group_info=output.group_info).serialize()
