"""Every error the SDK raises, in one tree.

Each has a stable ``code`` and a message that says what happened, why, and what to do next.

CoachRelayError
├── UsageError                     the program called us wrongly (a local fault)
├── ContentError                   what is said inside a conversation
│   ├── ContentMalformed           bytes that are no content at all
│   ├── ContentInvalid             a field against its rule
│   │   └── BodyInvalid            (client_sdk.content) the same in a received message, kept whole
│   ├── ContentTooBig
│   └── AnswerInvalid              an answer that does not fit the check-in's questions
├── IdentityError                  who is who
│   ├── ManifestInvalid            a device list that does not parse, verify, or follow its predecessor
│   ├── ConversationInfoInvalid    the group's extension 0xF0C1 does not parse
│   ├── CredentialRefused          a leaf or key package that its user did not sign for
│   ├── MembershipError            a commit against the membership rules: void for every member
│   ├── UpdateRequired             the conversation needs a feature that this version lacks
│   ├── RecoveryWordsInvalid       what was typed are no recovery words
│   ├── RecoveryRefused            the words are no kit of this account
│   ├── SafetyCodeInvalid          what was scanned is no safety number of these two
│   ├── SafetyNumberDiffers        it is, and the keys are not the same
│   ├── ArchiveDamaged             a part of an archive that its owner's device did not write there
│   └── CallRevealFailed           the call words' commitment does not open: the call ends
├── TrustError                     sending stops until a person decides
│   └── ApprovalRequired           a further person waits to be admitted
├── SecurityAlarm                  sending stops until a person has looked
│   ├── StreamRolledBack, StreamReplaced, StreamForked, StreamSkipped, StreamGap  (client_sdk.delivery)
│   ├── RelayContradiction, ClonedDevice, BundleMismatch, EpochRolledBack         (client_sdk.delivery)
│   └── IdentityChanged (IdentityRecovered, OwnIdentityChanged), ManifestRolledBack, ManifestForked
│                                                                                 (client_sdk.identity)
├── DeviceError                    a person's own devices: linking, revoking
│   ├── LinkCodeInvalid            the words or the code that were typed are none
│   ├── LinkTampered               something came that the other device did not send
│   ├── LinkFailed                 the other device is not there, gave up, or was refused by the person
│   ├── TooManyDevices             there are 8 already
│   ├── MayNotLink                 this device does not hold the key that changes the list
│   ├── OtherListHeld              the relay keeps the list of earlier devices until the portal ends it
│   ├── DevicesChanged             the list was changed on another device at the same time
│   └── UnknownDevice              no such device in the list
├── VaultError                     the encrypted local store
│   ├── VaultMissing, VaultExists, VaultInUse, VaultClosed
│   ├── WrongPassphrase            also: the wrong raw key
│   ├── VaultCorrupt               it is the right key, and the file is damaged: fails closed
│   ├── VaultFormatUnknown         made by a newer version
│   ├── VaultFull, VaultUnavailable
│   ├── KeyringUnavailable, KeyMissing
│   └── UnknownItem                no such item in the history
├── DeliveryError                  what waits to be sent
│   ├── OutboxFull
│   └── RecordInvalid              a record that this device stored itself does not parse
└── RelayError                     the connection and the relay's answers
    ├── RelayUnreachable
    ├── AccessRefused              the relay does not let this device in (token, signature, device limit)
    ├── RelayRefused               any other refusal; ``code`` is the relay's own code
    └── EngagementUnavailable      no such engagement, not yours, or ended

Rooms with further errors (attachments, calls) hang them under ``CoachRelayError`` in their own folder;
``client_sdk.mls`` stands alone and has a tree of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


class Fault(StrEnum):
    """Who has to do something about it."""

    LOCAL = "local"
    """This program, this device or this person."""
    REMOTE = "remote"
    """A peer, the relay or the network."""


class CoachRelayError(Exception):
    """Root of the SDK's errors."""

    code: str = "coach_relay"
    fault: ClassVar[Fault] = Fault.LOCAL


class UsageError(CoachRelayError):
    """The program called the SDK in a way that makes no sense."""

    code = "usage"


# What is said inside a conversation


class ContentError(CoachRelayError):
    """Root of the errors about what is said inside a conversation."""

    code = "content"


class ContentMalformed(ContentError):
    """The bytes are no content: another structure than docs/PROTOCOL.md section 9 gives."""

    code = "content_malformed"
    fault = Fault.REMOTE


class ContentInvalid(ContentError):
    """A field of the content is against its rule."""

    code = "content_invalid"


class ContentTooBig(ContentError):
    """The content is longer than a message may be."""

    code = "content_too_big"


class AnswerInvalid(ContentError):
    """An answer does not fit the questions of its check-in."""

    code = "answer_invalid"


# Who is who


class IdentityError(CoachRelayError):
    """Root of the errors about who is who."""

    code = "identity"
    fault = Fault.REMOTE


class ManifestInvalid(IdentityError):
    """A manifest (a user's signed device list) does not parse, verify, or follow its predecessor."""

    code = "manifest_invalid"


class ConversationInfoInvalid(IdentityError):
    """The conversation's extension 0xF0C1 is missing, malformed, or changed in a way it never may."""

    code = "conversation_info_invalid"


class CredentialRefused(IdentityError):
    """A leaf or key package carries a credential that its user did not sign for."""

    code = "credential_refused"


class MembershipError(IdentityError):
    """A commit breaks a membership rule: it is void, and every member finds it so."""

    code = "membership"


class UpdateRequired(IdentityError):
    """The conversation requires features that this version of the SDK does not have."""

    code = "update_required"
    fault = Fault.LOCAL

    def __init__(self, features: tuple[str, ...]) -> None:
        super().__init__(
            f"This conversation needs {', '.join(features)}, which this version of the app does not have. "
            "Nothing is sent until the app is updated."
        )
        self.features = features


class RecoveryWordsInvalid(IdentityError):
    """What was typed are not the words of a recovery kit; `position` is the wrong word's number, or 0."""

    code = "recovery_words_invalid"
    fault = Fault.LOCAL

    def __init__(self, message: str, *, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class RecoveryRefused(IdentityError):
    """The recovery words are well-formed, and not those of this account."""

    code = "recovery_refused"
    fault = Fault.LOCAL


class SafetyCodeInvalid(IdentityError):
    """What was scanned is no safety number of these two people."""

    code = "safety_code_invalid"
    fault = Fault.LOCAL


class SafetyNumberDiffers(IdentityError):
    """The other one's code names other keys than this device knows."""

    code = "safety_number_differs"


class ArchiveDamaged(IdentityError):
    """A part of an archive is not what a device of its owner wrote at that place."""

    code = "archive_damaged"


class CallRevealFailed(IdentityError):
    """The caller's nonce does not open its commitment: somebody may stand between; the call ends."""

    code = "call_reveal_failed"


class TrustError(CoachRelayError):
    """Root of the errors that wait for a person's decision."""

    code = "trust"


class ApprovalRequired(TrustError):
    """A further person waits to be admitted: somebody in the conversation has to approve."""

    code = "approval_required"


# Security alarms

Fact = int | str
"""One public fact of an alarm's evidence."""


_WHO = "{who}"
"""Where an alarm's sentences name the person that it is about."""

_SOMEBODY = "somebody in this conversation"

_UNTIL_THEN = "Nothing more is sent, and what you wrote is kept, until you decide."


class SecurityAlarm(CoachRelayError):
    """Root of the alarms: sending stops, and what waits is kept, until a person has looked.

    ``sentence`` says what happened, why it matters and what to do, in words for a coach, not an engineer;
    ``sentence_about`` says it with a person's name. ``evidence`` holds public facts alone (positions, epochs,
    hashes, user and device ids; bytes as hex), never content or private keys, and stays out of the message,
    so that a logged alarm tells nothing about anybody.
    """

    code = "security_alarm"
    fault = Fault.REMOTE

    what: ClassVar[str] = "Something happened that should not happen."
    why: ClassVar[str] = "This conversation may be under attack."
    do: ClassVar[str] = (
        "Reach the other person another way, tell them, and compare your safety numbers before you go on."
    )

    def __init__(self, **evidence: Fact | bytes) -> None:
        super().__init__(self.sentence)
        facts = {name: fact.hex() if isinstance(fact, bytes) else fact for name, fact in evidence.items()}
        self.evidence: Mapping[str, Fact] = MappingProxyType(facts)

    @property
    def user(self) -> str:
        """Whom it is about, by user id; empty if it is about nobody in particular."""
        return str(self.evidence.get("user", ""))

    @property
    def sentence(self) -> str:
        """What happened, why it matters, what to do; without a name."""
        return self.sentence_about(_SOMEBODY)

    def sentence_about(self, who: str) -> str:
        """The same about the person who is called so."""
        parts = (self.what, self.why, _UNTIL_THEN, self.do)
        said = (part.replace(_WHO, who) for part in parts)
        return " ".join(part[:1].upper() + part[1:] for part in said)


# A person's own devices


class DeviceError(CoachRelayError):
    """Root of the errors about a person's own devices."""

    code = "device"


class LinkCodeInvalid(DeviceError):
    """The words or the code for linking a device are none: mistyped, or of something else."""

    code = "link_code_invalid"


class LinkTampered(DeviceError):
    """While linking, something came that the other device did not send."""

    code = "link_tampered"
    fault = Fault.REMOTE


class LinkFailed(DeviceError):
    """The two devices did not come together."""

    code = "link_failed"


class TooManyDevices(DeviceError):
    """A person has at most 8 devices."""

    code = "too_many_devices"


class MayNotLink(DeviceError):
    """This device does not hold the key that changes the list of devices."""

    code = "may_not_link"


class DevicesChanged(DeviceError):
    """The list of devices was changed on another device at the same time: nothing was done."""

    code = "devices_changed"


class OtherListHeld(DeviceError):
    """The relay keeps a device list of another identity for this user, until the portal ends it."""

    code = "other_list_held"


class UnknownDevice(DeviceError):
    """There is no such device in the list, or more than one of that name."""

    code = "unknown_device"


# The encrypted local store


class VaultError(CoachRelayError):
    """Root of the errors of the encrypted local store."""

    code = "vault"


class VaultMissing(VaultError):
    """There is no vault at this path."""

    code = "vault_missing"


class VaultExists(VaultError):
    """A file stands where a new vault should be made; it is never overwritten."""

    code = "vault_exists"


class VaultInUse(VaultError):
    """Another process, or another part of this one, has the vault open."""

    code = "vault_in_use"


class VaultClosed(VaultError):
    """The vault, or the transaction, was used after its end."""

    code = "vault_closed"


class WrongPassphrase(VaultError):
    """The passphrase (or raw key) does not open this vault."""

    code = "wrong_passphrase"


class VaultCorrupt(VaultError):
    """The key is right, and the file is damaged, cut or altered: nothing in it is used."""

    code = "vault_corrupt"


class VaultFormatUnknown(VaultError):
    """The vault has a format this version does not know (most likely a newer one)."""

    code = "vault_format_unknown"


class VaultFull(VaultError):
    """The disk is full: the transaction did not happen."""

    code = "vault_full"


class VaultUnavailable(VaultError):
    """The operating system does not let us read or write the file: the transaction did not happen."""

    code = "vault_unavailable"


class KeyringUnavailable(VaultError):
    """The operating system's keyring cannot be used."""

    code = "keyring_unavailable"


class KeyMissing(VaultError):
    """The keyring has no key for this vault."""

    code = "key_missing"


class UnknownItem(VaultError):
    """The history has no such item."""

    code = "unknown_item"


# What waits to be sent


class DeliveryError(CoachRelayError):
    """Root of the errors about what waits to be sent."""

    code = "delivery"


class OutboxFull(DeliveryError):
    """Too many messages wait for the connection: this one was not taken."""

    code = "outbox_full"


class RecordInvalid(DeliveryError):
    """A record that this device stored does not parse: fails closed, nothing in it is used."""

    code = "record_invalid"


# The connection and the relay's answers


class RelayError(CoachRelayError):
    """Root of the errors of the connection to the relay."""

    code = "relay"
    fault = Fault.REMOTE


class RelayUnreachable(RelayError):
    """The relay does not answer; what was to be sent is kept and sent later."""

    code = "relay_unreachable"


class AccessRefused(RelayError):
    """The relay does not let this device in."""

    code = "access_refused"


class RelayRefused(RelayError):
    """The relay refused a request; ``code`` is the relay's own (docs/PROTOCOL.md section 2.3)."""

    code = "relay_refused"

    def __init__(self, message: str, *, code: str = "relay_refused") -> None:
        super().__init__(message)
        self.code = code


class EngagementUnavailable(RelayError):
    """There is no such engagement, or it is not this user's (the two look the same), or it has ended."""

    code = "engagement_unavailable"
