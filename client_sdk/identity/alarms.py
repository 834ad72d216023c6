"""The security alarms about who somebody is (docs/PROTOCOL.md section 6)."""

from __future__ import annotations

from ..errors import SecurityAlarm


class IdentityChanged(SecurityAlarm):
    """Somebody appears with an identity key that nothing connects with the one we knew."""

    code = "identity_changed"
    what = "{who} appears with a new security key."
    why = (
        "Either {who} lost everything and started anew without a recovery kit, or somebody else uses that "
        "account at your portal."
    )
    do = (
        "Call {who}, or meet, and ask. If it is so, compare the new safety number, and let the new key in; "
        "if not, go on without it, and tell your portal."
    )


class IdentityRecovered(IdentityChanged):
    """A person's identity key is a new one, and their recovery key vouches for it."""

    code = "identity_recovered"
    what = "{who} came back on a new device with the recovery kit, and has a new security key."
    why = "The earlier devices of {who} are shut out. But whoever found that kit could have done the same."
    do = "Call {who}, or meet, ask whether it is so, and compare the new safety number. Then go on."


class OwnIdentityChanged(IdentityChanged):
    """This user's own account appears elsewhere with another identity key."""

    code = "own_identity_changed"
    what = "Your own account was set up anew on another device."
    why = "Either you did that yourself, or somebody has your portal login, and perhaps your recovery kit."
    do = (
        "If it was you, go on there: this device belongs to the time before. If it was not, call the people "
        "you talk with, and tell your portal at once."
    )


class ManifestRolledBack(SecurityAlarm):
    """An older device list than one already seen was presented."""

    code = "manifest_rolled_back"
    what = "An out-of-date list of the devices of {who} was presented as the current one."
    why = "A device that was removed from it, for example a stolen one, could come back that way."


class ManifestForked(SecurityAlarm):
    """Two different device lists carry the same version."""

    code = "manifest_forked"
    what = "Two different lists of the devices of {who} exist that both claim to be the same one."
    why = "Two devices of {who} changed it at once, or somebody else holds the key that signs it."
    do = "Ask {who} to remove and add one device, which makes a new list; compare safety numbers if in doubt."
