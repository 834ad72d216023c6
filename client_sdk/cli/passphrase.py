"""Asking for a vault's passphrase, where there is somebody to ask."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from client_sdk.cli.asking import ask_hidden
from client_sdk.cli.errors import CliError, Exit

VARIABLE: Final = "COACH_PASSPHRASE"

SHORTEST: Final = 8
"""Characters of a new passphrase: fewer are tried out in no time by whoever steals the file."""


def known_passphrase(vault: Path) -> str:
    """Return the passphrase of an existing vault, from the environment or by asking."""
    return os.environ.get(VARIABLE) or _asked(f"Passphrase of {vault.name}: ")


def new_passphrase(vault: Path) -> str:
    """Return the passphrase for a new vault: asked twice, and not too short. Raises `CliError` otherwise."""
    given = os.environ.get(VARIABLE)
    first = given or _asked(f"Choose a passphrase for {vault.name} (needed each time): ")
    if len(first) < SHORTEST:
        raise CliError(
            f"The passphrase is too short: {SHORTEST} characters are the least, a few words are better.",
            exit_code=Exit.VAULT,
        )
    if not given and _asked("The same again: ") != first:
        raise CliError(
            "The two passphrases differ; no vault was made.", do="Try again.", exit_code=Exit.VAULT
        )
    return first


def _asked(question: str) -> str:
    if not sys.stdin.isatty():
        raise CliError(
            "The vault needs its passphrase, and there is no terminal to ask on.",
            do=f"Put it into {VARIABLE}, or make the vault with --keyring.",
            exit_code=Exit.VAULT,
        )
    return ask_hidden(question)
