"""What `coach join` remembers beside the vault, so that later commands are short. No secret is in it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from client_sdk.cli.errors import CliError, Exit

SUFFIX: Final = ".settings.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the relay is, where tokens come from, and which conversation the vault is for."""

    relay: str = ""
    token_url: str = ""
    token_command: str = ""
    engagement: str = ""
    keyring: bool = False

    def without_token(self) -> Settings:
        """Return the settings without where tokens come from, because another place was given."""
        return replace(self, token_url="", token_command="")

    def overridden(self, **given: str | bool | None) -> Settings:
        """Return the settings with those values that were given on the command line."""
        values: dict[str, Any] = {name: value for name, value in given.items() if value}
        return replace(self, **values)


def settings_path(vault: Path) -> Path:
    """Return the path of the settings that belong to a vault."""
    return vault.with_name(vault.name + SUFFIX)


def load_settings(vault: Path) -> Settings:
    """Return what was remembered for this vault; defaults if nothing was; `CliError` for a damaged file."""
    path = settings_path(vault)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from error
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    kinds = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    if not isinstance(known, dict) or any(
        kinds.get(name) is not type(value) for name, value in known.items()
    ):
        raise _unreadable(path, "it holds something else than coach writes there")
    return Settings(**known)


def save_settings(vault: Path, settings: Settings) -> None:
    """Remember the settings beside the vault, readable by this user only; replaces the file in one step."""
    path = settings_path(vault)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(settings), file, indent=2)
        file.write("\n")
    fresh.replace(path)


def _unreadable(path: Path, why: str) -> CliError:
    return CliError(
        f"The settings {path} cannot be used: {why}.",
        do="Delete the file and name --relay and --token-url (or --token-command) again.",
        exit_code=Exit.VAULT,
    )
