"""Who is who: identity keys, signed device lists, membership rules, trust, safety numbers and call words."""

from .alarms import IdentityChanged, ManifestForked, ManifestRolledBack
from .conversation import (
    EXTENSION_TYPE,
    ConversationInfo,
    Participant,
    conversation_epoch,
    group_id,
)
from .credentials import CredentialPolicy, check_participant, manifest_of
from .keys import IdentityKeys, KeyPair, Rng, SignatureInvalid, generate_key_pair, verify_signature
from .manifest import (
    DeviceFlags,
    Manifest,
    ManifestDevice,
    Signer,
    VerifiedManifest,
    check_successor,
    first_manifest,
    next_manifest,
    verify_manifest,
)
from .membership import (
    BundleNamesDiffer,
    ConversationView,
    Leaf,
    check_bundle,
    check_commit,
    check_joined,
    check_renewed,
    check_view,
    view_of,
)
from .recovery import RecoverySeed, split_words, words_like
from .safety import safety_number, shown_together
from .trust import TrustRecord, TrustState, check_admission, check_not_older, observe
from .words import CallBinding, call_commit, call_words, check_reveal

__all__ = [
    "EXTENSION_TYPE",
    "BundleNamesDiffer",
    "CallBinding",
    "ConversationInfo",
    "ConversationView",
    "CredentialPolicy",
    "DeviceFlags",
    "IdentityChanged",
    "IdentityKeys",
    "KeyPair",
    "Leaf",
    "Manifest",
    "ManifestDevice",
    "ManifestForked",
    "ManifestRolledBack",
    "Participant",
    "RecoverySeed",
    "Rng",
    "SignatureInvalid",
    "Signer",
    "TrustRecord",
    "TrustState",
    "VerifiedManifest",
    "call_commit",
    "call_words",
    "check_admission",
    "check_bundle",
    "check_commit",
    "check_joined",
    "check_not_older",
    "check_participant",
    "check_renewed",
    "check_reveal",
    "check_successor",
    "check_view",
    "conversation_epoch",
    "first_manifest",
    "generate_key_pair",
    "group_id",
    "manifest_of",
    "next_manifest",
    "observe",
    "safety_number",
    "shown_together",
    "split_words",
    "verify_manifest",
    "verify_signature",
    "view_of",
    "words_like",
]
