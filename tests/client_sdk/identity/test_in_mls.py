"""The credential policy and the membership rules around real MLS groups."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from client_sdk import mls
from client_sdk.errors import ConversationInfoInvalid, CredentialRefused
from client_sdk.identity import (
    EXTENSION_TYPE,
    ConversationInfo,
    CredentialPolicy,
    VerifiedManifest,
    check_commit,
    check_joined,
    view_of,
)
from relay.wire.ids import PortalId, device_id

from .people import ENGAGEMENT, PORTAL, Person, info_of

NOW = 1_800_000_000
LIFETIME = mls.Lifetime(NOW - 3600, NOW + 3600)
SUITE = mls.SUITE_3
CAPABILITIES = mls.default_capabilities([EXTENSION_TYPE])
POLICY = CredentialPolicy(PORTAL)


@dataclass
class Device:
    """One device of a person, with the manifest in its credential."""

    person: Person
    number: int = 0
    manifest: VerifiedManifest | None = None

    def __post_init__(self) -> None:
        key = self.person.devices[self.number]
        self.signer = mls.SignatureKeyPair(key.public, key.private)
        self.credential = mls.BasicCredential((self.manifest or self.person.manifest).raw)
        self.id = device_id(key.public)

    def package(self) -> mls.KeyPackageBundle:
        return mls.generate_key_package(
            SUITE,
            self.signer,
            self.credential,
            lifetime=LIFETIME,
            rng=self.person.rng,
            capabilities=CAPABILITIES,
        )


def extensions(info: ConversationInfo) -> tuple[mls.Extension, ...]:
    return (mls.RequiredCapabilities((EXTENSION_TYPE,), (), ()).to_extension(), info.to_extension())


def created(device: Device, info: ConversationInfo) -> mls.GroupState:
    return mls.create_group(
        SUITE,
        info.group_id,
        device.signer,
        device.credential,
        lifetime=LIFETIME,
        rng=device.person.rng,
        extensions=extensions(info),
        capabilities=CAPABILITIES,
    )


def added(
    state: mls.GroupState, by: Device, bundle: mls.KeyPackageBundle, info: ConversationInfo
) -> mls.CommitOutput:
    policy = CredentialPolicy(PORTAL, info)
    package = mls.verify_key_package(bundle.key_package, suite=SUITE, auth=policy, now=NOW)
    proposals: list[mls.Proposal] = [mls.Add(package), mls.GroupContextExtensions(extensions(info))]
    return mls.create_commit(state, proposals, auth=POLICY, now=NOW, rng=by.person.rng)


def test_two_people_meet_and_one_device_rejoins() -> None:
    anna, ben = Device(Person("anna")), Device(Person("ben"))
    alone = created(anna, info_of(anna.person))
    bundle = ben.package()
    output = added(alone, anna, bundle, info_of(anna.person, ben.person))
    check_commit(view_of(alone), view_of(output.state), adds=[ben.id], removes=[])
    assert output.welcome is not None
    joined = mls.join_from_welcome(output.welcome, bundle, ben.signer, auth=POLICY, now=NOW)
    check_joined(view_of(joined), portal=PORTAL, engagement=ENGAGEMENT)
    assert view_of(joined) == view_of(output.state)

    again = mls.create_external_commit(
        output.group_info,
        ben.signer,
        ben.credential,
        remove=joined.own_leaf_index,
        auth=POLICY,
        now=NOW,
        rng=ben.person.rng,
        lifetime=LIFETIME,
        capabilities=CAPABILITIES,
    )
    received = mls.process_message(output.state, again.commit, auth=POLICY, now=NOW)
    assert isinstance(received, mls.CommitReceived)
    check_commit(
        view_of(output.state), view_of(received.state), adds=[], removes=[], external=received.external
    )


def test_a_key_package_of_somebody_else_is_refused() -> None:
    anna, ben, eve = Person("anna"), Person("ben"), Person("eve")
    info = info_of(anna, ben)
    impostor = Person("ben")
    impostor.recovered(impostor.devices)
    foreign = Person("ben", portal=PortalId("elsewhere"))
    ghost = Device(ben)
    ghost.signer = Device(eve).signer  # a device that the manifest does not list
    for device in (Device(eve), Device(impostor), Device(foreign), ghost):
        with pytest.raises(CredentialRefused):
            mls.verify_key_package(
                device.package().key_package, suite=SUITE, auth=CredentialPolicy(PORTAL, info), now=NOW
            )
    mls.verify_key_package(
        Device(ben).package().key_package, suite=SUITE, auth=CredentialPolicy(PORTAL, info), now=NOW
    )


def test_another_credential_is_refused() -> None:
    for credential in (mls.OpaqueCredential(2, b"x509"), mls.BasicCredential(b"anna")):
        with pytest.raises(CredentialRefused):
            POLICY.verify_credential(credential, bytes(32))


def test_a_leaf_is_followed_only_by_its_own_users() -> None:
    anna, ben = Person("anna"), Person("ben")
    first = anna.manifest
    anna.link()
    old_list, new_list = Device(anna, 0, first), Device(anna)
    leaf = {
        name: device.package().key_package.leaf_node
        for name, device in {"old": old_list, "new": new_list, "ben": Device(ben)}.items()
    }
    POLICY.verify_successor(leaf["old"], leaf["new"])
    POLICY.verify_successor(leaf["new"], leaf["new"])
    for old, new in (("new", "old"), ("old", "ben"), ("ben", "new")):
        with pytest.raises(CredentialRefused):
            POLICY.verify_successor(leaf[old], leaf[new])


def test_a_group_without_our_extension_is_no_conversation() -> None:
    anna = Device(Person("anna"))
    state = mls.create_group(
        SUITE, b"group", anna.signer, anna.credential, lifetime=LIFETIME, rng=anna.person.rng
    )
    with pytest.raises(ConversationInfoInvalid):
        view_of(state)
