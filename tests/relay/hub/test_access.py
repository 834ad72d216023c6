"""Taking access back while somebody is just coming in; and the notes by which other processes tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.core.access import AccessToken
from relay.errors import NotFound, QuotaExceeded, StoreUnavailable
from relay.hub import Hub, notes
from relay.store import MemoryDirectory
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, PortalId
from tests.relay.hub.support import ANNA, BEN, NOW, PORTAL, Device, make_hub, only, verify_token

HELLO = fr.Hello((1,), b"c" * 32)
Meanwhile = Callable[[], Awaitable[object]]


async def coming_in(hub: Hub, user: str = ANNA) -> tuple[Device, fr.Authenticate]:
    """A device that has been challenged, and what it answers."""
    device = Device(hub, user)
    device.attach()
    (challenge,) = await device.say(HELLO)
    assert isinstance(challenge, fr.Challenge)
    return device, device.proof(challenge)


def ended(device: Device, frames: list[Any]) -> str:
    """The code of the goodbye, with which it is over."""
    assert device.sink.closed
    assert not any(isinstance(frame, fr.Ready) for frame in frames)
    assert device.session not in device.hub.access._entries
    return str(frames[-1].code)


class Interrupted(MemoryDirectory):
    """Does something else in the middle of a read."""

    def __init__(self, space: str) -> None:
        super().__init__()
        self._space = space
        self.meanwhile: Meanwhile | None = None

    async def get(self, space: str, key: str) -> Any:
        found = await super().get(space, key)
        if space == self._space and self.meanwhile is not None:
            work, self.meanwhile = self.meanwhile, None
            await work()
        return found


async def test_a_revocation_before_the_check_is_seen_by_it(hub: Hub) -> None:
    device, proof = await coming_in(hub)

    async def slow(token: str, now: int) -> AccessToken:
        await hub.access.revoke_tokens(PORTAL, ANNA)
        return verify_token(token, now)

    hub.verify_token = slow
    assert ended(device, await device.say(proof)) == "token_revoked"


@pytest.mark.parametrize("what", ["tokens", "token", "device"])
async def test_a_revocation_during_the_check_finds_the_connection(what: str) -> None:
    directory = Interrupted("revocations")
    hub = make_hub(directory=directory)
    await hub.start()
    device, proof = await coming_in(hub)
    if what == "device":
        await hub.devices.admit(PORTAL, ANNA, device.id, now=NOW)
    works: dict[str, Meanwhile] = {
        "tokens": lambda: hub.access.revoke_tokens(PORTAL, ANNA),
        "token": lambda: hub.access.revoke_token(PORTAL, ANNA, "id"),
        "device": lambda: hub.access.revoke_device(PORTAL, ANNA, device.id),
    }
    directory.meanwhile = works[what]
    code = ended(device, await device.say(proof))
    assert code == ("device_revoked" if what == "device" else "token_revoked")
    assert hub.statistics().ready == 0
    await hub.close()


async def test_a_key_that_goes_while_a_token_is_verified_lets_nobody_in(hub: Hub) -> None:
    device, proof = await coming_in(hub)

    async def slow(token: str, now: int) -> AccessToken:
        await notes.leave(hub.directory, notes.PORTAL, PORTAL)
        await hub.access.poll()
        return verify_token(token, now)

    hub.verify_token = slow
    assert ended(device, await device.say(proof)) == "token_invalid"


async def test_who_leaves_while_coming_in_is_not_remembered(hub: Hub) -> None:
    device, proof = await coming_in(hub)

    async def slow(token: str, now: int) -> AccessToken:
        device.session.lost()
        return verify_token(token, now)

    hub.verify_token = slow
    await device.say(proof)
    assert not hub.access._entries
    assert not hub.access.connections


async def test_a_device_that_nobody_has_seen_cannot_be_revoked(hub: Hub) -> None:
    with pytest.raises(NotFound):
        await hub.access.revoke_device(PORTAL, ANNA, DeviceId(b"x" * 16))
    device = await Device(hub, BEN).connect()
    with pytest.raises(NotFound):
        await hub.access.revoke_device(PORTAL, ANNA, device.id)
    with pytest.raises(NotFound):
        await hub.access.revoke_device(PortalId("other"), BEN, device.id)
    assert not device.sink.closed
    assert await hub.directory.scan("revocations", "", limit=9) == []


async def test_a_revoked_device_leaves_nothing_of_itself_for_others(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    only(await device.say(fr.PublishKeyPackages(1, (b"one", b"two"), b"last")), fr.Published)
    await hub.access.revoke_device(PORTAL, ANNA, device.id)
    assert await hub.devices.seen(PORTAL, ANNA) == {}
    assert await hub.key_packages.left(device.id) == 0
    binding = await hub.devices.binding(device.id)
    assert binding is not None, "it never becomes somebody else's"


# -- quotas of connections -------------------------------------------------------------------------


async def test_the_count_of_connections_is_that_of_the_connections(hub: Hub) -> None:
    devices = [await Device(hub, ANNA, seed=str(number)).connect() for number in range(3)]
    again = await Device(hub, ANNA, seed="0").connect()
    assert hub.access.connections[PORTAL] == 3, "one was replaced"
    for device in (*devices, again):
        device.session.lost()
    assert not hub.access.connections


async def test_a_quota_does_not_end_who_is_here(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    token = AccessToken(PORTAL, ANNA, NOW + 60, "id", NOW, "", max_connections=1)
    await hub.access.enter(device.session, token, device.id, hub.access.portal_changes)
    newcomer, _ = await coming_in(hub, BEN)
    with pytest.raises(QuotaExceeded):
        await hub.access.enter(newcomer.session, token, newcomer.id, hub.access.portal_changes)
    assert hub.access.connections[PORTAL] == 1
    assert hub.access.refused_connections == 1


# -- notes -------------------------------------------------------------------------------------------


async def test_a_note_is_worked_on_once() -> None:
    directory, seen = MemoryDirectory(), list[str]()

    async def work(name: str) -> None:
        seen.append(name)

    await notes.leave(directory, "portal", "growth")
    await notes.leave(directory, "portal", "growth")
    await notes.leave(directory, "engagement", "eng_x")
    for count in (2, 0):
        assert await notes.work_off(directory, {"portal": work, "engagement": work}) == count
    assert seen == ["eng_x", "growth"]


async def test_a_note_left_again_meanwhile_is_worked_on_again() -> None:
    directory, seen = MemoryDirectory(), list[str]()

    async def work(name: str) -> None:
        if not seen:
            await notes.leave(directory, "portal", name)
        seen.append(name)

    await notes.leave(directory, "portal", "growth")
    await notes.work_off(directory, {"portal": work})
    await notes.work_off(directory, {"portal": work})
    assert seen == ["growth", "growth"]
    assert await notes.work_off(directory, {"portal": work}) == 0


async def test_a_note_whose_work_failed_stays() -> None:
    directory = MemoryDirectory()

    async def work(_name: str) -> None:
        raise StoreUnavailable("the disk")

    await notes.leave(directory, "portal", "growth")
    with pytest.raises(StoreUnavailable):
        await notes.work_off(directory, {"portal": work})
    assert await directory.count("notes", "") == 1


async def test_a_note_that_this_version_does_not_know_goes() -> None:
    directory = MemoryDirectory()
    await notes.leave(directory, "weather", "rain")
    assert await notes.work_off(directory, {}) == 1
    assert await directory.count("notes", "") == 0


async def test_a_poll_that_fails_is_followed_by_another(hub: Hub) -> None:
    await hub.directory.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await hub.access.poll()
