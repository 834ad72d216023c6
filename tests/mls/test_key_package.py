"""Key packages and leaves: everything a rogue publisher may get wrong is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls.extensions import LAST_RESORT
from client_sdk.mls.leaf_node import LeafSource

from .support import DAY, LIFETIME, NOW, Auth, Client, RefusedError, seeded

CAPABILITIES = mls.default_capabilities()


def verify(package: mls.KeyPackage, **options: object) -> mls.VerifiedKeyPackage:
    arguments = {"suite": mls.SUITE_1, "auth": Auth(), "now": NOW, **options}
    return mls.verify_key_package(package, **arguments)  # type: ignore[arg-type]  # options of any kind


def resign(
    client: Client, package: mls.KeyPackage, leaf: mls.LeafNode | None = None, **changes: object
) -> mls.KeyPackage:
    """The package with changes, correctly signed again at both levels."""
    leaf = (leaf or package.leaf_node).signed_by(mls.SUITE_1, client.signer, b"", 0)
    unsigned = replace(package, leaf_node=leaf, **changes)  # type: ignore[arg-type]  # changes of any kind
    return replace(unsigned, signature=client.signer.sign(mls.SUITE_1, b"KeyPackageTBS", unsigned.tbs))


@pytest.fixture
def client() -> Client:
    return Client("anna")


def test_a_good_package_passes_and_comes_back(client: Client) -> None:
    bundle = client.bundle(leaf_extensions=(mls.Extension(0xF001, b"x"),), last_resort=True)
    package = mls.KeyPackage.parse(bundle.key_package.serialize())
    assert verify(package).key_package == bundle.key_package
    assert mls.Extension(LAST_RESORT, b"") in package.extensions
    assert mls.KeyPackageBundle.parse(bundle.serialize()) == bundle
    assert package.ref(mls.SUITE_1) == bundle.ref
    message = mls.MLSMessage(package).serialize()
    assert mls.MLSMessage.parse(message).body == package


def test_unknown_and_grease_values_are_carried(client: Client) -> None:
    grease = mls.Capabilities((1, 0x0A0A), (1, 0x1A1A), (0x2A2A, 0xF001), (0x3A3A,), (1, 0x4A4A))
    bundle = client.bundle(
        capabilities=grease,
        extensions=(mls.Extension(0x5A5A, b"any"),),
        leaf_extensions=(mls.Extension(0x2A2A, b""),),
    )
    assert verify(mls.KeyPackage.parse(bundle.key_package.serialize())).key_package == bundle.key_package


def test_a_package_lists_the_extensions_it_carries(client: Client) -> None:
    """Section 10: all extensions of package and leaf are among the leaf's capabilities."""
    bundle = client.bundle(
        extensions=(mls.Extension(0xF003, b""),),
        leaf_extensions=(mls.Extension(0xF002, b""), mls.Extension(1, b"")),
        last_resort=True,
    )
    assert bundle.key_package.leaf_node.capabilities.extensions == (0x000A, 0xF002, 0xF003)
    verify(bundle.key_package)


LEAF_CASES: list[tuple[str, Callable[[mls.LeafNode], mls.LeafNode]]] = [
    ("KP-LEAF-SOURCE", lambda leaf: replace(leaf, source=LeafSource.UPDATE, lifetime=None)),
    ("LEAF-VERSION", lambda leaf: replace(leaf, capabilities=replace(CAPABILITIES, versions=(2,)))),
    ("LEAF-SUITE", lambda leaf: replace(leaf, capabilities=replace(CAPABILITIES, cipher_suites=(3,)))),
    ("LEAF-CREDENTIAL", lambda leaf: replace(leaf, capabilities=replace(CAPABILITIES, credentials=(2,)))),
    ("LEAF-EXTENSIONS", lambda leaf: replace(leaf, extensions=(mls.Extension(0xF001, b""),))),
    ("LEAF-LIFETIME-ORDER", lambda leaf: replace(leaf, lifetime=mls.Lifetime(NOW, NOW - 1))),
    ("LEAF-LIFETIME-TOTAL", lambda leaf: replace(leaf, lifetime=mls.Lifetime(NOW, NOW + 367 * DAY))),
    ("KP-LIFETIME", lambda leaf: replace(leaf, lifetime=mls.Lifetime(NOW + 1, NOW + DAY))),
    ("KP-LIFETIME", lambda leaf: replace(leaf, lifetime=mls.Lifetime(NOW - DAY, NOW - 1))),
]


@pytest.mark.parametrize(("rule", "change"), LEAF_CASES)
def test_a_bad_leaf_is_refused(
    client: Client, rule: str, change: Callable[[mls.LeafNode], mls.LeafNode]
) -> None:
    package = client.bundle().key_package
    bad = resign(client, package, change(package.leaf_node))
    with pytest.raises(mls.ValidationError) as caught:
        verify(bad)
    assert caught.value.rule == rule


PACKAGE_CASES: list[tuple[str, dict[str, object]]] = [
    ("KP-VERSION", {"version": 2}),
    ("KP-SUITE", {"cipher_suite": 3}),
    ("KP-LAST-RESORT", {"extensions": (mls.Extension(0x000A, b"x"),)}),
    ("KEM-KEY", {"init_key": bytes(31)}),
]


@pytest.mark.parametrize(("rule", "changes"), PACKAGE_CASES)
def test_a_bad_package_is_refused(client: Client, rule: str, changes: dict[str, object]) -> None:
    with pytest.raises(mls.MLSError) as caught:
        verify(resign(client, client.bundle().key_package, None, **changes))
    assert caught.value.rule == rule


def test_the_init_key_is_not_the_encryption_key(client: Client) -> None:
    package = client.bundle().key_package
    with pytest.raises(mls.ValidationError) as caught:
        verify(resign(client, package, init_key=package.leaf_node.encryption_key))
    assert caught.value.rule == "KP-INIT-KEY"


def test_both_signatures_count(client: Client) -> None:
    package = client.bundle().key_package
    with pytest.raises(mls.CryptoError) as caught:
        verify(replace(package, extensions=(mls.Extension(0xF009, b""),)))
    assert caught.value.rule == "KP-SIGNATURE"
    forged = replace(package.leaf_node, credential=mls.BasicCredential(b"ben"))
    unsigned = replace(package, leaf_node=forged)
    outer_only = replace(unsigned, signature=client.signer.sign(mls.SUITE_1, b"KeyPackageTBS", unsigned.tbs))
    with pytest.raises(mls.CryptoError) as caught:
        verify(outer_only)
    assert caught.value.rule == "LEAF-SIGNATURE"


def test_every_changed_byte_is_noticed(client: Client) -> None:
    data = client.bundle().key_package.serialize()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(mls.MLSError):
            verify(mls.KeyPackage.parse(changed))


def test_the_application_is_asked_and_may_refuse(client: Client) -> None:
    package, auth = client.bundle().key_package, Auth()
    verify(package, auth=auth)
    assert auth.asked == [b"anna"]
    with pytest.raises(RefusedError):
        verify(package, auth=Auth(refuse_identity=b"anna"))


def test_own_duplicate_extensions_are_stopped(client: Client) -> None:
    twice = (mls.Extension(0xF001, b""), mls.Extension(0xF001, b""))
    for options in ({"extensions": twice}, {"leaf_extensions": twice}):
        with pytest.raises(mls.ValidationError) as caught:
            client.bundle(**options)
        assert caught.value.rule == "EXT-UNIQUE"


def test_other_credential_types_are_kept_as_they_are() -> None:
    client = Client("anna")
    credential = mls.OpaqueCredential(2, b"certificates")
    bundle = mls.generate_key_package(
        mls.SUITE_1,
        client.signer,
        credential,
        lifetime=LIFETIME,
        rng=seeded("x509"),
        capabilities=replace(CAPABILITIES, credentials=(1, 2)),
    )
    parsed = mls.KeyPackage.parse(bundle.key_package.serialize())
    assert parsed.leaf_node.credential == credential
    assert verify(parsed)


def test_a_lifetime_outside_its_type_is_a_local_fault() -> None:
    with pytest.raises(mls.UsageError):
        mls.Lifetime(-1, 5)
