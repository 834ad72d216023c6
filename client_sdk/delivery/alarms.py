"""Security alarms: sending stops, and what waits is kept, until a person has looked (docs/PROTOCOL.md 8).

Each says in ``sentence`` what happened, why it matters and what to do, in words for a coach, not an engineer.
``evidence`` holds public facts alone (positions, epochs, hashes, device ids as hex), never content or
keys, and stays out of the message, so that a logged alarm tells nothing about anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from ..errors import CoachRelayError, Fault, RecordInvalid

Fact = int | str

_KEEP = "Nothing more is sent, and what you wrote is kept, until you decide."
_TALK = "Reach the other person another way, tell them, and compare your safety numbers before you go on."


class SecurityAlarm(CoachRelayError):
    """Root of the alarms; ``evidence`` are public facts, bytes given as hex."""

    code = "security_alarm"
    fault = Fault.REMOTE
    what: ClassVar[str] = "Something happened that should not happen."
    why: ClassVar[str] = "This conversation may be under attack."
    do: ClassVar[str] = f"{_KEEP} {_TALK}"

    def __init__(self, **evidence: Fact | bytes) -> None:
        super().__init__(self.sentence)
        facts = {name: fact.hex() if isinstance(fact, bytes) else fact for name, fact in evidence.items()}
        self.evidence: Mapping[str, Fact] = MappingProxyType(facts)

    @property
    def sentence(self) -> str:
        """What happened, why it matters, what to do."""
        return f"{self.what} {self.why} {self.do}"


class StreamRolledBack(SecurityAlarm):
    """The relay's stream ends before what this device has already received or stored there."""

    code = "stream_rolled_back"
    what = "The relay has lost or withdrawn messages that it had already delivered."
    why = (
        "It was restored from an old copy, or somebody is trying to make parts of the conversation disappear."
    )
    do = f"{_KEEP} Ask whoever runs the relay whether it was restored; then compare with the other person."


class StreamReplaced(SecurityAlarm):
    """The stream's incarnation is another than before."""

    code = "stream_replaced"
    what = "The relay has replaced this conversation's store by another one."
    why = "It was restored from an old copy, or another machine poses as your relay."
    do = f"{_KEEP} Ask whoever runs the relay whether it was restored; then compare with the other person."


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
        f"{_KEEP} If you did not restore a backup yourself, remove this device from your list of devices "
        "and set it up anew."
    )


class BundleMismatch(SecurityAlarm):
    """A commit names other devices to the relay than it adds and removes."""

    code = "bundle_mismatch"
    what = "A change of the devices in this conversation was announced differently from what it really did."
    why = "It was ignored; but a device or the relay tried to let somebody in or to shut somebody out."


class EpochRolledBack(SecurityAlarm):
    """The relay offered a state of the group that is not newer than the one this device had."""

    code = "epoch_rolled_back"
    what = "The relay offered an old state of the conversation as the newest one."
    why = "In an old state, devices that were removed could still read along."


class IdentityChanged(SecurityAlarm):
    """A person's identity key is another than the one we knew."""

    code = "identity_changed"
    what = "The security key of a person in this conversation has changed."
    why = "They set up everything anew with their recovery kit, or somebody poses as them."
    do = (
        f"{_KEEP} Call or meet the person, ask whether they did that, and compare the new safety number. "
        "Go on only if it is really theirs."
    )


class ManifestRolledBack(SecurityAlarm):
    """An older device list than one already seen was presented."""

    code = "manifest_rolled_back"
    what = "An out-of-date list of a person's devices was presented as their current one."
    why = "A device that they removed, for example a stolen one, could come back that way."


class ManifestForked(SecurityAlarm):
    """Two different device lists carry the same version."""

    code = "manifest_forked"
    what = "Two different lists of a person's devices exist that both claim to be the same one."
    why = "Two of their devices were changed at once, or somebody else holds their identity key."
    do = f"{_KEEP} Ask the person to save their device list again; compare safety numbers if in doubt."


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
            IdentityChanged,
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
