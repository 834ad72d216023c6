"""Where the engine keeps what in the vault: the names of its spaces and the form of their keys."""

from __future__ import annotations

from typing import Final

from relay.wire.ids import EngagementId

ACCOUNT: Final = "account"
CONVERSATION: Final = "conversation"  # engagement -> ConversationRecord
ENGAGEMENT: Final = "engagement"  # engagement -> the relay's last word about it
EPOCH: Final = "group-epoch"  # engagement -> the part of the group state that one epoch keeps
RATCHET: Final = "group-ratchet"  # engagement -> the part that each message changes
CONTEXT: Final = "group-context"  # engagement, epoch -> the GroupContext, for a later disclosure
PENDING: Final = "pending-commit"  # engagement -> PendingCommit
BOX: Final = "outbox-order"  # engagement -> delivery.Outbox: what waits, in order
OUTBOX: Final = "outbox"  # engagement, item id -> OutboxRecord
COUNTERS: Final = "counters"  # engagement -> delivery.MessageCounters
HELD: Final = "held"  # engagement -> ids of amendments to messages that are not here
WITHDRAWN: Final = "withdrawn"  # engagement, blob -> that blob, which the relay is to erase
UPLOAD: Final = "upload"  # engagement, item id -> UploadRecord
ATTEST: Final = "attest"  # engagement -> the stream hashes of late
DOUBT: Final = "doubt"  # engagement -> GroupInfo of a commit that did not open on this device
PASSED: Final = "passed"  # engagement, position -> delivery.Passed: an entry that was processed
COMMIT: Final = "commit"  # engagement, position -> CommitRecord
OWN_COMMIT: Final = "own-commit"  # engagement, counter -> body of a commit of ours in a stream given up
LOST: Final = "lost"  # engagement, hash of a body -> delivery.Passed: a message that the relay lost
LOST_COMMIT: Final = "lost-commit"  # engagement, epoch -> CommitRecord: a commit that the relay lost
FOREIGN: Final = "foreign"  # user, hash of a device list -> that list, which was refused with an alarm once
CALLING: Final = "calling"  # engagement, call id -> OpenCall: a call of ours whose end is not stored yet
SETTING: Final = "setting"  # what this person wants of this device
EARLIER: Final = "earlier"  # device id -> it was this user's before they started anew: it stays outside
TRUST: Final = "trust"  # user -> TrustRecord
ARCHIVE: Final = "archive"  # engagement -> ArchiveRecord; under the empty key, that the person wants one
RESTORED: Final = "restored"  # engagement, series -> how far that series of an archive has come back
WITNESS: Final = "witness"  # engagement, "/", user -> how far they said that their archive is
NAME: Final = "name"  # user -> the name that they gave themselves
EPHEMERAL: Final = "ephemeral"  # engagement -> the counter up to which numbers are reserved
OWN_LIST: Final = "own-list"  # a change of this user's devices that is not done, and what the relay knows
DEVICE_NAME: Final = "device-name"  # device id -> what this person calls that device of theirs
LINKING: Final = "linking"  # LinkJob: what a link that was decided still owes to the new device
ARRIVAL: Final = "arrival"  # ArrivalRecord: this device is being linked
HISTORY: Final = "history"  # engagement -> HistoryRef: a history to be fetched from the relay
OPENED: Final = "opened"  # how often this vault was opened and closed, as the keyring counts it too
INBOX: Final = "inbox"  # engagement, number -> id of an item that the application has not taken yet


def conversation_key(engagement: EngagementId) -> bytes:
    """The key of what a conversation has once; all have one length, so that none is a prefix of another."""
    return engagement.encode("ascii")


def numbered_key(engagement: EngagementId, number: int) -> bytes:
    """The key of the numbered things of a conversation, in the order of their numbers."""
    return conversation_key(engagement) + number.to_bytes(8, "big")
