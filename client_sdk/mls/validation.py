"""Checks on leaves, alone and among the other members (RFC 9420 section 7.3, 11.1, 12.1.7, 13)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .credentials import AuthenticationService
from .errors import ValidationError
from .extensions import (
    DEFAULT_EXTENSIONS,
    DEFAULT_PROPOSALS,
    Extensions,
    ExternalSender,
    RequiredCapabilities,
)
from .leaf_node import MLS_VERSION, LeafNode
from .suites import CipherSuite

MAX_LEAF_LIFETIME = 366 * 24 * 3600
"""Longest accepted lifetime of a leaf in seconds (RFC 9420 demands a maximum): a year, so that packages of
a device that is away for long still work, yet none lasts for ever."""


def check_leaf(
    leaf: LeafNode, *, suite: CipherSuite, auth: AuthenticationService, group_id: bytes, leaf_index: int
) -> None:
    """Everything about one leaf that needs no other member (section 7.3)."""
    leaf.verify_signature(suite, group_id, leaf_index)
    suite.kem.check_public(leaf.encryption_key)
    check_own_capabilities(leaf, suite)
    auth.verify_credential(leaf.credential, leaf.signature_key)


def check_own_capabilities(leaf: LeafNode, suite: CipherSuite) -> None:
    """The leaf must itself support what it uses."""
    capabilities = leaf.capabilities
    if MLS_VERSION not in capabilities.versions:
        raise ValidationError("LEAF-VERSION", "a leaf does not support the protocol version")
    if suite.id not in capabilities.cipher_suites:
        raise ValidationError("LEAF-SUITE", "a leaf does not support the cipher suite")
    if leaf.credential.credential_type not in capabilities.credentials:
        raise ValidationError("LEAF-CREDENTIAL", "a leaf does not support its own credential type")
    check_supported(leaf, (extension.type for extension in leaf.extensions), "LEAF-EXTENSIONS")


def check_supported(leaf: LeafNode, extension_types: Iterable[int], rule: str) -> None:
    """The leaf must list every non-default extension type given."""
    missing = set(extension_types) - DEFAULT_EXTENSIONS - set(leaf.capabilities.extensions)
    if missing:
        raise ValidationError(rule, "a leaf does not support an extension in use")


def check_lifetime_total(leaf: LeafNode, max_lifetime: int) -> None:
    """A key package's leaf may not be valid for longer than the maximum."""
    if leaf.lifetime is None:
        return
    if leaf.lifetime.seconds < 0:
        raise ValidationError("LEAF-LIFETIME-ORDER", "a leaf's lifetime ends before it begins")
    if leaf.lifetime.seconds > max_lifetime:
        raise ValidationError("LEAF-LIFETIME-TOTAL", "a leaf's lifetime is longer than the maximum")


def check_required(leaf: LeafNode, required: RequiredCapabilities) -> None:
    """The leaf must support what the group requires (section 11.1)."""
    check_supported(leaf, required.extension_types, "REQ-EXTENSIONS")
    if set(required.proposal_types) - DEFAULT_PROPOSALS - set(leaf.capabilities.proposals):
        raise ValidationError("REQ-PROPOSALS", "a leaf does not support a required proposal type")
    if set(required.credential_types) - set(leaf.capabilities.credentials):
        raise ValidationError("REQ-CREDENTIALS", "a leaf does not support a required credential type")


def check_members(leaves: Sequence[LeafNode], extensions: Extensions) -> None:
    """What must hold among all members of one epoch: unique keys, mutual support (section 7.3)."""
    if len({leaf.signature_key for leaf in leaves}) != len(leaves):
        raise ValidationError("LEAF-UNIQUE-SIGNATURE-KEY", "two members have the same signature key")
    credential_types = {leaf.credential.credential_type for leaf in leaves}
    extension_types = {extension.type for extension in extensions}
    required = RequiredCapabilities.find(extensions)
    for leaf in leaves:
        if credential_types - set(leaf.capabilities.credentials):
            raise ValidationError(
                "LEAF-CREDENTIAL-MUTUAL", "a member does not support another's credential type"
            )
        check_supported(leaf, extension_types, "GROUP-EXTENSIONS")
        if required is not None:
            check_required(leaf, required)


def check_unique_encryption_keys(keys: Sequence[bytes]) -> None:
    """No two nodes of a tree may share an encryption key (section 7.3, 12.4.3.1)."""
    if len(set(keys)) != len(keys):
        raise ValidationError("TREE-UNIQUE-ENCRYPTION-KEY", "two nodes have the same encryption key")


def check_external_senders(extensions: Extensions, auth: AuthenticationService) -> None:
    """The application must know every external sender a group names (section 5.3.1)."""
    for sender in ExternalSender.find_all(extensions):
        auth.verify_credential(sender.credential, sender.signature_key)
