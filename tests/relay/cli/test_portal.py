"""`coach-relay portal`: keys are shown once, replaced and removed only on purpose."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.cli.main import main
from relay.core.portals import PortalRecord, secret_text
from relay.core.token_keys import key_id
from relay.errors import AccessRefused, NotFound
from relay.hub import Portals
from relay.store.sqlite import SqliteDirectory
from relay.wire.ids import PortalId

T = TypeVar("T")
KEYS = re.compile(r"PORTAL_ID=(\S+)\nPORTAL_API_KEY=(\S+)\nPORTAL_TOKEN_SECRET=(\S+)\n")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(sys, "stdin", StringIO(""))
    return lambda *args: main(["portal", *args, "--data-dir", str(tmp_path / "data")])


def stored(tmp_path: Path, work: Callable[[Portals], Awaitable[T]]) -> T:
    async def run() -> T:
        directory = SqliteDirectory.open(tmp_path / "data")
        try:
            return await work(Portals(directory, clock=time.time, rng=secrets.token_bytes))
        finally:
            await directory.close()

    return asyncio.run(run())


def portal_of(tmp_path: Path, api_key: str) -> str:
    return stored(tmp_path, lambda portals: portals.authenticate(api_key)).id


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, str, str]:
    matched = KEYS.fullmatch(capsys.readouterr().out)
    assert matched is not None
    portal, api_key, secret = matched.groups()
    return portal, api_key, secret


def record(tmp_path: Path, portal: str) -> PortalRecord:
    return stored(tmp_path, lambda portals: portals.read(PortalId(portal)))


def test_add_prints_keys_that_work(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli("add", "growth", "--origin", "https://Portal.example/", "--origin", "http://127.0.0.1:3000") == 0
    )
    portal, api_key, secret = shown(capsys)
    assert portal == "growth"
    kept = record(tmp_path, "growth")
    assert kept.origins == ("https://portal.example", "http://127.0.0.1:3000")
    assert secret_text(kept.token_secret) == secret
    assert portal_of(tmp_path, api_key) == "growth"


def test_the_api_key_is_stored_as_a_hash(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth")
    _portal, api_key, _secret = shown(capsys)
    files = [path.read_bytes() for path in (tmp_path / "data").iterdir()]
    assert files
    assert not any(api_key[-43:].encode() in content for content in files)


def test_an_id_is_registered_once(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth")
    _portal, api_key, _secret = shown(capsys)
    assert cli("add", "growth") == 1
    said = capsys.readouterr()
    assert "the portal growth is registered already: `coach-relay portal rotate growth`" in said.err
    assert said.out == ""
    assert portal_of(tmp_path, api_key) == "growth"


@pytest.mark.parametrize("portal", ["", "Growth", "1st", "a b", "x" * 33, "ä"])
def test_an_id_has_its_form(cli: Callable[..., int], portal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("add", portal) == 1
    assert "a portal id is" in capsys.readouterr().err


@pytest.mark.parametrize("origin", ["portal.example", "https://portal.example/page", "ftp://x", "*", ""])
def test_an_origin_has_its_form(
    cli: Callable[..., int], origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("add", "growth", "--origin", origin) == 1
    assert "--origin" in capsys.readouterr().err


def test_list_shows_no_key(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    cli("add", "one", "--origin", "https://one.example")
    cli("add", "two")
    printed = capsys.readouterr().out
    assert cli("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["one", "two"]
    assert lines[0].endswith("https://one.example")
    for _portal, api_key, secret in KEYS.findall(printed):
        assert not any(api_key in line or secret in line for line in lines)


def test_a_list_of_nothing_says_so_and_how_to_begin(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("list") == 0
    out, err = capsys.readouterr()
    assert out == "", "a script counts lines"
    assert "No portal is registered" in err
    assert str(tmp_path) in err, "or another relay's data was meant"
    assert "coach-relay portal add" in err
    cli("add", "growth")
    capsys.readouterr()
    assert cli("list") == 0
    assert capsys.readouterr().err == ""


def test_rotate_replaces_both_keys_and_keeps_the_rest(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth", "--origin", "https://portal.example")
    _portal, old_key, old_secret = shown(capsys)
    before = record(tmp_path, "growth")
    assert cli("rotate", "growth", "--yes") == 0
    _portal, new_key, new_secret = shown(capsys)
    after = record(tmp_path, "growth")
    assert new_key != old_key
    assert new_secret != old_secret
    assert secret_text(after.token_secret) == new_secret
    assert (after.origins, after.created) == (before.origins, before.created)
    with pytest.raises(AccessRefused):
        portal_of(tmp_path, old_key)
    assert portal_of(tmp_path, new_key) == "growth"


def test_remove_removes(cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli("add", "growth")
    _portal, api_key, _secret = shown(capsys)
    assert cli("remove", "growth", "--yes") == 0
    with pytest.raises(NotFound):
        record(tmp_path, "growth")
    with pytest.raises(AccessRefused):
        portal_of(tmp_path, api_key)


@pytest.mark.parametrize("action", ["rotate", "remove"])
def test_what_is_final_is_never_done_unasked(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    cli("add", "growth")
    _portal, api_key, _secret = shown(capsys)
    assert cli(action, "growth") == 1
    assert "--yes" in capsys.readouterr().err
    assert portal_of(tmp_path, api_key) == "growth"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "done"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_a_person_is_asked(
    cli: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    done: bool,
) -> None:
    cli("add", "growth")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert cli("remove", "growth") == (0 if done else 1)
    assert "Remove growth? [y/N]" in capsys.readouterr().err
    assert len(stored(tmp_path, lambda portals: portals.list())) == (0 if done else 1)


@pytest.mark.parametrize("action", ["rotate", "remove"])
def test_a_portal_that_is_not_there(
    cli: Callable[..., int], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert cli(action, "growth", "--yes") == 1
    assert "no such portal" in capsys.readouterr().err


# -- registered token keys -----------------------------------------------------------------------


def key_file(tmp_path: Path, number: int = 1) -> tuple[str, str]:
    """A file with a public key, and the key's id."""
    public = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key()
    path = tmp_path / f"public{number}.pem"
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path), key_id(public.public_bytes_raw())


def test_a_portal_without_a_shared_secret(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, kid = key_file(tmp_path)
    assert cli("add", "growth", "--token-key", path) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"PORTAL_ID=growth\nPORTAL_API_KEY=\S+\nPORTAL_TOKEN_KEY_ID={kid}\n", out)
    kept = record(tmp_path, "growth")
    assert (kept.token_secret, [key.id for key in kept.token_keys]) == (b"", [kid])
    assert cli("rotate", "growth", "--yes") == 0
    assert "SECRET" not in capsys.readouterr().out


def test_keys_are_changed_one_after_the_other(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth")
    files = [key_file(tmp_path, number) for number in (1, 2)]
    capsys.readouterr()
    for path, kid in files:
        assert cli("key", "add", "growth", path) == 0
        assert capsys.readouterr().out == f"PORTAL_TOKEN_KEY_ID={kid}\n"
    assert cli("key", "list", "growth") == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [["secret", "HS256"], *[[kid, "EdDSA"] for _, kid in files]]
    for gone in ("secret", files[0][1]):
        assert cli("key", "remove", "growth", gone, "--yes") == 0
    assert [key.id for key in record(tmp_path, "growth").token_keys] == [files[1][1]]
    capsys.readouterr()
    assert cli("key", "remove", "growth", files[1][1], "--yes") == 1
    assert "only token key" in capsys.readouterr().err


def test_a_key_is_read_from_standard_input(
    cli: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("add", "growth")
    path, kid = key_file(tmp_path)
    monkeypatch.setattr(sys, "stdin", StringIO(Path(path).read_text()))
    assert cli("key", "add", "growth", "-") == 0
    assert [key.id for key in record(tmp_path, "growth").token_keys] == [kid]


def test_a_file_that_is_no_key(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth")
    capsys.readouterr()
    contents = {"none": None, "text": b"hello", "binary": b"\xff\xfe", "large": b"x" * 20_000}
    for name, content in contents.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        assert cli("key", "add", "growth", str(path)) == 1
        assert capsys.readouterr().err.startswith("coach-relay: ")
    assert record(tmp_path, "growth").token_keys == ()


def test_a_key_is_not_removed_unasked(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    cli("add", "growth")
    assert cli("key", "remove", "growth", "secret") == 1
    assert "--yes" in capsys.readouterr().err


def test_a_rotation_may_overlap(
    cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("add", "growth")
    _portal, old_key, _secret = shown(capsys)
    assert cli("rotate", "growth", "--overlap-hours", "24", "--yes") == 0
    _portal, new_key, _secret = shown(capsys)
    assert portal_of(tmp_path, old_key) == portal_of(tmp_path, new_key) == "growth"
    former = record(tmp_path, "growth").former
    assert former is not None
    assert 24 * 3600 - 60 <= former.until - time.time() <= 24 * 3600
    assert cli("rotate", "growth", "--overlap-hours", "169", "--yes") == 1


@pytest.mark.parametrize("action", ["add", "list", "remove"])
def test_each_has_help_with_an_example(
    cli: Callable[..., int], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["portal", "key", action, "--help"])
    assert ended.value.code == 0
    assert f"coach-relay portal key {action} growth" in capsys.readouterr().out


def test_keys_are_never_twice_the_same(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        cli("add", f"p{number}")
    found = KEYS.findall(capsys.readouterr().out)
    assert len({key[-43:] for _id, key, _secret in found} | {secret for *_rest, secret in found}) == 10
