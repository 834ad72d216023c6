"""The rules of delivery: who has seen what, what to send again, and what means alarm. Pure."""

from ..errors import Fact, SecurityAlarm
from ..identity.alarms import (
    IdentityChanged,
    IdentityRecovered,
    ManifestForked,
    ManifestRolledBack,
    OwnIdentityChanged,
)
from .alarms import (
    ALARMS,
    ArchiveRolledBack,
    ArchiveWithheld,
    BundleMismatch,
    ClonedDevice,
    EpochRolledBack,
    RelayContradiction,
    StreamForked,
    StreamGap,
    StreamReplaced,
    StreamRolledBack,
    StreamSkipped,
    alarm_from,
)
from .attest import AttestLog
from .counters import MessageCounters
from .cursor import Place, Resume, check_opened, place
from .outbox import MOST_IN_FLIGHT, Action, Event, ItemState, Outbox, OutboxItem
from .receipts import Receipts
from .repair import MOST_COMPARED, MOST_PASSED, Comparison, Passed, after_incarnation, log_at
from .stream_hash import after_commit, after_entry, entry_hash

__all__ = [
    "ALARMS",
    "MOST_COMPARED",
    "MOST_IN_FLIGHT",
    "MOST_PASSED",
    "Action",
    "ArchiveRolledBack",
    "ArchiveWithheld",
    "AttestLog",
    "BundleMismatch",
    "ClonedDevice",
    "Comparison",
    "EpochRolledBack",
    "Event",
    "Fact",
    "IdentityChanged",
    "IdentityRecovered",
    "ItemState",
    "ManifestForked",
    "ManifestRolledBack",
    "MessageCounters",
    "Outbox",
    "OutboxItem",
    "OwnIdentityChanged",
    "Passed",
    "Place",
    "Receipts",
    "RelayContradiction",
    "Resume",
    "SecurityAlarm",
    "StreamForked",
    "StreamGap",
    "StreamReplaced",
    "StreamRolledBack",
    "StreamSkipped",
    "after_commit",
    "after_entry",
    "after_incarnation",
    "alarm_from",
    "check_opened",
    "entry_hash",
    "log_at",
    "place",
]
