"""Asking for a passphrase."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import pytest

from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.passphrase import known_passphrase, new_passphrase

VAULT = Path("anna.vault")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A person at a terminal, who types these one after the other."""
    answers: list[str] = []
    monkeypatch.delenv("COACH_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda _question: answers.pop(0))
    return answers


def test_the_environment_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_PASSPHRASE", "from the environment")
    assert known_passphrase(VAULT) == new_passphrase(VAULT) == "from the environment"


def test_a_new_one_is_typed_twice(typed: list[str]) -> None:
    typed += ["long enough", "long enough"]
    assert new_passphrase(VAULT) == "long enough"


def test_two_that_differ_make_no_vault(typed: list[str]) -> None:
    typed += ["long enough", "long  enough"]
    with pytest.raises(CliError, match="differ") as caught:
        new_passphrase(VAULT)
    assert caught.value.exit_code is Exit.VAULT


def test_a_short_one_is_refused(typed: list[str]) -> None:
    typed += ["1234567"]
    with pytest.raises(CliError, match="too short"):
        new_passphrase(VAULT)


def test_an_old_vault_may_have_a_short_one(typed: list[str]) -> None:
    typed += ["1234567"]
    assert known_passphrase(VAULT) == "1234567"


def test_without_a_terminal_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COACH_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(CliError) as caught:
        known_passphrase(VAULT)
    assert "COACH_PASSPHRASE" in caught.value.do
