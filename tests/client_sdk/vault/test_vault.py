"""Opening, keys, exclusive use, damage, and what stays on the disk."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import apsw
import pytest

from client_sdk.errors import (
    KeyMissing,
    KeyringUnavailable,
    UsageError,
    VaultClosed,
    VaultCorrupt,
    VaultError,
    VaultExists,
    VaultFormatUnknown,
    VaultFull,
    VaultInUse,
    VaultMissing,
    VaultUnavailable,
    WrongPassphrase,
)
from client_sdk.vault import KeyringKey, PassphraseKey, Vault
from client_sdk.vault.header import HEADER_BYTES, Header
from client_sdk.vault.schema import MIGRATIONS, migrate

from .pages import PAGE, decrypted_pages

KEY = bytes(range(32))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "anna.vault"


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed vault of about a hundred pages."""
    with Vault.open(path, key=KEY, create=True) as vault, vault.transaction() as tx:
        for number in range(100):
            tx.put("space", number.to_bytes(2, "big"), os.urandom(3000))
    return path


# Keys


def test_a_passphrase_opens_what_it_made(path: Path) -> None:
    with Vault.open(path, key=PassphraseKey("rosé wine"), create=True) as vault, vault.transaction() as tx:
        tx.put("space", b"key", b"value")
    with pytest.raises(WrongPassphrase):
        Vault.open(path, key=PassphraseKey("rose wine"))
    decomposed = PassphraseKey("rose\u0301 wine")  # the same words as another system types them
    with Vault.open(path, key=decomposed) as vault, vault.transaction() as tx:
        assert tx.get("space", b"key") == b"value"


def test_a_raw_key_opens_what_it_made(filled: Path) -> None:
    with pytest.raises(WrongPassphrase):
        Vault.open(filled, key=bytes(32))
    with Vault.open(filled, key=KEY) as vault, vault.transaction() as tx:
        assert len(tx.scan("space", limit=1000)) == 100


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "passphrase", None])
def test_another_kind_of_key_is_refused(path: Path, key: Any) -> None:
    with pytest.raises(UsageError):
        Vault.open(path, key=key, create=True)
    assert not list(path.parent.iterdir())


def test_an_empty_or_broken_passphrase_is_refused(path: Path) -> None:
    with pytest.raises(UsageError):
        PassphraseKey("")
    for wrong in ("\ud800", "x" * 1025):
        with pytest.raises(UsageError):
            Vault.open(path, key=PassphraseKey(wrong), create=True)


def test_no_two_vaults_have_the_same_file_key(tmp_path: Path) -> None:
    headers = []
    for name in ("a", "b"):
        Vault.open(tmp_path / name, key=KEY, create=True).close()
        headers.append(Header.parse((tmp_path / name).read_bytes()[:HEADER_BYTES]))
    assert headers[0].file_key(KEY) != headers[1].file_key(KEY) != KEY
    assert headers[0].kdf_salt != headers[1].kdf_salt


def test_no_secret_stands_in_a_repr(path: Path) -> None:
    assert "wine" not in repr(PassphraseKey("rosé wine"))
    with Vault.open(path, key=KEY, create=True) as vault:
        assert repr(vault) == "<Vault open>"
        with vault.transaction() as tx:
            assert repr(tx) == "<Transaction open>"
    assert repr(vault) == "<Vault closed>"


class FakeKeyring(types.ModuleType):
    """Stands in for the operating system's keyring."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, name: str) -> str | None:
        if self.locked:
            from keyring.errors import KeyringLocked

            raise KeyringLocked
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        self.kept[service, name] = password


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> FakeKeyring:
    import keyring.errors

    fake = FakeKeyring()
    fake.errors = keyring.errors  # type: ignore[attr-defined]  # as the package has it
    monkeypatch.setitem(sys.modules, "keyring", fake)
    return fake


def test_the_keyring_keeps_a_random_key(path: Path, keyring: FakeKeyring) -> None:
    Vault.open(path, key=KeyringKey("anna"), create=True).close()
    (kept,) = keyring.kept.values()
    assert len(bytes.fromhex(kept)) == 32
    Vault.open(path, key=KeyringKey("anna")).close()
    Vault.open(path, key=bytes.fromhex(kept)).close()


def test_a_missing_damaged_or_locked_keyring_is_named(path: Path, keyring: FakeKeyring) -> None:
    Vault.open(path, key=KeyringKey("anna"), create=True).close()
    with pytest.raises(KeyMissing):
        Vault.open(path, key=KeyringKey("ben"))
    for damaged in ("xyz", "abcd"):
        keyring.kept["coach-relay", "anna"] = damaged
        with pytest.raises(KeyMissing):
            Vault.open(path, key=KeyringKey("anna"))
    keyring.locked = True
    with pytest.raises(KeyringUnavailable):
        Vault.open(path, key=KeyringKey("anna"))


def test_a_key_that_the_keyring_has_already_is_never_overwritten(path: Path, keyring: FakeKeyring) -> None:
    keyring.kept["coach-relay", "anna"] = KEY.hex()
    Vault.open(path, key=KeyringKey("anna"), create=True).close()
    assert keyring.kept["coach-relay", "anna"] == KEY.hex()


def test_without_the_keyring_package_the_error_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeyringUnavailable, match=r"coach-relay\[keyring\]"):
        Vault.open(path, key=KeyringKey("anna"), create=True)


# Making and opening


def test_a_missing_vault_is_not_made_by_opening(path: Path) -> None:
    with pytest.raises(VaultMissing):
        Vault.open(path, key=KEY)
    assert not list(path.parent.iterdir())


def test_an_existing_file_is_never_overwritten(filled: Path) -> None:
    before = filled.read_bytes()
    with pytest.raises(VaultExists):
        Vault.open(filled, key=KEY, create=True)
    assert filled.read_bytes() == before
    assert [p.name for p in filled.parent.iterdir()] == ["anna.vault"]


def test_a_directory_or_an_unreadable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(VaultUnavailable):
        Vault.open(tmp_path, key=KEY)
    with pytest.raises(VaultMissing):
        Vault.open(tmp_path / "none" / "anna.vault", key=KEY, create=True)


def test_the_file_is_encrypted_and_only_its_owners(filled: Path) -> None:
    assert stat.S_IMODE(filled.stat().st_mode) == 0o600
    assert not filled.read_bytes().startswith(b"SQLite")
    filled.chmod(0o644)
    with Vault.open(filled, key=KEY) as vault, vault.transaction() as tx:
        tx.put("space", b"key", b"value")
        modes = {stat.S_IMODE(p.stat().st_mode) for p in filled.parent.iterdir()}
    assert modes == {0o600}


def test_a_plain_database_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(VaultCorrupt, match="without encryption"):
        Vault.open(path, key=KEY)


def test_the_library_in_use_really_encrypts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(apsw, "mc_version")
    with pytest.raises(VaultUnavailable, match="apsw-sqlite3mc"):
        Vault.open(path, key=KEY, create=True)
    assert not path.exists()


def test_what_an_interrupted_making_left_is_made_anew(path: Path) -> None:
    path.with_name("anna.vault.new").write_bytes(b"rubbish" * 1000)
    Vault.open(path, key=KEY, create=True).close()
    Vault.open(path, key=KEY).close()
    assert [p.name for p in path.parent.iterdir()] == ["anna.vault"]


def test_a_symbolic_link_leads_to_the_vault(filled: Path) -> None:
    link = filled.with_name("link")
    link.symlink_to(filled)
    with Vault.open(link, key=KEY), pytest.raises(VaultInUse):
        Vault.open(filled, key=KEY)


# One user at a time


def test_a_second_opening_in_this_process_is_refused_at_once(filled: Path) -> None:
    with Vault.open(filled, key=KEY) as vault:
        for key in (KEY, bytes(32)):
            with pytest.raises(VaultInUse):
                Vault.open(filled, key=key)
        with vault.transaction() as tx:
            tx.put("space", b"key", b"still works")
    Vault.open(filled, key=KEY).close()


CHILD = """
    import os, sys
    from client_sdk.vault import Vault
    path, doing = sys.argv[1:]
    key = bytes(range(32))
    if doing == "open":
        try:
            Vault.open(path, key=key)
        except Exception as error:
            print(type(error).__name__, flush=True)
        else:
            print("opened", flush=True)
        sys.exit()
    if doing == "create":
        Vault.open(path, key=key, create=True)
    vault = Vault.open(path, key=key) if doing != "create" else None
    if doing == "hold":
        print("ready", flush=True)
        sys.stdin.readline()
    elif doing == "inside":
        with vault.transaction() as tx:
            for number in range(2000):
                tx.put("space", number.to_bytes(2, "big"), b"inside" * 500)
            tx.delete("kept", b"key")
            print("ready", flush=True)
            sys.stdin.readline()
    elif doing == "after":
        with vault.transaction() as tx:
            tx.put("space", b"one", b"after")
            tx.put("space", b"two", b"after")
        print("ready", flush=True)
        sys.stdin.readline()
"""


def child(path: Path, doing: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path), doing],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def test_a_second_process_is_refused_at_once(filled: Path) -> None:
    with Vault.open(filled, key=KEY):
        said, _ = child(filled, "open").communicate(timeout=30)
    assert said == "VaultInUse\n"
    said, _ = child(filled, "open").communicate(timeout=30)
    assert said == "opened\n"


def test_this_process_is_refused_while_another_has_it(filled: Path) -> None:
    process = child(filled, "hold")
    until_ready(process)
    with pytest.raises(VaultInUse):
        Vault.open(filled, key=KEY)
    killed(process)
    Vault.open(filled, key=KEY).close()


def test_another_sqlite_program_keeps_us_out(filled: Path) -> None:
    header = filled.read_bytes()[:HEADER_BYTES]
    other = apsw.Connection(str(filled))
    other.execute("PRAGMA cipher='chacha20'")
    other.execute(f"PRAGMA key='raw:{Header.parse(header).file_key(KEY).hex()}{header.hex()}'")
    other.execute("BEGIN; SELECT count(*) FROM records").fetchall()
    with pytest.raises(VaultInUse):
        Vault.open(filled, key=KEY)
    other.close(True)


# Crashes


def test_a_process_killed_inside_a_transaction_changed_nothing(path: Path) -> None:
    with Vault.open(path, key=KEY, create=True) as vault, vault.transaction() as tx:
        tx.put("kept", b"key", b"value")
    process = child(path, "inside")
    until_ready(process)
    killed(process)
    with Vault.open(path, key=KEY) as vault, vault.transaction() as tx:
        assert tx.scan("space", limit=10) == []
        assert tx.get("kept", b"key") == b"value"


def test_a_process_killed_after_a_transaction_changed_everything(path: Path) -> None:
    Vault.open(path, key=KEY, create=True).close()
    process = child(path, "after")
    until_ready(process)
    killed(process)
    with Vault.open(path, key=KEY) as vault, vault.transaction() as tx:
        assert tx.scan("space", limit=10) == [(b"one", b"after"), (b"two", b"after")]


def test_what_is_only_in_the_log_is_not_lost(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the commit and the checkpoint: the copy has a log, and nothing else of the change."""
    monkeypatch.setattr(Vault, "_checkpoint", lambda self: None)
    copy = tmp_path / "copy" / "anna.vault"
    copy.parent.mkdir()
    with Vault.open(filled, key=KEY) as vault:
        with vault.transaction() as tx:
            tx.put("space", b"key", b"in the log")
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(
                filled.with_name(filled.name + suffix).read_bytes()
            )
    monkeypatch.undo()
    with Vault.open(copy, key=KEY) as vault:
        assert copy.with_name("anna.vault-wal").stat().st_size == 0
        with vault.transaction() as tx:
            assert tx.get("space", b"key") == b"in the log"


# Damage


def test_a_damaged_beginning_is_named(filled: Path) -> None:
    good = filled.read_bytes()
    expected: dict[int, type[VaultError]] = {
        0: VaultFormatUnknown,
        5: WrongPassphrase,  # a damaged salt cannot be told from a wrong key
        14: WrongPassphrase,
        16: VaultCorrupt,
        20: VaultCorrupt,
        100: VaultCorrupt,
        PAGE - 1: VaultCorrupt,
    }
    for position, error in expected.items():
        damaged = bytearray(good)
        damaged[position] ^= 1
        filled.write_bytes(bytes(damaged))
        with pytest.raises(error):
            Vault.open(filled, key=KEY)
    filled.write_bytes(good)
    Vault.open(filled, key=KEY).close()


def test_a_flipped_bit_on_any_later_page_is_found_when_it_is_read(filled: Path) -> None:
    good = filled.read_bytes()
    found = 0
    for position in range(PAGE + 77, len(good), PAGE):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        filled.write_bytes(bytes(damaged))
        try:
            with Vault.open(filled, key=KEY) as vault, vault.transaction() as tx:
                for number in range(100):
                    tx.get("space", number.to_bytes(2, "big"))
                tx.history("conversation")
        except VaultCorrupt:
            found += 1
    # All but the pages that nothing of this reads: free ones, and those of the other tables and indexes.
    assert found >= len(good) // PAGE - 12


@pytest.mark.parametrize("length", [0, 5, 16, 100, PAGE, 5 * PAGE, 5 * PAGE + 100])
def test_a_cut_file_is_damaged(filled: Path, length: int) -> None:
    filled.write_bytes(filled.read_bytes()[:length])
    with pytest.raises(VaultCorrupt), Vault.open(filled, key=KEY) as vault, vault.transaction() as tx:
        tx.scan("space", limit=1000)


def test_pages_of_another_place_are_damaged(filled: Path) -> None:
    data = bytearray(filled.read_bytes())
    data[10 * PAGE : 11 * PAGE], data[20 * PAGE : 21 * PAGE] = (
        data[20 * PAGE : 21 * PAGE],
        data[10 * PAGE : 11 * PAGE],
    )
    filled.write_bytes(bytes(data))
    with pytest.raises(VaultCorrupt), Vault.open(filled, key=KEY) as vault, vault.transaction() as tx:
        tx.scan("space", limit=1000)


def test_a_vault_is_not_left_locked_by_a_failed_opening(filled: Path) -> None:
    for _ in range(3):
        with pytest.raises(WrongPassphrase):
            Vault.open(filled, key=bytes(32))
    Vault.open(filled, key=KEY).close()


# Versions


def test_a_newer_vault_is_not_opened(filled: Path) -> None:
    with Vault.open(filled, key=KEY) as vault:
        vault._open_connection().execute("INSERT INTO migrations VALUES (?)", (len(MIGRATIONS) + 1,))
    with pytest.raises(VaultFormatUnknown):
        Vault.open(filled, key=KEY)


def test_an_older_vault_is_brought_up_to_date() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, ("CREATE TABLE a (x)",))
    migrate(connection, ("CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE c (x)"))
    assert [row[0] for row in connection.execute("SELECT version FROM migrations")] == [1, 2]
    assert connection.execute("SELECT count(*) FROM c").fetchall() == [(0,)]
    with pytest.raises(apsw.SQLError):
        migrate(connection, ("", "", "CREATE TABLE d (x); CREATE TABLE b (x)"))
    assert [row[0] for row in connection.execute("SELECT version FROM migrations")] == [1, 2]
    with pytest.raises(apsw.SQLError):
        connection.execute("SELECT * FROM d")
    connection.close()


# What stays on the disk


def all_bytes(path: Path) -> bytes:
    """Everything readable with the key: all pages; the log must be empty."""
    log = path.with_name(path.name + "-wal")
    assert not log.exists() or log.stat().st_size == 0
    return b"".join(decrypted_pages(path, KEY))


def test_deleted_values_are_gone_when_the_transaction_has_ended(path: Path) -> None:
    short, long = b"DELETED-SHORT", b"DELETED-LONG" * 2000
    with Vault.open(path, key=KEY, create=True) as vault:
        with vault.transaction() as tx:
            tx.put("space", b"short", short)
            tx.put("space", b"long", long)
            tx.put("space", b"replaced", b"REPLACED" * 1000)
            for number in range(50):
                tx.put("space", b"other%d" % number, os.urandom(500))
        kept = all_bytes(path)
        assert short in kept
        assert b"DELETED-LONG" in kept
        assert b"REPLACED" in kept
        with vault.transaction() as tx:
            tx.delete("space", b"short")
            tx.delete("space", b"long")
            tx.put("space", b"replaced", b"new")
            assert tx.get("space", b"long") is None
        kept = all_bytes(path)
        assert b"DELETED" not in kept
        assert b"REPLACED" not in kept
    assert b"DELETED" not in all_bytes(path)


def test_what_was_rolled_back_leaves_no_trace(path: Path) -> None:
    with Vault.open(path, key=KEY, create=True) as vault:

        def fail() -> None:
            with vault.transaction() as tx:
                for number in range(3000):  # more than the page cache holds
                    tx.put("space", b"%d" % number, b"ROLLED-BACK" * 200)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        with vault.transaction() as tx:
            tx.put("space", b"key", b"value")
        assert b"ROLLED-BACK" not in all_bytes(path)


def test_nothing_readable_is_in_any_file_without_the_key(path: Path) -> None:
    with Vault.open(path, key=KEY, create=True) as vault:
        with vault.transaction() as tx:
            for number in range(3000):
                tx.put("SECRETSPACE", b"SECRETKEY%d" % number, b"SECRETVALUE" * 200)
            spilled = b"".join(p.read_bytes() for p in path.parent.iterdir())
        after = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert len(spilled) > 1_000_000
    assert b"SECRET" not in spilled
    assert b"SECRET" not in after


# A full disk


def test_a_full_disk_changes_nothing_and_is_named(filled: Path) -> None:
    with Vault.open(filled, key=KEY) as vault:
        pages = vault._open_connection().pragma("page_count")
        vault._open_connection().pragma("max_page_count", pages)
        with pytest.raises(VaultFull), vault.transaction() as tx:
            tx.put("space", b"new", b"x" * 100_000)
        vault._open_connection().pragma("max_page_count", 2**30)
        with vault.transaction() as tx:
            assert tx.get("space", b"new") is None
            assert len(tx.scan("space", limit=1000)) == 100
            tx.put("space", b"new", b"now")


def test_a_closed_vault_says_so(filled: Path) -> None:
    vault = Vault.open(filled, key=KEY)
    vault.close()
    vault.close()
    with pytest.raises(VaultClosed), vault.transaction():
        pytest.fail("the transaction began")
