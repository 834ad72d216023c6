"""What is remembered beside a vault."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.settings import Settings, load_settings, save_settings, settings_path


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    settings = Settings(
        relay="http://127.0.0.1:1", token_command="echo 'ä'", engagement="eng_x", keyring=True
    )
    save_settings(tmp_path / "anna.vault", settings)
    assert load_settings(tmp_path / "anna.vault") == settings


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    save_settings(tmp_path / "anna.vault", Settings())
    assert stat.S_IMODE(settings_path(tmp_path / "anna.vault").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["anna.vault.settings.json"]


def test_a_vault_without_settings_has_empty_ones(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "anna.vault") == Settings()


def test_the_command_line_counts_more_than_what_was_saved() -> None:
    saved = Settings(relay="http://a", token_url="http://t", engagement="eng_1")
    assert saved.overridden(relay="http://b", token_url=None, engagement="") == Settings(
        relay="http://b", token_url="http://t", engagement="eng_1"
    )


@pytest.mark.parametrize(
    "damaged",
    ["", "{", "[]", '{"relay": 7}', '{"relay": "x", "surprise": "y"}', '{"keyring": "yes"}', "\udcff"],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, damaged: str) -> None:
    path = settings_path(tmp_path / "anna.vault")
    path.write_text(damaged, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CliError) as caught:
        load_settings(tmp_path / "anna.vault")
    assert str(path) in str(caught.value)
    assert "Delete the file" in caught.value.do
    assert caught.value.exit_code is Exit.VAULT
