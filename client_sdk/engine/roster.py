"""Who takes part, as this device knows it: the portal's roster, the group's participants, trust and names."""

from __future__ import annotations

from collections.abc import Callable

from client_sdk.engine import spaces, trusting
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.people import People, Person
from client_sdk.identity import TrustState
from client_sdk.vault import Transaction
from relay.wire.ids import Role, UserId


def roles(conversation: Conversation) -> dict[UserId, Role]:
    """Everybody's role: the group's word counts before the portal's."""
    engagement, view = conversation.engagement, conversation.standing.view
    found = {p.user: p.role for p in engagement.participants} if engagement is not None else {}
    if view is not None:
        found |= {participant.user: participant.role for participant in view.info.participants}
    return found


def people(conversation: Conversation, tx: Transaction, admissible: Callable[[UserId], bool]) -> People:
    """Everybody but this user."""
    own = conversation.context.account.user
    others = sorted(user for user in roles(conversation) if user != own)
    return People(person(conversation, tx, user, admissible) for user in others)


def person(
    conversation: Conversation,
    tx: Transaction,
    user: str,
    admissible: Callable[[UserId], bool] = lambda _user: True,
) -> Person:
    """Somebody of the conversation, also if they have left it."""
    account, record = conversation.context.account, conversation.standing.record
    role = roles(conversation).get(UserId(user), Role.TEAM_MEMBER)
    if user == account.user:
        key = account.manifest.identity_key
        return Person(account.portal, account.user, role, account.name or user, TrustState.VERIFIED, key)
    trust = trusting.trust_of(tx, user) if user in record.met else None
    claimed = trusting.claimed_identity(tx, user) if trust is not None else None
    shown = TrustState.CHANGED if claimed is not None else None
    newest = claimed or (None if trust is None else trust.newest)
    return Person(
        portal=account.portal,
        user=UserId(user),
        role=role,
        name=trusting.name_of(tx, user),
        trust=shown or (None if trust is None else trust.state),
        identity_key=None if newest is None else newest.identity_key,
        needs_admission=trust is None and _waits(conversation, user) and not admissible(UserId(user)),
    )


def own_device(conversation: Conversation, tx: Transaction, device: bytes | None) -> str:
    """What to call another device of this person, as in "on your device “laptop”"; else empty."""
    account = conversation.context.account
    if device is None or device == account.device:
        return ""
    if not any(listed.id == device for listed in account.manifest.devices):
        return ""
    name = tx.get(spaces.DEVICE_NAME, device)
    return "another device of yours" if name is None else f"your device “{name.decode()}”"


def _waits(conversation: Conversation, user: str) -> bool:
    engagement = conversation.engagement
    return engagement is not None and any(
        device.user == user and device.has_key_package for device in engagement.devices
    )
