"""Who is let in, and who is not."""

from __future__ import annotations

import pytest

from relay.errors import StoreUnavailable
from relay.hub import Hub
from relay.store import MemoryDirectory
from relay.wire import ErrorCode, State, connect_proof_bytes, encode
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from relay.wire.limits import HANDSHAKE_SECONDS, MAX_DEVICES_PER_USER, MAX_HANDSHAKE_MESSAGE_BYTES
from tests.relay.hub.support import (
    ANNA,
    BEN,
    NOW,
    ORIGIN,
    OTHER_ORIGIN,
    PORTAL,
    TOKEN_LIFE,
    Clock,
    Device,
    make_hub,
    new_engagement,
    only,
    token,
)

HELLO = fr.Hello((1,), b"c" * 32)


def farewell(device: Device, frames: list[object]) -> str:
    """The code of the goodbye, which is the last thing before the connection is closed."""
    goodbye = frames[-1]
    assert isinstance(goodbye, fr.Goodbye)
    assert device.sink.closed
    assert device.session.link.state is State.CLOSED
    return goodbye.code


async def challenged(hub: Hub, user: str = ANNA, *, portal: str = PORTAL) -> tuple[Device, fr.Challenge]:
    device = Device(hub, user, portal=portal)
    device.attach()
    (challenge,) = await device.say(HELLO)
    assert isinstance(challenge, fr.Challenge)
    return device, challenge


async def test_a_device_is_let_in(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    assert challenge.version == 1
    (ready,) = await device.say(device.proof(challenge))
    assert ready == fr.Ready(device.id, PORTAL, ANNA, NOW + TOKEN_LIFE, 0, 256, 1024 * 1024, NOW)
    assert hub.statistics().ready == 1


async def test_each_connection_has_its_own_challenge(hub: Hub) -> None:
    _, first = await challenged(hub)
    _, second = await challenged(hub)
    assert first.relay_nonce != second.relay_nonce


async def test_each_configured_origin_is_as_good(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    (ready,) = await device.say(device.proof(challenge, origin=OTHER_ORIGIN))
    assert isinstance(ready, fr.Ready)


async def test_the_highest_common_version_is_taken(hub: Hub) -> None:
    device = Device(hub, ANNA)
    device.attach()
    (challenge,) = await device.say(fr.Hello((7, 1, 0), b"c" * 32))
    assert isinstance(challenge, fr.Challenge)
    assert challenge.version == 1


async def test_no_common_version(hub: Hub) -> None:
    device = Device(hub, ANNA)
    device.attach()
    assert farewell(device, await device.say(fr.Hello((2, 3), b"c" * 32))) == "unsupported_version"


async def test_a_proof_for_another_origin_is_refused(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge, origin="https://evil.example"))
    assert farewell(device, frames) == "signature_invalid"


async def test_a_proof_for_another_portal_is_refused(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge, portal="other"))
    assert farewell(device, frames) == "signature_invalid"


async def test_a_proof_for_another_device_is_refused(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge, device=DeviceId(b"d" * 16)))
    assert farewell(device, frames) == "signature_invalid"


async def test_a_proof_over_another_challenge_is_refused(hub: Hub) -> None:
    _, old = await challenged(hub)
    device, _ = await challenged(hub)
    assert farewell(device, await device.say(device.proof(old))) == "signature_invalid"


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64])
@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
async def test_forged_proofs_are_refused(hub: Hub, key: bytes, signature: bytes) -> None:
    device, _ = await challenged(hub)
    frames = await device.say(fr.Authenticate(token(ANNA), key, signature))
    assert farewell(device, frames) == "signature_invalid"


async def test_a_bad_token_is_refused(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge, access="bad/anna/1"))
    assert farewell(device, frames) == "token_invalid"


async def test_an_old_token_is_refused(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge, access=token(ANNA, expires=NOW)))
    assert farewell(device, frames) == "token_expired"


async def test_a_device_stays_its_first_users(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    device.attach()
    (challenge,) = await device.say(HELLO)
    frames = await device.say(device.proof(challenge, access=token(BEN)))
    assert farewell(device, frames) == "device_foreign"


async def test_a_device_stays_its_first_portals(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    device.portal = type(device.portal)("other")
    device.attach()
    (challenge,) = await device.say(HELLO)
    frames = await device.say(device.proof(challenge, access=token(ANNA, portal="other")))
    assert farewell(device, frames) == "device_foreign"


async def test_a_user_has_a_most_of_devices(hub: Hub, clock: Clock) -> None:
    devices = [Device(hub, ANNA, seed=str(number)) for number in range(MAX_DEVICES_PER_USER + 1)]
    for device in devices[:-1]:
        await device.connect()
    last = devices[-1]
    last.attach()
    (challenge,) = await last.say(HELLO)
    assert farewell(last, await last.say(last.proof(challenge))) == "device_limit"
    await devices[0].connect()
    await Device(hub, BEN).connect()


async def test_a_device_that_has_long_been_away_makes_room(hub: Hub, clock: Clock) -> None:
    devices = [Device(hub, ANNA, seed=str(number)) for number in range(MAX_DEVICES_PER_USER + 1)]
    for device in devices[:-1]:
        await device.connect()
    clock.now += 181 * 86_400
    access = token(ANNA, expires=int(clock.now) + 60)
    for device in (*devices[1:-1], devices[-1]):
        device.attach()
        (challenge,) = await device.say(HELLO)
        (ready,) = await device.say(device.proof(challenge, access=access))
        assert isinstance(ready, fr.Ready)


@pytest.mark.parametrize(
    "frame",
    [
        fr.Authenticate(token(ANNA), b"k" * 32, b"s" * 64),
        fr.ListEngagements(1),
        fr.Renew(1, token(ANNA)),
    ],
    ids=["Authenticate", "ListEngagements", "Renew"],
)
async def test_nothing_comes_before_hello(hub: Hub, frame: fr.Frame) -> None:
    device = Device(hub, ANNA)
    device.attach()
    assert farewell(device, await device.say(frame)) == "out_of_order"


async def test_hello_comes_once(hub: Hub) -> None:
    device, _ = await challenged(hub)
    assert farewell(device, await device.say(HELLO)) == "out_of_order"


async def test_nothing_comes_before_ready(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge), fr.ListEngagements(1))
    assert farewell(device, frames) == "out_of_order"
    assert hub.statistics().ready == 0


async def test_the_proof_comes_once(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    await device.say(device.proof(challenge))
    assert farewell(device, await device.say(device.proof(challenge))) == "out_of_order"


async def test_nobody_sends_much_before_the_proof(hub: Hub) -> None:
    device = Device(hub, ANNA)
    device.attach()
    await device.session.receive(bytes(MAX_HANDSHAKE_MESSAGE_BYTES + 1))
    assert farewell(device, device.take()) == "too_big"


async def test_the_handshake_has_its_time(hub: Hub, clock: Clock) -> None:
    device, _ = await challenged(hub)
    ready = await Device(hub, BEN).connect()
    clock.now += HANDSHAKE_SECONDS - 1
    hub.tick()
    assert not device.sink.closed
    clock.now += 1
    hub.tick()
    assert farewell(device, device.take()) == "handshake_timeout"
    assert not ready.sink.closed


async def test_a_newer_connection_replaces_the_older(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    older, older_session = device.sink, device.session
    await device.connect()
    assert older.closed
    assert older_session.closed
    device.sink, newer = older, device.sink
    (goodbye,) = device.take()
    assert goodbye.code == "replaced"
    assert not newer.closed
    assert hub.statistics().connections == hub.statistics().ready == 1
    older_session.lost()
    assert hub.statistics().ready == 1


async def test_two_devices_of_one_user_do_not_replace_each_other(hub: Hub) -> None:
    first = await Device(hub, ANNA).connect()
    await Device(hub, ANNA, seed="2").connect()
    assert not first.sink.closed


async def test_a_fresh_token_continues_the_connection(hub: Hub, clock: Clock) -> None:
    device = await Device(hub, ANNA).connect()
    assert await device.say(fr.Renew(5, token(ANNA, expires=NOW + 9000))) == [fr.Renewed(5, NOW + 9000)]
    clock.now = NOW + TOKEN_LIFE
    hub.tick()
    assert not device.sink.closed
    clock.now = NOW + 9000
    hub.tick()
    assert farewell(device, device.take()) == "token_expired"


@pytest.mark.parametrize(
    ("access", "code"),
    [
        (token(BEN), "token_invalid"),
        (token(ANNA, portal="other"), "token_invalid"),
        ("bad/anna/1", "token_invalid"),
        (token(ANNA, expires=NOW - 1), "token_expired"),
    ],
    ids=["user", "portal", "bad", "expired"],
)
async def test_a_token_that_is_not_good_ends_the_connection(hub: Hub, access: str, code: str) -> None:
    device = await Device(hub, ANNA).connect()
    assert farewell(device, await device.say(fr.Renew(1, access))) == code


async def test_a_new_device_is_told_to_those_it_concerns(hub: Hub) -> None:
    record = await new_engagement(hub)
    anna = await Device(hub, ANNA).connect()
    stranger = await Device(hub, "dora").connect()
    anna.take()
    ben = await Device(hub, BEN).connect()
    await hub.settle()
    (changed,) = only(anna.take(), fr.EngagementChanged)
    assert changed.engagement.id == record.id
    assert fr.EngagementDevice(BEN, ben.id, False, False) in changed.engagement.devices
    assert stranger.take() == []
    ben.take()
    anna.take()
    await ben.connect()
    await hub.settle()
    assert anna.take() == []


class FailingDirectory(MemoryDirectory):
    failing = False

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        if self.failing:
            raise StoreUnavailable("off")
        return await super().put(space, key, value, expect=expect)


async def test_a_device_comes_again_when_the_store_cannot_serve() -> None:
    directory = FailingDirectory()
    hub = make_hub(directory=directory)
    await hub.start()
    directory.failing = True
    device, challenge = await challenged(hub)
    frames = await device.say(device.proof(challenge))
    assert farewell(device, frames) == "draining"
    await hub.close()


async def test_a_connection_lost_while_it_authenticates_leaves_nothing(hub: Hub) -> None:
    device, challenge = await challenged(hub)
    receiving = device.session.receive(encode([device.proof(challenge)]))
    device.session.lost()
    await receiving
    await hub.settle()
    assert hub.statistics().ready == hub.statistics().connections == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x91" * 2000, "too_deep"),
        (b"\x92\x63\x01", "out_of_order"),
    ],
)
async def test_rubbish_ends_the_connection(hub: Hub, message: bytes, code: str) -> None:
    device = Device(hub, ANNA)
    device.attach()
    await device.session.receive(message)
    assert farewell(device, device.take()) == code
    await device.session.receive(message)
    assert device.sink.messages == []


async def test_what_is_no_binary_message_ends_the_connection(hub: Hub) -> None:
    device = await Device(hub, ANNA).connect()
    device.session.unreadable(ErrorCode.MALFORMED)
    assert farewell(device, device.take()) == "malformed"


async def test_a_challenge_is_answered_once(hub: Hub) -> None:
    """A second proof in the same message would take the connection over for another portal or device."""
    device, challenge = await challenged(hub)
    other = Device(hub, BEN, portal="elsewhere")
    signed = connect_proof_bytes(ORIGIN, other.portal, other.id, b"", b"")
    signature = other.key.sign(signed).signature
    again = fr.Authenticate(other.access, other.public_key, signature)
    frames = await device.say(device.proof(challenge), again)
    assert [type(frame) for frame in frames] == [fr.Ready, fr.Goodbye]
    assert farewell(device, frames) == "out_of_order"
    assert hub.statistics().ready == 0
    assert hub.session_of(device.id) is None
    assert not hub.access.connections
    assert not hub.tell_low(device.id, 1)
