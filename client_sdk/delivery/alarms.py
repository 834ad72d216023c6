"""The security alarms about the stream, the relay and this device (docs/PROTOCOL.md section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..errors import Fact, RecordInvalid, SecurityAlarm
from ..identity.alarms import (
    IdentityChanged,
    IdentityRecovered,
    ManifestForked,
    ManifestRolledBack,
    OwnIdentityChanged,
)


class StreamRolledBack(SecurityAlarm):
    """The relay's stream ends before what this device has already received or stored there."""

    code = "stream_rolled_back"
    what = "The relay has lost or withdrawn messages that it had already delivered."
    why = (
        "It was restored from an old copy, or somebody is trying to make parts of the conversation disappear."
    )
    do = "Ask whoever runs the relay whether it was restored; then compare with the other person."


class StreamReplaced(SecurityAlarm):
    """The stream's incarnation is another than before."""

    code = "stream_replaced"
    what = "The relay has replaced this conversation's store by another one."
    why = "It was restored from an old copy, or another machine poses as your relay."
    do = "Ask whoever runs the relay whether it was restored; then compare with the other person."


class StreamForked(SecurityAlarm):
    """A member's attested stream hash differs from ours: the relay shows its members different streams."""

    code = "stream_forked"
    what = "You and another device of this conversation were shown different messages, or in another order."
    why = "A correct relay shows everybody the same; one that does not may be hiding or inserting something."


class StreamSkipped(SecurityAlarm):
    """An entry came whose position is not the next one."""

    code = "stream_skipped"
    what = "The relay left out a part of the conversation while delivering it."
    why = "Somebody may be keeping a message from you."


class StreamGap(SecurityAlarm):
    """A device's message counter skipped or repeated: one of its messages is missing, or came twice."""

    code = "stream_gap"
    what = "A message that another device sent did not arrive here."
    why = "Messages never get lost by accident on this path; somebody may be keeping one from you."


class RelayContradiction(SecurityAlarm):
    """The relay's answer about one of our entries and the stream contradict each other."""

    code = "relay_contradiction"
    what = "The relay said one thing about a message of yours and did another."
    why = "A message may have been stored although you were told it was not, or the other way round."


class ClonedDevice(SecurityAlarm):
    """There is an entry by our own device key that this device never made."""

    code = "cloned_device"
    what = "Something was sent in the name of this device that this device did not send."
    why = "A copy of it is in use: an old backup was restored, or somebody has stolen its keys."
    do = (
        "If you did not restore a backup yourself, remove this device from your list of devices "
        "and set it up anew."
    )


class BundleMismatch(SecurityAlarm):
    """A commit names other devices to the relay than it adds and removes."""

    code = "bundle_mismatch"
    what = "A change of the devices in this conversation was announced differently from what it really did."
    why = "It was ignored; but a device or the relay tried to let somebody in or to shut somebody out."


class ArchiveRolledBack(SecurityAlarm):
    """The relay holds fewer parts of this device's archive than it had taken."""

    code = "archive_rolled_back"
    what = "The relay has lost or withdrawn a part of your archive that it had already taken."
    why = "It was restored from an old copy, or somebody wants you not to get your history back one day."
    do = (
        "Ask whoever runs the relay whether it was restored. Your archive is written anew from this device, "
        "where nothing is missing."
    )


class ArchiveWithheld(SecurityAlarm):
    """When this device came back, the relay gave less of an archive than others know it had."""

    code = "archive_withheld"
    what = "The relay gave you back less of your archive than it had: the newest of your history is missing."
    why = "It was restored from an old copy, or somebody does not want you to have it."
    do = (
        "Ask whoever runs the relay. If it has the rest after all, come back once more with your recovery "
        "kit; or ask the others for what is missing."
    )


class EpochRolledBack(SecurityAlarm):
    """The relay offered a state of the group that is not newer than the one this device had."""

    code = "epoch_rolled_back"
    what = "The relay offered an old state of the conversation as the newest one."
    why = "In an old state, devices that were removed could still read along."


ALARMS: Final[Mapping[str, type[SecurityAlarm]]] = MappingProxyType(
    {
        alarm.code: alarm
        for alarm in (
            StreamRolledBack,
            StreamReplaced,
            StreamForked,
            StreamSkipped,
            StreamGap,
            RelayContradiction,
            ClonedDevice,
            BundleMismatch,
            EpochRolledBack,
            ArchiveRolledBack,
            ArchiveWithheld,
            IdentityChanged,
            IdentityRecovered,
            OwnIdentityChanged,
            ManifestRolledBack,
            ManifestForked,
        )
    }
)
"""All alarms by code."""


def alarm_from(code: str, evidence: Mapping[str, Fact]) -> SecurityAlarm:
    """The alarm that was stored as its code and evidence; raises RecordInvalid for an unknown code."""
    if code not in ALARMS:
        raise RecordInvalid("A stored alarm has a code that this version does not know. Update the app.")
    return ALARMS[code](**evidence)
