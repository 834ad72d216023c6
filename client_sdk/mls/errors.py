"""Every error this package raises, in one tree.

MLSError
├── DecodeError          bytes that are no well-formed encoding
├── ValidationError      well-formed, but against a rule of RFC 9420 (``rule`` names it)
├── CryptoError          a signature, tag or ciphertext that does not verify
├── WrongGroup, WrongEpoch, SecretReuse, UnknownProposal, MissingPsk, UnknownKeyPackage
├── OwnMessage           a message that names this very member as its sender
│   └── OwnCommit
├── StateError           the state does not allow the operation now
└── UsageError           the caller's arguments are wrong (a local fault, never a peer's)
"""

from __future__ import annotations


class MLSError(Exception):
    """Root of the package's errors; ``code`` is stable, ``rule`` is the validation id if there is one."""

    code = "mls"

    def __init__(self, rule: str | None, message: str) -> None:
        super().__init__(f"{rule}: {message}" if rule else message)
        self.rule = rule


class DecodeError(MLSError):
    """The bytes are not one complete, canonical encoding."""

    code = "decode"


class ValidationError(MLSError):
    """The content breaks a rule of RFC 9420."""

    code = "validation"


class CryptoError(MLSError):
    """A signature, MAC, AEAD tag or key does not verify."""

    code = "crypto"


class WrongGroup(MLSError):
    """The message belongs to another group."""

    code = "wrong_group"

    def __init__(self) -> None:
        super().__init__("FRAME-GROUP", "the message names another group")


class WrongEpoch(MLSError):
    """The message belongs to another epoch: ``seen`` in the message, ``current`` in the state."""

    code = "wrong_epoch"

    def __init__(self, seen: int, current: int) -> None:
        super().__init__("FRAME-EPOCH", f"the message is of epoch {seen}, the state of epoch {current}")
        self.seen = seen
        self.current = current


class SecretReuse(MLSError):
    """The generation's key was consumed already, or lies outside the window."""

    code = "secret_reuse"


class UnknownProposal(MLSError):
    """A commit refers to a proposal this state has not seen."""

    code = "unknown_proposal"


class MissingPsk(MLSError):
    """A pre-shared key is needed that the caller did not give."""

    code = "missing_psk"


class UnknownKeyPackage(MLSError):
    """No key package at hand matches the Welcome."""

    code = "unknown_key_package"


class OwnMessage(MLSError):
    """The message names this member as its sender, who cannot decrypt it: its key was used up in sending.

    A PrivateMessage that says so is not authenticated. Compare its bytes with those that were sent.
    """

    code = "own_message"


class OwnCommit(OwnMessage):
    """A commit that names this member: if it is the one that was sent, `CommitOutput.state` follows."""

    code = "own_commit"


class StateError(MLSError):
    """The state does not allow this operation (re-initialised group, waiting proposals)."""

    code = "state"


class UsageError(MLSError):
    """The caller passed arguments that make no sense."""

    code = "usage"
