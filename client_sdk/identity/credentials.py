"""The authentication service of one conversation: whose leaf is this (RFC 9420 5.3.1, PROTOCOL 6)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.wire.ids import PortalId

from ..errors import CredentialRefused, ManifestInvalid
from ..mls.credentials import BasicCredential, Credential
from .conversation import ConversationInfo
from .manifest import VerifiedManifest, check_successor, verify_manifest

if TYPE_CHECKING:
    from ..mls.leaf_node import LeafNode


def manifest_of(credential: Credential, signature_key: bytes) -> VerifiedManifest:
    """The verified manifest in a leaf's credential, which must list the leaf's own key.

    Raises CredentialRefused for any other credential.
    """
    if not isinstance(credential, BasicCredential):
        raise _refused("its credential is of another type")
    try:
        manifest = verify_manifest(credential.identity)
    except ManifestInvalid as error:
        raise _refused("its user's device list is not valid") from error
    if not manifest.lists(signature_key):
        raise _refused("its user's device list does not name it")
    return manifest


@dataclass(frozen=True, slots=True)
class CredentialPolicy:
    """``mls.AuthenticationService`` for one conversation.

    ``portal`` is always checked. ``info`` is given when the participants that count are known beforehand:
    for key packages about to be added (the info *with* them). It is None while a commit or Welcome is
    processed, which may bring a new info: then ``check_commit`` or ``check_joined`` judges the result.
    """

    portal: PortalId
    info: ConversationInfo | None = None

    def verify_credential(self, credential: Credential, signature_key: bytes) -> None:
        """Whether this credential legitimately holds this signature key; raises CredentialRefused."""
        manifest = manifest_of(credential, signature_key)
        if manifest.portal != self.portal:
            raise _refused("its user belongs to another portal")
        if self.info is not None:
            check_participant(self.info, manifest)

    def verify_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Whether ``new`` may take the place of ``old``: the same user, the device list no older."""
        self.verify_credential(new.credential, new.signature_key)
        before = manifest_of(old.credential, old.signature_key)
        after = manifest_of(new.credential, new.signature_key)
        try:
            check_successor(before, after)
        except ManifestInvalid as error:
            raise _refused("its new device list does not follow the one before") from error


def check_participant(info: ConversationInfo, manifest: VerifiedManifest) -> None:
    """Whether the manifest's user takes part, with exactly this identity key; raises CredentialRefused."""
    if manifest.portal != info.portal:
        raise _refused("its user belongs to another portal")
    participant = info.participant(manifest.user)
    if participant is None:
        raise _refused("its user does not take part in this conversation")
    if not hmac.compare_digest(participant.identity_key, manifest.identity_key):
        raise _refused("its user's identity key is not the one that was admitted")


def _refused(reason: str) -> CredentialRefused:
    return CredentialRefused(
        f"A device is not let into the conversation: {reason}. What brought it is ignored."
    )
