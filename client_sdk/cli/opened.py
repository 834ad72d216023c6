"""Opening a vault for one command: settings, passphrase, token, relay, and the conversation."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from client_sdk import Client, Engagement, SecurityAlarm
from client_sdk.calls import CallSettings
from client_sdk.cli.errors import AlarmShown, CliError, Exit, complain
from client_sdk.cli.passphrase import known_passphrase
from client_sdk.cli.settings import Settings, load_settings
from client_sdk.cli.tokens import token_source
from client_sdk.errors import RelayError, RelayUnreachable

ARCHIVE_SECONDS: Final = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a command works with; `patience` is how long the person waits for the relay, in seconds."""

    me: Client
    room: Engagement
    patience: float

    async def within(self, work: Awaitable[_T]) -> _T:
        """Return what `work` gives; raises a `RelayError` if it takes too long, or cannot be."""
        return await within(self.me, work, self.patience)

    async def catch_up(self) -> None:
        """Have everything here that the relay has; if that cannot be, say so and go on with the vault."""
        try:
            await self.within(self.room.wait_caught_up())
        except SecurityAlarm as alarm:
            complain(AlarmShown(self.room.said(alarm), alarm))
        except (RelayError, CliError) as error:
            print(f"coach: {error} This is what your vault has.", file=sys.stderr)


@asynccontextmanager
async def opened(args: argparse.Namespace) -> AsyncIterator[Opened]:
    """Open the vault that the command names and its conversation; `CoachRelayError` if that cannot be."""
    async with opened_vault(args) as me:
        engagement = given_settings(args, load_settings(args.vault)).engagement
        room = await choose_engagement(me, engagement, args.patience)
        try:
            yield Opened(me, room, args.patience)
        except SecurityAlarm as alarm:
            raise AlarmShown(room.said(alarm), alarm) from alarm
        await _archive(me)
        remind_of_kit(me, args.vault)


@asynccontextmanager
async def opened_vault(args: argparse.Namespace) -> AsyncIterator[Client]:
    """Open the vault that the command names, with what is remembered for it; `CoachRelayError` if not."""
    if not args.vault.exists():
        raise CliError(
            f"There is no vault at {args.vault}.",
            do=f"Make one: coach join --vault {args.vault} --relay URL --token-url URL",
            exit_code=Exit.VAULT,
        )
    settings = given_settings(args, load_settings(args.vault))
    passphrase = None if settings.keyring else known_passphrase(args.vault)
    calls = CallSettings(
        loopback=getattr(args, "loopback", False),
        relay_only=getattr(args, "relay_only", False),
        report_path=not getattr(args, "no_report", False),
    )
    async with connected(args.vault, settings, passphrase, calls=calls) as me:
        yield me


async def _archive(me: Client) -> None:
    """What this command brought goes into the archive at once; if that cannot be, the next one does it."""
    if me.archive_wanted and me.online:
        with contextlib.suppress(RelayError, TimeoutError):
            async with asyncio.timeout(ARCHIVE_SECONDS):
                await me.wait_archived()


def remind_of_kit(me: Client, vault: Path) -> None:
    """Say on standard error, where a person reads it, that there is no recovery kit yet."""
    if me.recovery_kit_due and sys.stderr.isatty():
        print("You have no recovery kit yet: if this device is lost, so is your way back.", file=sys.stderr)
        print(f"Make it now, it takes a minute: coach kit --vault {vault}", file=sys.stderr)


def given_settings(args: argparse.Namespace, remembered: Settings) -> Settings:
    """Return the remembered settings with what was given instead; raises `CliError` without a relay."""
    settings = remembered
    if args.token_url or args.token_command:
        settings = settings.without_token()
    settings = settings.overridden(
        relay=args.relay,
        token_url=args.token_url,
        token_command=args.token_command,
        engagement=args.engagement,
        keyring=args.keyring,
    )
    if not settings.relay:
        raise CliError(
            "It is not known where the relay is.",
            do="Name it: --relay https://relay.example (coach join remembers it).",
            exit_code=Exit.USAGE,
        )
    return settings


@asynccontextmanager
async def connected(
    vault: Path,
    settings: Settings,
    passphrase: str | None,
    *,
    name: str | None = None,
    calls: CallSettings | None = None,
) -> AsyncIterator[Client]:
    """Open a vault, or make it, and begin to connect; without a passphrase, with the keyring."""
    opening = Client.open(
        vault,
        relay=settings.relay,
        token=token_source(settings),
        passphrase=passphrase,
        keyring=passphrase is None,
        name=name,
        call_settings=calls,
    )
    async with opening as me:
        yield me


async def name_device(me: Client, name: str = "") -> None:
    """Give this device a name among its person's own; without one, the computer's, unless it has one."""
    this = me.devices.this
    if name or not this.name:
        await me.devices.rename(this, name or platform.node())


async def choose_engagement(me: Client, engagement: str, patience: float) -> Engagement:
    """Return the engagement that was named, or the only one; raises `CliError` if that is unclear."""
    if engagement:
        return await within(me, me.engagement(engagement), patience)
    found = await within(me, me.wait_invited(), patience)
    if len(found) == 1:
        return found[0]
    raise CliError(
        f"You take part in {len(found)} engagements: {', '.join(room.id for room in found)}.",
        do="Name one: --engagement ID",
        exit_code=Exit.USAGE,
    )


async def within(me: Client, work: Awaitable[_T], patience: float) -> _T:
    """Wait for `work`, at most `patience` seconds; raises `RelayUnreachable` when the time is over.

    What the SDK waits for ends by itself with `AccessRefused` once the relay or the portal says no.
    """
    try:
        async with asyncio.timeout(patience):
            return await work
    except TimeoutError:
        raise _too_late(me, patience) from None


def _too_late(me: Client, patience: float) -> Exception:
    error = me.status.error
    if error is not None:
        return error
    if me.online:
        return RelayUnreachable(f"The relay did not do it within {patience:.0f} s.")
    return RelayUnreachable(f"There was no connection to the relay within {patience:.0f} s.")
