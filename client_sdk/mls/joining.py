"""Joining a group from a Welcome (RFC 9420 section 12.4.3.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from . import tree_math
from .credentials import AuthenticationService, SignatureKeyPair
from .epoch_change import (
    begin_epoch,
    gather_psks,
)
from .errors import CryptoError, DecodeError, UnknownKeyPackage, UsageError, ValidationError
from .framing import (
    MLSMessage,
)
from .group_info_check import verify_group_info
from .group_state import GroupState
from .key_package import KeyPackageBundle
from .key_schedule import welcome_secret
from .leaf_node import LeafNode
from .psk import PreSharedKeyID, PskStore, ResumptionPsk, ResumptionUsage, check_psk_ids
from .ratchet_tree import RatchetTree
from .resumption import Identify, check_resumption, identify_by_credential
from .suites import CipherSuite, cipher_suite
from .treekem import open_path_secret
from .validation import MAX_LEAF_LIFETIME
from .welcome import WELCOME_LABEL, EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome, open_group_info

BundleLookup = (
    KeyPackageBundle | Mapping[bytes, KeyPackageBundle] | Callable[[bytes], KeyPackageBundle | None]
)
"""One bundle, or how to find one by KeyPackageRef."""


def join_from_welcome(
    welcome: bytes,
    bundle: BundleLookup,
    signer: SignatureKeyPair,
    *,
    auth: AuthenticationService,
    now: int,  # noqa: ARG001  reserved: the one who sends the Add answers for lifetimes, a joiner's clock does not
    ratchet_tree: bytes | None = None,
    psks: PskStore | None = None,
    max_lifetime: int = MAX_LEAF_LIFETIME,
    known_groups: Collection[bytes] = (),
    resumes: GroupState | None = None,
    identify: Identify = identify_by_credential,
) -> GroupState:
    """Join from a Welcome; the caller then deletes the bundle.

    ``known_groups`` are ids of groups one is in: no Welcome may name them. ``resumes`` is the group that was
    re-initialised or branched, without which no such Welcome is accepted; ``identify`` says who is who there.
    Raises `UnknownKeyPackage` if no bundle matches.
    """
    message = MLSMessage.parse(welcome).body
    if not isinstance(message, Welcome):
        raise DecodeError("FRAME-WIRE-FORMAT", "the message is not a Welcome")
    suite = cipher_suite(message.cipher_suite)
    entry, mine = _find_bundle(message, bundle)
    _check_bundle(mine, suite, signer)
    secrets = _open_secrets(suite, message, entry, mine)
    _check_welcome_psks(suite, secrets.psks)
    psk = gather_psks(suite, secrets.psks, psks, resumes)
    secret = welcome_secret(suite, secrets.joiner_secret, psk)
    info = open_group_info(suite, secret, message.encrypted_group_info)
    if info.group_context.group_id in known_groups:
        raise ValidationError("WELCOME-GROUP-KNOWN", "the Welcome is to a group one is in already")
    _check_psk_epoch(secrets.psks, info)
    tree = verify_group_info(
        info, suite=suite, auth=auth, ratchet_tree=ratchet_tree, max_lifetime=max_lifetime
    )
    check_resumption(resumes, _reinit_or_branch(secrets.psks), info.group_context, tree, identify)
    own = _find_own_leaf(tree, mine.key_package.leaf_node)
    private_keys = {2 * own: mine.encryption_private}
    if secrets.path_secret is not None:
        private_keys |= _shared_keys(tree, own, info.signer, secrets.path_secret)
    epoch = begin_epoch(suite, info.group_context, secrets.joiner_secret, psk)
    epoch.verify_confirmation_tag(info.confirmation_tag)
    return epoch.state(tree=tree, own_leaf_index=own, signer=signer, private_keys=private_keys)


def _find_bundle(welcome: Welcome, lookup: BundleLookup) -> tuple[EncryptedGroupSecrets, KeyPackageBundle]:
    for entry in welcome.secrets:
        if isinstance(lookup, KeyPackageBundle):
            found = lookup if lookup.ref == entry.new_member else None
        elif isinstance(lookup, Mapping):
            found = lookup.get(entry.new_member)
        else:
            found = lookup(entry.new_member)
        if found is not None:
            return entry, found
    raise UnknownKeyPackage("WELCOME-KEY-PACKAGE", "the Welcome is for none of the key packages at hand")


def _check_bundle(bundle: KeyPackageBundle, suite: CipherSuite, signer: SignatureKeyPair) -> None:
    if bundle.key_package.cipher_suite != suite.id:
        raise ValidationError("WELCOME-SUITE", "the Welcome's cipher suite is not the key package's")
    if bundle.key_package.leaf_node.signature_key != signer.public:
        raise UsageError(None, "the signer is not the one of the key package")
    pairs = (
        (bundle.init_private, bundle.key_package.init_key),
        (bundle.encryption_private, bundle.key_package.leaf_node.encryption_key),
    )
    if any(suite.kem.public_key(private) != public for private, public in pairs):
        raise UsageError(None, "the bundle's private keys are not those of its key package")


def _open_secrets(
    suite: CipherSuite, welcome: Welcome, entry: EncryptedGroupSecrets, bundle: KeyPackageBundle
) -> GroupSecrets:
    sealed = entry.encrypted
    try:
        plain = suite.decrypt_with_label(
            bundle.init_private,
            WELCOME_LABEL,
            welcome.encrypted_group_info,
            sealed.kem_output,
            sealed.ciphertext,
        )
    except CryptoError:
        raise CryptoError("WELCOME-SECRETS", "a Welcome's group secrets do not decrypt") from None
    secrets = GroupSecrets.parse(plain)
    if len(secrets.joiner_secret) != suite.hash_length:
        raise CryptoError("WELCOME-SECRETS", "a Welcome's joiner secret has the wrong length")
    return secrets


def _reinit_or_branch(psks: Sequence[PreSharedKeyID]) -> tuple[ResumptionPsk, ...]:
    resumption = (entry.psk for entry in psks if isinstance(entry.psk, ResumptionPsk))
    return tuple(psk for psk in resumption if psk.usage is not ResumptionUsage.APPLICATION)


def _check_welcome_psks(suite: CipherSuite, psks: Sequence[PreSharedKeyID]) -> None:
    check_psk_ids(suite, psks)
    if len(_reinit_or_branch(psks)) > 1:
        raise ValidationError("WELCOME-PSK-USAGE", "a Welcome names two re-initialised or branched groups")


def _check_psk_epoch(psks: Sequence[PreSharedKeyID], info: GroupInfo) -> None:
    if _reinit_or_branch(psks) and info.group_context.epoch != 1:
        raise ValidationError("WELCOME-PSK-EPOCH", "a re-initialised or branched group is not at epoch 1")


def _find_own_leaf(tree: RatchetTree, leaf: LeafNode) -> int:
    for index, found in tree.leaves():
        if found.encoded == leaf.encoded:
            return index
    raise ValidationError("WELCOME-OWN-LEAF", "the tree does not hold the key package's leaf")


def _shared_keys(tree: RatchetTree, own: int, signer: int, path_secret: bytes) -> dict[int, bytes]:
    if own == signer:
        raise ValidationError("WELCOME-SIGNER", "the Welcome claims to come from the joiner itself")
    shared = tree_math.common_ancestor(2 * own, 2 * signer)
    above = (shared, *tree_math.direct_path(shared, tree.leaf_width))
    nodes = [node for node in above if tree.parent_node(node) is not None]
    if not nodes or nodes[0] != shared:
        raise ValidationError("WELCOME-PATH-SECRET", "the node of the Welcome's path secret is blank")
    return open_path_secret(tree, path_secret, nodes).private_keys
