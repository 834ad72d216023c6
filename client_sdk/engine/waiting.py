"""What waits to be sent, and why: said in words that an application may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from client_sdk.delivery import OutboxItem
from client_sdk.engine import spaces
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.records import OutboxRecord, Phase
from client_sdk.vault import Transaction
from relay.wire import EntryKind
from relay.wire import frames as fr


class WaitReason(StrEnum):
    """Why a message is still on this device alone."""

    ALARM = "A security alarm waits for your decision."
    ENDED = "The engagement has ended."
    STOPPED = "The relay does not let this device take part."
    OFFLINE = "There is no connection to the relay."
    CATCHING_UP = "This device is still reading what came meanwhile."
    NOT_ACCEPTED = (
        "You were here before with other keys. The others have to let your new ones in: call them, and have "
        "them compare your safety number. With your recovery kit you are let in at once."
    )
    NOT_JOINED = "This device waits to be let into the conversation."
    REPAIRING = (
        "The relay lost the newest messages and is being brought up to date from the devices; "
        "nothing is lost."
    )
    REJOINING = "This device is rejoining the conversation."
    OUTDATED = "Somebody here has new keys, and their earlier devices have to leave the conversation first."
    NOBODY_THERE = "Nobody else has joined the conversation yet."
    UPDATE = "The conversation needs a newer version of the app."
    UPLOADING = "The file is being uploaded."
    ON_ITS_WAY = "It is on its way."


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message that waits."""

    id: bytes
    reason: WaitReason


def reason(conversation: Conversation, *, online: bool) -> WaitReason:
    """Why the conversation does not send; `ON_ITS_WAY` if it does."""
    phase = conversation.standing.record.phase
    hindrances = (
        (WaitReason.ALARM, bool(conversation.standing.record.alarm)),
        (WaitReason.ENDED, conversation.is_ended),
        (WaitReason.OFFLINE, not online),
        (WaitReason.STOPPED, bool(conversation.stopped)),
        (WaitReason.CATCHING_UP, not conversation.caught_up),
        (WaitReason.NOT_ACCEPTED, phase is Phase.OUTSIDE and starts_anew(conversation)),
        (WaitReason.NOT_JOINED, phase is Phase.OUTSIDE),
        (WaitReason.REPAIRING, conversation.repairing),
        (WaitReason.REJOINING, phase is Phase.REJOINING),
        (WaitReason.OUTDATED, bool(conversation.outdated_leaves)),
        (WaitReason.NOBODY_THERE, not conversation.somebody_listens),
        (WaitReason.UPDATE, not conversation.is_supported),
    )
    return next((why for why, holds in hindrances if holds), WaitReason.ON_ITS_WAY)


def starts_anew(conversation: Conversation) -> bool:
    """Whether devices of this user take part that its list does not know: it was set up without the kit."""
    return any(device.member for device in earlier_devices(conversation))


def earlier_devices(conversation: Conversation) -> list[fr.EngagementDevice]:
    """The devices at the relay that were this user's before they started anew; none after a recovery."""
    account, engagement = conversation.context.account, conversation.engagement
    if engagement is None or account.manifest.era:
        return []
    listed = {device.id for device in account.manifest.devices}
    mine = (device for device in engagement.devices if device.user == account.user)
    return [device for device in mine if device.device not in listed]


def outbox(
    conversation: Conversation, tx: Transaction, *, online: bool, uploads: Sequence[bytes] = ()
) -> tuple[Waiting, ...]:
    """Everything that the application said and that is not in the stream yet, in order."""
    why = reason(conversation, online=online)
    uploading = WaitReason.UPLOADING if why is WaitReason.ON_ITS_WAY else why
    said = [item.id for item in conversation.standing.box.items if _is_said(conversation, tx, item)]
    return (*(Waiting(i, why) for i in said), *(Waiting(i, uploading) for i in uploads))


def nothing_waits(conversation: Conversation, uploads: Sequence[bytes] = ()) -> bool:
    """Whether all that was said is in the stream."""
    return not uploads and all(item.kind is EntryKind.COMMIT for item in conversation.standing.box.items)


def _is_said(conversation: Conversation, tx: Transaction, item: OutboxItem) -> bool:
    if item.kind is not EntryKind.MESSAGE:
        return False
    key = spaces.conversation_key(conversation.id) + item.id
    stored = tx.get(spaces.OUTBOX, key)
    return stored is not None and OutboxRecord.parse(stored).in_history
