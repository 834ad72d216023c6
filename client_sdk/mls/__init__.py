"""Messaging Layer Security (RFC 9420), pure: bytes and states in, bytes and new states out.

Time and randomness are arguments; nothing here does I/O. See README.md beside this file.
"""

from .committing import CommitOutput, create_commit, create_group, export_group_info
from .credentials import (
    AuthenticationService,
    BasicCredential,
    Credential,
    OpaqueCredential,
    SignatureKeyPair,
    generate_signature_key,
)
from .errors import (
    CryptoError,
    DecodeError,
    MissingPsk,
    MLSError,
    OwnCommit,
    OwnMessage,
    SecretReuse,
    StateError,
    UnknownKeyPackage,
    UnknownProposal,
    UsageError,
    ValidationError,
    WrongEpoch,
    WrongGroup,
)
from .extensions import Extension, ExternalSender, RequiredCapabilities, find_extension
from .external_commit import create_external_commit
from .framing import (
    ContentType,
    FramedContent,
    MLSMessage,
    PrivateMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
)
from .group_state import GroupState, Member
from .hpke import Rng
from .joining import join_from_welcome
from .key_package import (
    KeyPackage,
    KeyPackageBundle,
    VerifiedKeyPackage,
    generate_key_package,
    verify_key_package,
)
from .key_schedule import GroupContext
from .leaf_node import Capabilities, LeafNode, LeafSource, Lifetime, default_capabilities
from .processing import process_message
from .proposal_list import UpdatedLeaf
from .proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ProposalRef,
    ReInit,
    Remove,
    Update,
)
from .protection import Padding
from .psk import ExternalPsk, PreSharedKeyID, PskStore, ResumptionPsk, ResumptionUsage
from .results import (
    ApplicationReceived,
    CommitReceived,
    Encrypted,
    ProposalReceived,
    Received,
    RemovedFromGroup,
)
from .resumption import Identify, branch_group, identify_by_credential, reinit_group
from .sending import create_proposal, create_update, encrypt
from .suites import SUITE_1, SUITE_3, SUITE_XWING, CipherSuite, cipher_suite
from .validation import MAX_LEAF_LIFETIME
from .welcome import GroupInfo, Welcome

__all__ = [
    "MAX_LEAF_LIFETIME",
    "SUITE_1",
    "SUITE_3",
    "SUITE_XWING",
    "Add",
    "ApplicationReceived",
    "AuthenticationService",
    "BasicCredential",
    "Capabilities",
    "CipherSuite",
    "CommitOutput",
    "CommitReceived",
    "ContentType",
    "Credential",
    "CryptoError",
    "DecodeError",
    "Encrypted",
    "Extension",
    "ExternalInit",
    "ExternalPsk",
    "ExternalSender",
    "FramedContent",
    "GroupContext",
    "GroupContextExtensions",
    "GroupInfo",
    "GroupState",
    "Identify",
    "KeyPackage",
    "KeyPackageBundle",
    "LeafNode",
    "LeafSource",
    "Lifetime",
    "MLSError",
    "MLSMessage",
    "Member",
    "MissingPsk",
    "OpaqueCredential",
    "OwnCommit",
    "OwnMessage",
    "Padding",
    "PreSharedKey",
    "PreSharedKeyID",
    "PrivateMessage",
    "Proposal",
    "ProposalReceived",
    "ProposalRef",
    "PskStore",
    "PublicMessage",
    "ReInit",
    "Received",
    "Remove",
    "RemovedFromGroup",
    "RequiredCapabilities",
    "ResumptionPsk",
    "ResumptionUsage",
    "Rng",
    "SecretReuse",
    "Sender",
    "SenderType",
    "SignatureKeyPair",
    "StateError",
    "UnknownKeyPackage",
    "UnknownProposal",
    "Update",
    "UpdatedLeaf",
    "UsageError",
    "ValidationError",
    "VerifiedKeyPackage",
    "Welcome",
    "WireFormat",
    "WrongEpoch",
    "WrongGroup",
    "branch_group",
    "cipher_suite",
    "create_commit",
    "create_external_commit",
    "create_group",
    "create_proposal",
    "create_update",
    "default_capabilities",
    "encrypt",
    "export_group_info",
    "find_extension",
    "generate_key_package",
    "generate_signature_key",
    "identify_by_credential",
    "join_from_welcome",
    "process_message",
    "reinit_group",
    "verify_key_package",
]
