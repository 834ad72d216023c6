"""Where a command gets the portal's access token from: an address, another command, or the environment."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.settings import Settings
from client_sdk.errors import AccessRefused

VARIABLE: Final = "COACH_TOKEN"

PATIENCE: Final = 20.0
"""Seconds a portal or command may take to give a token."""

LONGEST: Final = 4096
"""Bytes of a token: the protocol's own bound (docs/PROTOCOL.md section 2.2)."""

MOST_READ: Final = 2 * LONGEST
"""Bytes of a portal's answer: a token, and what JSON has around it."""

TokenSource = Callable[[], Awaitable[str]]


def token_source(settings: Settings) -> TokenSource:
    """Return the function that fetches a fresh token; `CliError` if there is nowhere to get one."""
    if settings.token_url:
        return lambda: _from_url(settings.token_url)
    if settings.token_command:
        return lambda: _from_command(settings.token_command)
    if os.environ.get(VARIABLE):
        return _from_environment
    raise CliError(
        "There is no access token: the portal gives one to each person, and the relay asks for it.",
        do=f"Name --token-url or --token-command, or put a token into {VARIABLE}.",
        exit_code=Exit.USAGE,
    )


async def _from_environment() -> str:
    return _checked(os.environ.get(VARIABLE, ""), f"the variable {VARIABLE}")


async def _from_url(url: str) -> str:
    try:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
            if answer.status != 200:
                raise _refused(f"The portal refused a token: {url} answered {answer.status}.")
            text = await _whole(answer.content, url)
    except TimeoutError as error:
        raise _refused(f"The portal at {url} did not answer within {PATIENCE:.0f} s.") from error
    except ValueError as error:  # aiohttp's word for it
        raise _refused(f"There can be no portal at {url}: that is no web address.") from error
    except aiohttp.ClientError as error:
        why = str(error) or type(error).__name__
        raise _refused(f"The portal cannot be reached at {url}: {why}.") from error
    if text.lstrip().startswith("<"):
        raise _refused(f"The portal at {url} answered with a web page instead of an access token.")
    return _checked(_inside_json(text), f"the portal's answer from {url}")


async def _whole(content: aiohttp.StreamReader, url: str) -> str:
    """The whole answer, in however many pieces it comes."""
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) > MOST_READ:
            raise _refused(f"The answer of the portal at {url} is too long for an access token.")
    return found.decode("utf-8", "replace")


async def _from_command(command: str) -> str:
    # The person's own command line, from their own settings: a shell is what they expect.
    process = await asyncio.create_subprocess_shell(
        command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _none = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _refused(f"The token command “{command}” took longer than {PATIENCE:.0f} s.") from None
    if process.returncode != 0:
        raise _refused(f"The token command “{command}” ended with exit code {process.returncode}.")
    return _checked(_inside_json(output.decode("utf-8", "replace")), f"the output of: {command}")


def _inside_json(text: str) -> str:
    """Return the token from `{"token": "..."}` or from text that is the token."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return str(found.get("token", "")) if isinstance(found, dict) else ""


def _checked(text: str, where: str) -> str:
    token = text.strip()
    # A JWT is three parts of base64url: anything else is a mistake better told here than by the relay.
    if len(token) > LONGEST or token.count(".") != 2 or not token.isascii() or len(token.split()) != 1:
        raise _refused(f"There is no access token in {where}.")
    return token


class NoToken(CliError, AccessRefused):
    """There is no token to show to the relay: trying again will not help by itself."""


def _refused(what: str) -> NoToken:
    return NoToken(
        what,
        do=f'Check --token-url, --token-command or {VARIABLE}: the token alone, or {{"token": ...}}.',
        exit_code=Exit.RELAY,
    )
