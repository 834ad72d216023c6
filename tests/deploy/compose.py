"""The Compose files as Compose reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy import dockerfile
from tests.deploy.programs import output_of, program
from tests.relay.cli.processes import ROOT, environment

FOLDER: Final = ROOT / "deploy" / "compose"
ANSWERS: Final = {
    "RELAY_HOST": "relay.example",
    "PUBLIC_ADDRESS": "127.0.0.1",
    "ACME_EMAIL": "admin@relay.example",
    "TURN_SECRET": "0123456789abcdef",
}


def config(folder: Path, *files: str, **answers: str) -> dict[str, Any]:
    """What Compose makes of the files and an .env file; raises AssertionError with what it says."""
    written = folder / "env"
    written.write_text("".join(f"{name}={value}\n" for name, value in answers.items()), encoding="utf-8")
    named = [part for file in files for part in ("-f", str(FOLDER / file))]
    command = [program("docker-compose"), *named, "--env-file", str(written), "config"]
    plain = {name: value for name, value in environment().items() if name not in ANSWERS}
    del plain["PYTHONPATH"], plain["PYTHONWARNINGS"]  # it is a Python program too
    loaded: dict[str, Any] = yaml.safe_load(output_of(command, env=plain, cwd=folder))
    return loaded


def command_of(service: dict[str, Any]) -> list[str]:
    """What a service of our image runs."""
    entrypoint = service.get("entrypoint", dockerfile.last("ENTRYPOINT").words)
    return [*entrypoint, *service.get("command", dockerfile.last("CMD").words)]


def required() -> list[str]:
    """The lines of .env.example that a person has to fill in."""
    text = (FOLDER / ".env.example").read_text(encoding="utf-8")
    return re.findall(r"^([A-Z0-9_]+)=$", text, re.M)
