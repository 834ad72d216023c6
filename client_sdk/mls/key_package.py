"""Key packages: how a client is added while it is away (RFC 9420 section 10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from .codec import Reader, opaque, parse_all, u8, u16
from .credentials import AuthenticationService, Credential, SignatureKeyPair
from .errors import DecodeError, ValidationError
from .extensions import (
    LAST_RESORT,
    Extension,
    Extensions,
    check_unique,
    find_extension,
    parse_extensions,
    serialize_extensions,
)
from .hpke import Rng
from .leaf_node import (
    MLS_VERSION,
    Capabilities,
    LeafNode,
    LeafSource,
    Lifetime,
    default_capabilities,
    parse_leaf_node,
)
from .suites import CipherSuite
from .validation import MAX_LEAF_LIFETIME, check_leaf, check_lifetime_total

_LABEL = b"KeyPackageTBS"
_REF_LABEL = b"MLS 1.0 KeyPackage Reference"
_BUNDLE_VERSION = 1


@dataclass(frozen=True)  # not slotted: the encoding is cached
class KeyPackage:
    """A client's offer to be added; unverified until `verify_key_package` returns it so."""

    version: int
    cipher_suite: int
    init_key: bytes
    leaf_node: LeafNode
    extensions: Extensions
    signature: bytes

    @cached_property
    def encoded(self) -> bytes:
        """The canonical encoding."""
        return self.tbs + opaque(self.signature)

    @property
    def tbs(self) -> bytes:
        """The signed part."""
        return b"".join(
            (
                u16(self.version),
                u16(self.cipher_suite),
                opaque(self.init_key),
                self.leaf_node.encoded,
                serialize_extensions(self.extensions),
            )
        )

    def ref(self, suite: CipherSuite) -> bytes:
        """The KeyPackageRef (section 5.2)."""
        return suite.ref_hash(_REF_LABEL, self.encoded)

    def serialize(self) -> bytes:
        """Encode the bare KeyPackage."""
        return self.encoded

    @staticmethod
    def parse(data: bytes) -> KeyPackage:
        """Decode a bare KeyPackage that fills ``data``."""
        return parse_all(data, parse_key_package)


def parse_key_package(reader: Reader) -> KeyPackage:
    """Decode a KeyPackage."""
    return KeyPackage(
        version=reader.u16(),
        cipher_suite=reader.u16(),
        init_key=reader.opaque(),
        leaf_node=parse_leaf_node(reader),
        extensions=parse_extensions(reader),
        signature=reader.opaque(),
    )


@dataclass(frozen=True, slots=True)
class KeyPackageBundle:
    """A key package with its private keys, which the owner deletes after the Welcome."""

    key_package: KeyPackage
    init_private: bytes = field(repr=False)
    encryption_private: bytes = field(repr=False)
    ref: bytes

    def serialize(self) -> bytes:
        """Encode for the vault; the output is secret."""
        parts = (self.key_package.encoded, self.init_private, self.encryption_private, self.ref)
        return u8(_BUNDLE_VERSION) + b"".join(opaque(part) for part in parts)

    @staticmethod
    def parse(data: bytes) -> KeyPackageBundle:
        """Decode what `serialize` wrote."""
        return parse_all(data, _parse_bundle)


def _parse_bundle(reader: Reader) -> KeyPackageBundle:
    if reader.u8() != _BUNDLE_VERSION:
        raise DecodeError("BUNDLE-VERSION", "the key package bundle is of an unknown version")
    return KeyPackageBundle(
        key_package=KeyPackage.parse(reader.opaque()),
        init_private=reader.opaque(),
        encryption_private=reader.opaque(),
        ref=reader.opaque(),
    )


@dataclass(frozen=True, slots=True)
class VerifiedKeyPackage:
    """A key package `verify_key_package` has accepted: the only thing an Add takes."""

    key_package: KeyPackage


def own_leaf(
    suite: CipherSuite,
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    encryption_key: bytes,
    lifetime: Lifetime,
    capabilities: Capabilities,
    leaf_extensions: Iterable[Extension],
) -> LeafNode:
    """A signed leaf node with source key_package."""
    extensions = tuple(leaf_extensions)
    check_unique(extensions)
    leaf = LeafNode(
        encryption_key=encryption_key,
        signature_key=signer.public,
        credential=credential,
        capabilities=capabilities,
        source=LeafSource.KEY_PACKAGE,
        lifetime=lifetime,
        parent_hash=None,
        extensions=extensions,
        signature=b"",
    )
    return leaf.signed_by(suite, signer, b"", 0)


def generate_key_package(
    suite: CipherSuite,
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    lifetime: Lifetime,
    rng: Rng,
    capabilities: Capabilities | None = None,
    extensions: Iterable[Extension] = (),
    leaf_extensions: Iterable[Extension] = (),
    last_resort: bool = False,
) -> KeyPackageBundle:
    """A fresh, signed key package with its private keys (section 10)."""
    marks = (Extension(LAST_RESORT, b""),) if last_resort else ()
    shown, own_extensions = tuple(leaf_extensions), (*extensions, *marks)
    check_unique(own_extensions)
    types = [extension.type for extension in (*shown, *own_extensions)]
    init, encryption = suite.kem.generate_key_pair(rng), suite.kem.generate_key_pair(rng)
    leaf = own_leaf(
        suite,
        signer,
        credential,
        encryption_key=encryption.public,
        lifetime=lifetime,
        capabilities=capabilities or default_capabilities(types),
        leaf_extensions=shown,
    )
    unsigned = KeyPackage(MLS_VERSION, suite.id, init.public, leaf, own_extensions, b"")
    package = replace(unsigned, signature=signer.sign(suite, _LABEL, unsigned.tbs))
    return KeyPackageBundle(package, init.private, encryption.private, package.ref(suite))


def check_key_package(
    package: KeyPackage, *, suite: CipherSuite, auth: AuthenticationService, max_lifetime: int
) -> None:
    """Everything about a key package that does not depend on the clock (section 10.1)."""
    if package.version != MLS_VERSION:
        raise ValidationError("KP-VERSION", "the key package is for another protocol version")
    if package.cipher_suite != suite.id:
        raise ValidationError("KP-SUITE", "the key package is for another cipher suite")
    leaf = package.leaf_node
    if leaf.source is not LeafSource.KEY_PACKAGE:
        raise ValidationError("KP-LEAF-SOURCE", "the key package's leaf was not made for a key package")
    if package.init_key == leaf.encryption_key:
        raise ValidationError("KP-INIT-KEY", "the init key equals the leaf's encryption key")
    suite.kem.check_public(package.init_key)
    suite.verify_with_label(leaf.signature_key, _LABEL, package.tbs, package.signature, "KP-SIGNATURE")
    last_resort = find_extension(package.extensions, LAST_RESORT)
    if last_resort:
        raise ValidationError("KP-LAST-RESORT", "the last_resort extension is not empty")
    check_lifetime_total(leaf, max_lifetime)
    check_leaf(leaf, suite=suite, auth=auth, group_id=b"", leaf_index=0)


def check_key_package_now(package: KeyPackage, now: int) -> None:
    """The clock's part of the check: made by whoever sends the Add."""
    lifetime = package.leaf_node.lifetime
    if lifetime is None or not lifetime.contains(now):
        raise ValidationError("KP-LIFETIME", "the key package is not valid now")


def verify_key_package(
    kp: KeyPackage,
    *,
    suite: CipherSuite,
    auth: AuthenticationService,
    now: int,
    max_lifetime: int = MAX_LEAF_LIFETIME,
) -> VerifiedKeyPackage:
    """Check a key package completely (section 10.1), lifetime at ``now`` included."""
    check_key_package(kp, suite=suite, auth=auth, max_lifetime=max_lifetime)
    check_key_package_now(kp, now)
    return VerifiedKeyPackage(kp)
