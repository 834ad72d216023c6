"""The GroupContext extension 0xF0C1: what a conversation is, who takes part (docs/PROTOCOL.md 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Self, cast

from relay.wire.errors import WireError
from relay.wire.ids import (
    EngagementId,
    PortalId,
    Role,
    UserId,
    label,
    parse_engagement_id,
    parse_portal_id,
    parse_role,
    parse_user_id,
)
from relay.wire.limits import MAX_PARTICIPANTS, MAX_UINT

from ..content.packing import PackingError, Value, pack, unpack
from ..errors import ConversationInfoInvalid, UpdateRequired
from ..mls.extensions import Extension
from .keys import KEY_BYTES

EXTENSION_TYPE = 0xF0C1
FORMAT = 1

INFO_BYTES = 16 * 1024
"""32 participants stay below 5 KiB; the rest is room for features and policy."""

MOST_GENERATIONS = 1 << 21
GENERATION_EPOCHS = 1 << 32
"""Both far more than a conversation can have; their product is a number that every client can hold: 2^53."""

MOST_FEATURES = 32
FEATURE_BYTES = 64
MOST_POLICIES = 32
POLICY_KEY_BYTES = 64

SUPPORTED_FEATURES: frozenset[str] = frozenset()
"""No conversation of this version requires a feature beyond it."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A person in the engagement: the portal's user id, role, and the identity key that was admitted."""

    user: UserId
    role: Role
    identity_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationInfo:
    """What all members agree on about the conversation: part of the group's state, signed and confirmed."""

    portal: PortalId
    engagement: EngagementId
    generation: int = 1
    features: tuple[str, ...] = ()
    policy: Mapping[str, Value] = field(default_factory=dict, hash=False)
    participants: tuple[Participant, ...]

    def __post_init__(self) -> None:
        try:
            parse_portal_id(self.portal)
            parse_engagement_id(self.engagement)
            for participant in self.participants:
                parse_user_id(participant.user)
                parse_role(participant.role)
        except WireError as error:
            raise ConversationInfoInvalid(_said("an id or a role is not one")) from error
        if isinstance(self.generation, bool) or not isinstance(self.generation, int):
            _refuse("its generation is no number")
        if not 1 <= self.generation <= MAX_UINT:
            _refuse("its generation is out of range")
        self._check_participants()
        _check_names(self.features, MOST_FEATURES, FEATURE_BYTES, "features")
        _check_names(self.policy, MOST_POLICIES, POLICY_KEY_BYTES, "policy")

    def _check_participants(self) -> None:
        if not 1 <= len(self.participants) <= MAX_PARTICIPANTS:
            _refuse(f"it has not 1 to {MAX_PARTICIPANTS} participants")
        if len({p.user for p in self.participants}) != len(self.participants):
            _refuse("it names a participant twice")
        for participant in self.participants:
            if not isinstance(participant.identity_key, bytes) or len(participant.identity_key) != KEY_BYTES:
                _refuse(f"an identity key is not {KEY_BYTES} bytes")

    @property
    def group_id(self) -> bytes:
        """The id that the MLS group must have."""
        return group_id(self.portal, self.engagement, self.generation)

    def participant(self, user: UserId) -> Participant | None:
        """The participant with this user id."""
        return next((p for p in self.participants if p.user == user), None)

    def check_features(self, supported: Collection[str] = SUPPORTED_FEATURES) -> None:
        """Whether this client may send here; raises UpdateRequired. Never a reason not to accept a commit."""
        lacking = tuple(feature for feature in self.features if feature not in supported)
        if lacking:
            raise UpdateRequired(lacking)

    def to_extension(self) -> Extension:
        """Encode for the GroupContext; raises ConversationInfoInvalid when it is over 16 KiB."""
        people = [[p.user, str(p.role), p.identity_key] for p in self.participants]
        head = [FORMAT, self.portal, self.engagement, self.generation]
        try:
            data = pack([*head, list(self.features), dict(self.policy), people])
        except PackingError as error:
            raise ConversationInfoInvalid(_said("it cannot be encoded")) from error
        if len(data) > INFO_BYTES:
            _refuse(f"it is longer than {INFO_BYTES} bytes")
        return Extension(EXTENSION_TYPE, data)

    @classmethod
    def from_extensions(cls, extensions: Iterable[Extension]) -> Self:
        """Decode from a group's extensions; raises ConversationInfoInvalid if missing or malformed."""
        found = [extension.data for extension in extensions if extension.type == EXTENSION_TYPE]
        if len(found) != 1:
            _refuse("the group does not carry it exactly once")
        return cls._parse(found[0])

    @classmethod
    def _parse(cls, data: bytes) -> Self:
        if len(data) > INFO_BYTES:
            _refuse(f"it is longer than {INFO_BYTES} bytes")
        try:
            value = unpack(data)
        except PackingError as error:
            raise ConversationInfoInvalid(_said("it is not well-formed")) from error
        if not isinstance(value, list) or len(value) != 7 or type(value[0]) is not int or value[0] != FORMAT:
            _refuse("its format is not 1")
        _, portal, engagement, generation, features, policy, participants = value
        if not (isinstance(features, list) and isinstance(policy, dict) and isinstance(participants, list)):
            _refuse("its fields have the wrong types")
        return cls(
            portal=cast(PortalId, portal),
            engagement=cast(EngagementId, engagement),
            generation=cast(int, generation),
            features=tuple(cast(list[str], features)),
            policy=policy,
            participants=tuple(_participant(p) for p in participants),
        )


def group_id(portal: PortalId, engagement: EngagementId, generation: int) -> bytes:
    """H(label("group") || msgpack([portal, engagement, generation])), 32 bytes."""
    return hashlib.sha256(label("group") + pack([portal, engagement, generation])).digest()


def conversation_epoch(generation: int, epoch: int) -> int:
    """The number of an epoch within the conversation: it rises also where a new group takes over.

    (generation - 1) * 2^32 + the group's own epoch; raises ConversationInfoInvalid where that is no number.
    """
    if not (1 <= generation <= MOST_GENERATIONS and 0 <= epoch < GENERATION_EPOCHS):
        _refuse("its generation or epoch is out of range")
    return (generation - 1) * GENERATION_EPOCHS + epoch


def _participant(value: object) -> Participant:
    if not isinstance(value, list) or len(value) != 3:
        _refuse("a participant is not [user, role, identity key]")
    user, role, identity_key = value
    try:
        return Participant(parse_user_id(user), parse_role(role), cast(bytes, identity_key))
    except WireError as error:
        raise ConversationInfoInvalid(_said("a participant's user or role is not one")) from error


def _check_names(names: Iterable[object], most: int, most_bytes: int, what: str) -> None:
    listed = list(names)
    if len(listed) > most or len(set(map(repr, listed))) != len(listed):
        _refuse(f"its {what} are doubled or more than {most}")
    if not all(isinstance(name, str) and 1 <= len(name.encode()) <= most_bytes for name in listed):
        _refuse(f"its {what} have a name that is not 1 to {most_bytes} bytes")


def _said(reason: str) -> str:
    return f"The conversation's description is not valid: {reason}. The change that brought it is ignored."


def _refuse(reason: str) -> NoReturn:
    raise ConversationInfoInvalid(_said(reason))
