"""What this device believes about people: first contact, verification, change (docs/PROTOCOL.md 6 and 7).

Trust decides what this device *sends* and whom it *adds*; it never decides what it accepts (that is
membership). Records are kept by user, in the vault; every function takes one and returns the next one.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self, cast

from relay.wire.ids import UserId

from ..content.packing import MAX_COUNT, pack, unpack
from ..errors import ApprovalRequired, ManifestInvalid, RecordInvalid, UsageError
from .alarms import (
    IdentityChanged,
    IdentityRecovered,
    ManifestForked,
    ManifestRolledBack,
    OwnIdentityChanged,
)
from .keys import KEY_BYTES
from .manifest import Signer, VerifiedManifest, check_successor, verify_manifest

_FORMAT = 1


class TrustState(StrEnum):
    """How far an identity key is known to be its person's."""

    UNVERIFIED = "unverified"
    """Taken on trust: nobody compared yet."""
    VERIFIED = "verified"
    """This person compared the safety number or the call words."""
    CHANGED = "changed"
    """The key is another than before: sending stops until this person decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRecord:
    """What is known about one person; times in milliseconds.

    ``identity_key`` is the key that this person is known by; ``newest`` the newest device list seen,
    which names another key while ``state`` is CHANGED; ``vouched``: the recovery key signed for that one.
    """

    identity_key: bytes = field(repr=False)
    newest: VerifiedManifest = field(repr=False)
    state: TrustState
    first_seen_ms: int
    decided_ms: int = 0
    vouched: bool = False

    @property
    def user(self) -> UserId:
        """Whose record it is."""
        return self.newest.user

    def check_may_send(self) -> None:
        """Whether messages may go to this person; raises IdentityChanged until somebody has decided."""
        if self.state is TrustState.CHANGED:
            alarm = IdentityRecovered if self.vouched else IdentityChanged
            raise alarm(user=self.user, identity=self.newest.identity_key)

    def verified(self, identity_key: bytes, *, now_ms: int) -> Self:
        """This person compared, and ``identity_key`` is theirs; raises UsageError if it is not the newest."""
        if not hmac.compare_digest(identity_key, self.newest.identity_key):
            raise UsageError("The key that was compared is not this person's newest. Show the number again.")
        return self._decided(TrustState.VERIFIED, now_ms)

    def change_accepted(self, *, now_ms: int) -> Self:
        """The person's new key is used from now on, without having been compared."""
        if self.state is not TrustState.CHANGED:
            raise UsageError("This person's key has not changed: there is nothing to accept.")
        return self._decided(TrustState.UNVERIFIED, now_ms)

    def _decided(self, state: TrustState, now_ms: int) -> Self:
        return replace(self, state=state, identity_key=self.newest.identity_key, decided_ms=now_ms)

    def serialize(self) -> bytes:
        """Encode for the vault."""
        times = (self.first_seen_ms, self.decided_ms)
        return pack([_FORMAT, self.identity_key, self.newest.raw, str(self.state), *times, self.vouched])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode from the vault; raises RecordInvalid."""
        try:
            values = cast(list[object], unpack(data))
            version, identity_key, newest, state, first_seen_ms, decided_ms, vouched = values
            times = (first_seen_ms, decided_ms)
            if type(version) is not int or version != _FORMAT:
                raise ValueError("another version")
            if not isinstance(identity_key, bytes) or len(identity_key) != KEY_BYTES:
                raise ValueError("a field of another form")
            if not isinstance(vouched, bool):
                raise ValueError("a flag of another form")
            if not all(type(time) is int and 0 <= time <= MAX_COUNT for time in times):
                raise ValueError("a time of another form")
            return cls(
                identity_key=identity_key,
                newest=verify_manifest(cast(bytes, newest)),
                state=TrustState(cast(str, state)),
                first_seen_ms=cast(int, first_seen_ms),
                decided_ms=cast(int, decided_ms),
                vouched=vouched,
            )
        except (ValueError, TypeError, ManifestInvalid) as error:
            raise RecordInvalid(
                "A stored trust record is damaged. Restore the vault from a backup."
            ) from error


def same_line(one: VerifiedManifest, other: VerifiedManifest) -> bool:
    """Whether both lists are of one user who was set up once: they name the same recovery key."""
    return one.user == other.user and hmac.compare_digest(one.recovery_key, other.recovery_key)


def check_not_older(record: TrustRecord | None, governing: VerifiedManifest) -> None:
    """Whether the manifest that governs a user in a group is no older than the newest one seen.

    Raises ManifestRolledBack for an older version, ManifestForked for another manifest of the same version.
    Of somebody who was set up anew there is no order: whether that is accepted, others decide.
    """
    if record is not None and not same_line(record.newest, governing):
        return
    if record is None or governing.version > record.newest.version:
        return
    if governing.version < record.newest.version:
        seen, offered = record.newest.version, governing.version
        raise ManifestRolledBack(user=governing.user, seen=seen, offered=offered)
    _check_not_forked(record.newest, governing)


def observe(record: TrustRecord | None, manifest: VerifiedManifest, *, now_ms: int) -> TrustRecord:
    """The record after a user's governing manifest was seen in an accepted state of the group.

    Without a record the identity is taken on trust (whether it may be is for ``check_admission``).
    Another identity key makes the record CHANGED, also if the recovery key vouches for it: this person
    should hear of it. An older manifest changes nothing (``check_not_older`` raises the alarm for it).
    """
    if record is None:
        unverified = TrustState.UNVERIFIED
        key = manifest.identity_key
        return TrustRecord(identity_key=key, newest=manifest, state=unverified, first_seen_ms=now_ms)
    if record.user != manifest.user:
        raise UsageError("A device list of one person was given for another one's record.")
    continued = same_line(record.newest, manifest)
    if continued and manifest.version <= record.newest.version:
        return record
    seen = replace(record, newest=manifest)
    if hmac.compare_digest(manifest.identity_key, record.newest.identity_key):
        return seen
    return replace(seen, state=TrustState.CHANGED, vouched=continued)


def check_admission(
    candidate: VerifiedManifest,
    device_key: bytes,
    *,
    own: VerifiedManifest,
    record: TrustRecord | None,
    roster: Collection[UserId],
    met: Collection[UserId],
    approved: bool = False,
    takes_part: bool = False,
) -> None:
    """Whether this device may add the waiting device with ``device_key``; returns if so.

    ``candidate`` is the manifest in its key package, ``own`` this user's newest one, ``record`` what is
    known of the candidate's user, ``roster`` whom the portal invites, ``met`` every other user that ever
    took part in this conversation; ``approved`` says that a person on this device admitted exactly this
    identity; ``takes_part`` that a device of the candidate's user is a member now.

    - A device has to stand in the newest list seen of its user (its key package may carry an older one).
      A newer list in its own key package counts only for somebody of whom no device takes part: else that
      device brings the list into the group first. So a stolen identity key alone brings nobody in.
    - A further device of this very user needs no more; nor does one of somebody who takes part already.
    - The other one of an engagement of two people is taken on trust at first contact.
    - Any further person needs approval. Somebody who was set up anew needs a decision first; somebody who
      came back by their recovery key does not: their device takes part, and sending to it waits for one.

    Raises ApprovalRequired, IdentityChanged, ManifestRolledBack or ManifestForked.
    """
    if candidate.user == own.user:
        _check_own(own, candidate, device_key)
        return
    if record is not None:
        _check_known(record.newest, candidate, device_key, is_vouched_for=not takes_part)
    if candidate.user not in roster:
        raise ApprovalRequired(
            "This person is not on the engagement's roster. The portal has to invite them first."
        )
    first_of_two = not met and set(roster) == {own.user, candidate.user}
    if not (candidate.user in met or approved or first_of_two):
        raise ApprovalRequired(
            "A further person was invited to this conversation. They can read along only after you have "
            "approved them."
        )


def _check_known(
    newest: VerifiedManifest,
    candidate: VerifiedManifest,
    device_key: bytes,
    *,
    is_vouched_for: bool,
) -> None:
    """Whether a device of a person that this device knows may come in."""
    if same_line(newest, candidate):
        _check_listed(newest, candidate, device_key, is_vouched_for=is_vouched_for)
    else:
        raise IdentityChanged(user=candidate.user, identity=candidate.identity_key)


def _check_own(own: VerifiedManifest, candidate: VerifiedManifest, device_key: bytes) -> None:
    changed = not hmac.compare_digest(candidate.identity_key, own.identity_key)
    if changed and (candidate.version > own.version or not same_line(own, candidate)):
        raise OwnIdentityChanged(user=candidate.user, identity=candidate.identity_key)
    _check_listed(own, candidate, device_key, is_vouched_for=False)


def _check_listed(
    newest: VerifiedManifest, candidate: VerifiedManifest, device_key: bytes, *, is_vouched_for: bool
) -> None:
    """Whether the newest list seen, or the candidate's own if that follows and counts, names the device."""
    if candidate.version > newest.version:
        _check_succeeds(newest, candidate)
        if candidate.signer is Signer.RECOVERY:
            return  # it verified, so it lists the device, and the kit overrides every list before it
        if not newest.lists(device_key) and not is_vouched_for:
            raise _unconfirmed()
        return  # the same identity key signed for it, and there is nobody else to ask
    if candidate.version == newest.version:
        _check_not_forked(newest, candidate)
    if not newest.lists(device_key):
        seen, offered = newest.version, candidate.version
        raise ManifestRolledBack(user=candidate.user, seen=seen, offered=offered)


def _check_succeeds(newest: VerifiedManifest, candidate: VerifiedManifest) -> None:
    try:
        check_successor(newest, candidate)
    except ManifestInvalid:
        if candidate.era > newest.era:  # one that was linked after a recovery which was not seen yet
            raise _unconfirmed() from None
        raise IdentityChanged(user=candidate.user, identity=candidate.identity_key) from None


def _unconfirmed() -> ApprovalRequired:
    return ApprovalRequired(
        "A new device of a person waits until one of their devices that takes part confirms it."
    )


def _check_not_forked(one: VerifiedManifest, other: VerifiedManifest) -> None:
    if not hmac.compare_digest(one.hash, other.hash):
        raise ManifestForked(user=one.user, version=one.version, one=one.hash, other=other.hash)
