"""The rules of delivery: who has seen what, what to send again, and what means alarm. Pure."""

from .alarms import (
    ALARMS,
    BundleMismatch,
    ClonedDevice,
    EpochRolledBack,
    Fact,
    IdentityChanged,
    ManifestForked,
    ManifestRolledBack,
    RelayContradiction,
    SecurityAlarm,
    StreamForked,
    StreamGap,
    StreamReplaced,
    StreamRolledBack,
    StreamSkipped,
    alarm_from,
)
from .stream_hash import after_commit, after_entry, entry_hash

__all__ = [
    "ALARMS",
    "BundleMismatch",
    "ClonedDevice",
    "EpochRolledBack",
    "Fact",
    "IdentityChanged",
    "ManifestForked",
    "ManifestRolledBack",
    "RelayContradiction",
    "SecurityAlarm",
    "StreamForked",
    "StreamGap",
    "StreamReplaced",
    "StreamRolledBack",
    "StreamSkipped",
    "after_commit",
    "after_entry",
    "alarm_from",
    "entry_hash",
]
