"""Values nobody knows are ignored where the RFC says so, and refused where it says so (section 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import committing
from client_sdk.mls.codec import parse_all
from client_sdk.mls.extensions import DEFAULT_EXTENSIONS
from client_sdk.mls.proposals import parse_proposal

from .support import Client, Group, refused, unchecked

GREASE = [0x0A0A + 0x1010 * step for step in range(15)]


def greased(values: tuple[int, ...]) -> tuple[int, ...]:
    return (GREASE[0], *values, GREASE[7], GREASE[14])


def capabilities() -> mls.Capabilities:
    plain = mls.default_capabilities()
    return replace(
        plain,
        cipher_suites=greased(plain.cipher_suites),
        extensions=greased(plain.extensions),
        proposals=greased(plain.proposals),
        credentials=greased(plain.credentials),
    )


def test_a_greased_member_is_a_member_like_any_other() -> None:
    group = Group("anna", "ben")
    leaf = [mls.Extension(GREASE[0], b"anything")]
    options: dict[str, object] = {
        "capabilities": capabilities(),
        "leaf_extensions": leaf,
        "extensions": [mls.Extension(GREASE[3], b"ignored")],
    }
    group.add("anna", "cleo", bundle_options=options)
    group.talk()
    group.commit("cleo")
    group.rejoin("ben", group.leaf("ben"))
    group.talk()
    group.check_agreement()


def test_unknown_extensions_of_a_group_info_are_ignored() -> None:
    group, dan = Group("anna", "ben"), Client("dan")
    bundle, real = dan.bundle(), committing._group_info

    def with_grease(state: mls.GroupState, extensions: tuple[mls.Extension, ...]) -> mls.GroupInfo:
        return real(state, (*extensions, mls.Extension(GREASE[5], b"noise")))

    with unchecked(committing__group_info=with_grease):
        welcome = group.commit_welcome("anna", bundle.key_package)
    assert dan.join(welcome, bundle).epoch == group.states["anna"].epoch


def test_a_greased_extension_of_the_group_is_one_that_nobody_supports() -> None:
    group = Group("anna", "ben")
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [mls.GroupContextExtensions((mls.Extension(GREASE[2], b""),))])
    assert caught.value.rule == "GROUP-EXTENSIONS"


@pytest.mark.parametrize("value", GREASE)
def test_a_greased_proposal_is_refused(value: int) -> None:
    with pytest.raises(mls.DecodeError) as caught:
        parse_all(value.to_bytes(2) + b"\0", parse_proposal)
    assert caught.value.rule == "PROPOSAL-TYPE"


@pytest.mark.parametrize("value", [GREASE[0], GREASE[14]])
def test_a_credential_of_a_kind_the_others_do_not_know_is_refused(value: int) -> None:
    group, dan = Group("anna", "ben"), Client("dan")
    dan.credential = mls.OpaqueCredential(value, b"who knows")  # type: ignore[assignment]  # not a basic one
    able = replace(mls.default_capabilities(), credentials=(1, value))
    package = mls.KeyPackage.parse(dan.bundle(capabilities=able).key_package.serialize())
    add = mls.Add(group.clients["anna"].verified(package))
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [add])
    assert caught.value.rule == "LEAF-CREDENTIAL-MUTUAL"
    with unchecked():
        output = group.clients["anna"].commit(group.states["anna"], [add])
    refused(group, "ben", output.commit, "LEAF-CREDENTIAL-MUTUAL")


@pytest.mark.parametrize("value", GREASE)
def test_unknown_extensions_of_packages_and_leaves_are_ignored(value: int) -> None:
    group, dan = Group("anna", "ben"), Client("dan")
    bundle = dan.bundle(
        extensions=(mls.Extension(value, b"in the package"),),
        leaf_extensions=(mls.Extension(value, b"in the leaf"),),
    )
    group.clients["dan"], group.states["dan"] = (
        dan,
        dan.join(group.commit_welcome("anna", bundle.key_package), bundle),
    )
    group.talk()
    assert dan.credential == group.states["ben"].members[2].leaf_node.credential


def test_what_every_client_supports_is_not_listed() -> None:
    """Section 7.2: default types must not be among the capabilities."""
    assert not DEFAULT_EXTENSIONS & set(mls.default_capabilities([1, 3, 5, 0xF001]).extensions)
    required = mls.RequiredCapabilities().to_extension()
    state = Client("anna").create(extensions=[required])
    assert not DEFAULT_EXTENSIONS & set(state.own_leaf.capabilities.extensions)


def test_our_own_capabilities_hold_nothing_we_cannot_do() -> None:
    ours = mls.default_capabilities()
    assert ours.cipher_suites == (1, 3, 0xF00E)
    assert (ours.versions, ours.proposals, ours.credentials) == ((1,), (), (1,))
