"""Opening a client: what unlocks a vault, whose it is, and what the first use needs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from client_sdk import Client
from client_sdk.errors import (
    AccessRefused,
    ContentInvalid,
    RelayUnreachable,
    UsageError,
    VaultInUse,
    WrongPassphrase,
)
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from tests.support.fake_relay import ORIGIN
from tests.support.world import World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


def opened(world: World, **changes: Any) -> AbstractAsyncContextManager[Client]:
    arguments: dict[str, Any] = {
        "relay": ORIGIN,
        "token": world.relay.token_for("anna"),
        "dial": world.relay.dial,
        "environment": Environment(
            now=world.time.now, monotonic=world.time.monotonic, sleep=world.time.sleep
        ),
        **changes,
    }
    return Client.open(world.folder / "a.vault", **arguments)


async def test_a_passphrase_or_who_asks_for_it_opens_the_vault(world: World) -> None:
    async with opened(world, passphrase="seven short words", name="Anna") as me:
        number = me.safety_number
        assert (me.user, me.name) == ("anna", "Anna")
    async with opened(world, passphrase=lambda: "seven short words") as me:
        assert (me.user, me.name, me.safety_number) == ("anna", "Anna", number)
    with pytest.raises(WrongPassphrase):
        async with opened(world, passphrase="other words"):
            pass


@pytest.mark.parametrize(
    "unlock", [{}, {"passphrase": "a", "keyring": True}, {"passphrase": "a", "key": bytes(32)}]
)
async def test_one_thing_opens_a_vault(world: World, unlock: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        async with opened(world, **unlock):
            pass
    assert not (world.folder / "a.vault").exists()


async def test_one_program_at_a_time(world: World) -> None:
    async with opened(world, key=bytes(32)):
        with pytest.raises(VaultInUse):
            async with opened(world, key=bytes(32)):
                pass


async def test_a_vault_stays_its_users(world: World) -> None:
    async with opened(world, key=bytes(32)):
        pass
    async with opened(world, key=bytes(32), token=world.relay.token_for("ben")) as me:
        await world.pass_time(1)
        assert not me.online
        assert isinstance(me.status.error, UsageError)


async def test_the_first_use_needs_the_portal_and_later_ones_need_nobody(world: World) -> None:
    async def no_token() -> str:
        raise RelayUnreachable("The portal does not answer.")

    with pytest.raises(RelayUnreachable):
        async with opened(world, key=bytes(32), token=no_token):
            pass
    async with opened(world, key=bytes(32), name="Anna"):
        pass
    async with opened(world, key=bytes(32), token=no_token) as me:
        await world.pass_time(5)
        assert (me.name, me.online) == ("Anna", False)
        assert isinstance(me.status.error, RelayUnreachable)


@pytest.mark.parametrize("token", ["", "a.b.c", "e30.e30.e30", "e30.eyJpc3MiOiJQIiwic3ViIjoiYSJ9.e30"])
async def test_something_else_than_a_token_is_refused(world: World, token: str) -> None:
    async def fetch() -> str:
        return token

    with pytest.raises(AccessRefused):
        async with opened(world, key=bytes(32), token=fetch):
            pass


async def test_a_name_that_is_none_is_refused_and_leaves_no_account(world: World) -> None:
    with pytest.raises(ContentInvalid):
        async with opened(world, key=bytes(32), name="two\nlines"):
            pass
    async with opened(world, key=bytes(32), name="Anna") as me:
        with pytest.raises(ContentInvalid):
            await me.set_name("")
        assert me.name == "Anna"


async def test_a_relay_on_another_machine_is_reached_by_https(world: World) -> None:
    with pytest.raises(UsageError):
        async with opened(world, key=bytes(32), relay="http://relay.example"):
            pass


async def test_no_wait_goes_on_past_a_refusal(world: World) -> None:
    tokens = [world.relay.token_for("anna")]

    async def fetch() -> str:
        return await tokens[-1]()

    async def refused() -> str:
        return "no.such.token"

    async with opened(world, key=bytes(32), name="Anna", token=fetch) as me:
        await world.settle()
        room = await me.engagement(world.stream)
        assert [found.id for found in await me.wait_invited()] == [world.stream]
        tokens.append(refused)
        waits = [asyncio.ensure_future(wait) for wait in (room.wait_joined(), room.wait_until(lambda: False))]
        world.relay.drop_connections()
        await world.pass_time(5)
        assert [type(wait.exception()) for wait in waits] == [AccessRefused] * 2
        await room.send("kept all the same")
        for wait in (me.wait_online(), room.wait_sent(), room.wait_caught_up(), room.wait_joined()):
            with pytest.raises(AccessRefused):
                await wait
        with pytest.raises(AccessRefused):
            await me.engagement("eng_AAAAAAAAAAAAAAAAAAAAAA")
        # What holds already is no wait, and a token that is taken mends it.
        await room.wait_until(lambda: True)
        tokens.pop()
        await world.pass_time(40)
        await me.wait_online()
        await room.wait_caught_up()


async def test_an_outage_is_waited_out(world: World) -> None:
    async with opened(world, key=bytes(32), name="Anna") as me:
        await world.settle()
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.pass_time(5)
        waits = asyncio.ensure_future(me.wait_online())
        await world.pass_time(60)
        assert not waits.done()
        world.relay.lies.offline = False
        await world.pass_time(60)
        assert waits.done()
        assert waits.exception() is None


async def test_giving_up_while_the_vault_opens_leaves_it_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slowly(*args: Any, **options: Any) -> Vault:
        begun.set()
        go_on.wait()
        try:
            return opening(*args, **options)
        finally:
            done.set()

    async with opened(world, key=bytes(32)):
        pass
    opening = Vault.open
    monkeypatch.setattr(Vault, "open", slowly)
    trying = asyncio.create_task(opened(world, key=bytes(32)).__aenter__())
    await asyncio.to_thread(begun.wait)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    go_on.set()
    await asyncio.to_thread(done.wait)
    for _ in range(5):
        await asyncio.sleep(0)  # for the loop to hear of what the thread has done
    monkeypatch.setattr(Vault, "open", opening)
    async with opened(world, key=bytes(32)) as me:
        assert me.user == "anna"
