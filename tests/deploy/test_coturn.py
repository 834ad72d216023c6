"""The shipped coturn file in the real coturn: whom it lets in, where it does not send, what it tells."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun, turn

from relay.core.ice import TURN_SECONDS
from tests.support.coturn import (
    CONFIGURATION,
    LOOPBACK,
    Allocation,
    Coturn,
    allocate,
    coturn_process,
    family_attribute,
    requires_coturn,
)

pytestmark = requires_coturn

FORBIDDEN, WRONG_FAMILY, UNAUTHORIZED, QUOTA, UNSUPPORTED = 403, 443, 401, 486, 442
PUBLIC = ("9.9.9.9", "11.0.0.1", "172.15.255.255", "172.32.0.1", "192.167.1.1", "223.255.255.1")
DENIED = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
)
PUBLIC_V6 = ("2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888")
DENIED_V6 = (
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:9.9.9.9",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)


@pytest.fixture
async def coturn(tmp_path: Path) -> AsyncIterator[Coturn]:
    """As it is shipped: not even loopback may be a peer."""
    async with coturn_process(tmp_path) as running:
        yield running


async def refused(coturn: Coturn, minted: int) -> int:
    with pytest.raises(stun.TransactionFailed) as caught:
        await allocate(coturn, coturn.urls[0], coturn.server(minted=minted))
    return int(caught.value.response.attributes["ERROR-CODE"][0])


async def verdicts(allocation: Allocation, peers: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    return {peer: await allocation.permit(peer, index) for index, peer in enumerate(peers)}


async def test_it_sends_to_public_addresses_and_no_others(coturn: Coturn) -> None:
    allocation = await allocate(coturn, coturn.urls[0])
    assert await verdicts(allocation, DENIED) == dict.fromkeys(DENIED, (FORBIDDEN, FORBIDDEN))
    for peer in PUBLIC:
        assert await allocation.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=(peer, 9)) == 0, peer
    assert set((await verdicts(allocation, DENIED_V6)).values()) == {(WRONG_FAMILY, WRONG_FAMILY)}
    await allocation.close()


async def test_addresses_of_ipv6_that_mean_a_private_one_are_denied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family_attribute(monkeypatch, "v6")
    try:
        _, writer = await asyncio.open_connection("::1", 9)
        writer.close()
    except ConnectionRefusedError:
        pass
    except OSError:
        pytest.skip("this machine has no IPv6, not even ::1")
    async with coturn_process(tmp_path, "--relay-ip=::1") as coturn:
        allocation = await allocate(coturn, coturn.urls[0])
        assert allocation.address[0] == "::1"
        assert await verdicts(allocation, DENIED_V6) == dict.fromkeys(DENIED_V6, (FORBIDDEN, FORBIDDEN))
        for peer in PUBLIC_V6:
            assert await allocation.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=(peer, 9)) == 0, peer
        await allocation.close()


async def test_it_opens_no_connections_for_anybody(coturn: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6062: over an allocation for TCP, services behind the server could be talked to."""
    monkeypatch.setattr(turn, "UDP_TRANSPORT", turn.TCP_TRANSPORT)
    with pytest.raises(stun.TransactionFailed) as caught:
        await allocate(coturn, coturn.urls[1])
    assert caught.value.response.attributes["ERROR-CODE"][0] in (FORBIDDEN, UNSUPPORTED)


async def test_it_is_the_same_over_every_transport(coturn: Coturn) -> None:
    for url in coturn.urls:
        allocation = await allocate(coturn, url)
        few = ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1")
        assert await verdicts(allocation, few) == dict.fromkeys(few, (FORBIDDEN, FORBIDDEN)), url
        await allocation.close()


async def test_nothing_reaches_a_service_behind_it_whoever_asks_or_does_not(coturn: Coturn) -> None:
    """Send indications (RFC 8656 section 11.1) ask for nothing: they are dropped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))
        service.setblocking(False)
        peer = service.getsockname()
        allocation = await allocate(coturn, coturn.urls[0])
        assert await allocation.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=peer) == FORBIDDEN
        assert await allocation.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=("9.9.9.9", 9)) == 0
        for _ in range(3):
            allocation.indicate(peer, b"are you there?")
        # UDP over loopback keeps its order: when this is answered, those were looked at.
        assert await allocation.ask("REFRESH", LIFETIME=600) == 0
        with pytest.raises(BlockingIOError):
            service.recv(100)
        await allocation.close()


async def test_all_credentials_together_open_so_many_allocations(tmp_path: Path) -> None:
    assert "\ntotal-quota=1200\n" in CONFIGURATION.read_text(encoding="utf-8")
    async with coturn_process(tmp_path, "--total-quota=3") as coturn:
        opened = [
            await allocate(coturn, coturn.urls[0], coturn.server(name=f"one{number}")) for number in range(3)
        ]
        with pytest.raises(stun.TransactionFailed) as caught:
            await allocate(coturn, coturn.urls[0], coturn.server(name="fourth"))
        assert caught.value.response.attributes["ERROR-CODE"][0] == QUOTA
        for allocation in opened:
            await allocation.close()


async def test_one_allocation_carries_so_much_and_no_more(tmp_path: Path) -> None:
    """In a second fewer bytes pass than are sent; a call's picture needs a quarter of what is allowed."""
    assert "\nmax-bps=1000000\n" in CONFIGURATION.read_text(encoding="utf-8")
    allowed, size, count = 20_000, 1_000, 300
    async with coturn_process(tmp_path, *LOOPBACK, f"--max-bps={allowed}") as coturn:
        here, there = [await allocate(coturn, coturn.urls[0]) for _ in range(2)]
        there.transport.sendto(b"open", here.address)
        await passed(here, there, b"first")
        began = time.monotonic()
        for _ in range(count):
            here.transport.sendto(bytes(size), there.address)
            await asyncio.sleep(0)
        assert await here.ask("REFRESH", LIFETIME=600) == 0
        taken = time.monotonic() - began
        arrived = there.received.packets.qsize()
        assert arrived < count
        assert arrived * size <= allowed * (taken + 2)
        for allocation in (here, there):
            await allocation.close()


async def test_only_the_relays_credentials_count_and_only_for_their_time(coturn: Coturn) -> None:
    now = int(time.time())
    assert await refused(coturn, now - TURN_SECONDS - 60) == UNAUTHORIZED
    forged = coturn.server()._replace(credential="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    longer = coturn.server()._replace(username=f"{now + 10 * TURN_SECONDS}:test")
    for one in (forged, longer, coturn.server()._replace(username="test")):
        with pytest.raises(stun.TransactionFailed):
            await allocate(coturn, coturn.urls[0], one)
    allocation = await allocate(coturn, coturn.urls[0], coturn.server(minted=now - TURN_SECONDS + 30))
    await allocation.close()


async def test_a_call_outlives_the_credential_that_it_began_with(coturn: Coturn) -> None:
    server = coturn.server(minted=int(time.time()) - TURN_SECONDS + 2)
    expires = int((server.username or "").partition(":")[0])
    allocation = await allocate(coturn, coturn.urls[0], server)
    async with asyncio.timeout(150):
        # Its clock cannot be set, and is behind by up to two seconds.
        await asyncio.sleep(expires + 4 - time.time())
    assert await allocation.ask("REFRESH", LIFETIME=600) == 0
    assert await allocation.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=("9.9.9.9", 9)) == 0
    with pytest.raises(stun.TransactionFailed):
        await allocate(coturn, coturn.urls[0], server)
    await allocation.close()


async def test_one_credential_opens_a_few_allocations_only(coturn: Coturn) -> None:
    server = coturn.server()
    opened = [await allocate(coturn, coturn.urls[0], server) for _ in range(12)]
    with pytest.raises(stun.TransactionFailed) as caught:
        await allocate(coturn, coturn.urls[0], server)
    assert caught.value.response.attributes["ERROR-CODE"][0] == QUOTA
    for allocation in opened:
        await allocation.close()


async def passed(sender: Allocation, receiver: Allocation, packet: bytes) -> None:
    """Send until it arrives: until both sides have permitted each other, packets get lost."""
    async with asyncio.timeout(150):
        while True:
            sender.transport.sendto(packet, receiver.address)
            try:
                async with asyncio.timeout(0.2):
                    if await receiver.received.packets.get() == packet:
                        return
            except TimeoutError:
                continue


async def test_packets_pass_over_every_transport_and_nothing_personal_is_told(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    async with coturn_process(tmp_path, *LOOPBACK) as coturn:
        for url in coturn.urls:
            here, there = await allocate(coturn, url), await allocate(coturn, url)
            there.transport.sendto(b"open", here.address)  # permits what comes from there
            await passed(here, there, b"over " + url.encode())
            await here.close()
            await there.close()
    told = coturn.output.read_text()
    assert "127.0.0.1" not in told
    assert ":test" not in told
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"turn.pem", "turn.key", "coturn.log"}
