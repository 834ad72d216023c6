"""One member's device that takes another's out of a conversation and lets it in again at once."""

from __future__ import annotations

import time

from client_sdk import Client, Engagement
from client_sdk.engine.key_packages import parse_claimed
from client_sdk.engine.membership import Made
from client_sdk.engine.records import CommitReason
from client_sdk.engine.sending import put_commit
from client_sdk.mls import GroupState, MLSMessage
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.rogue import rogue_commit


def _group(room: Engagement) -> GroupState:
    group = room._conversation.standing.group
    if group is None:
        raise RuntimeError("it takes no part itself")
    return group


async def _commit(room: Engagement, made: Made) -> None:
    conversation = room._conversation
    with conversation.work("remove or add") as work:
        put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=conversation.context.new_id())
    conversation.go_on()
    await room.wait_until(lambda: conversation.standing.pending is None)


async def remove(room: Engagement, user: str) -> None:
    """Take this user's one device out; whoever it is learns nothing of it from the relay."""
    view = room._conversation.standing.view
    leaves = [leaf.index for leaf in view.leaves if leaf.user == user] if view is not None else []
    await _commit(room, rogue_commit(_group(room), now=int(time.time()), remove=leaves))


async def pass_over(room: Engagement, user: str) -> None:
    """Have the relay believe that this user's device is let in now: it hands it nothing from before."""
    names = (_devices(room, user), ())
    await _commit(room, rogue_commit(_group(room), now=int(time.time()), names=names))


def _devices(room: Engagement, user: str) -> tuple[DeviceId, ...]:
    engagement = room._conversation.engagement
    if engagement is None:
        raise RuntimeError("the relay has not said how the engagement stands")
    return tuple(entry.device for entry in engagement.devices if entry.user == user)


async def claim(client: Client, room: Engagement, user: str) -> bytes:
    """A key package of this user's one device, as the relay gives it."""
    devices, requests = _devices(room, user), client._engine.requests
    answer = await requests.ask(
        lambda number: fr.ClaimKeyPackages(number, room._conversation.id, devices), fr.KeyPackages
    )
    (claimed,) = answer.packages
    package = parse_claimed(claimed.package or b"", claimed.device)[_group(room).suite.id]
    return MLSMessage(package).serialize()


async def add(room: Engagement, package: bytes) -> None:
    """Let the device of this key package in."""
    await _commit(room, rogue_commit(_group(room), now=int(time.time()), add=[package]))


async def add_again(client: Client, room: Engagement, user: str) -> None:
    """Let this user's one device in."""
    await add(room, await claim(client, room, user))
