"""The security alarms about who somebody is (docs/PROTOCOL.md section 6)."""

from __future__ import annotations

from ..errors import SecurityAlarm


class IdentityChanged(SecurityAlarm):
    """A person's identity key is another than the one we knew."""

    code = "identity_changed"
    what = "The security key of a person in this conversation has changed."
    why = "They set up everything anew with their recovery kit, or somebody poses as them."
    do = (
        "Call or meet the person, ask whether they did that, and compare the new safety number. "
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
    do = "Ask the person to save their device list again; compare safety numbers if in doubt."
