"""Records and history inside transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from client_sdk.errors import UnknownItem, UsageError, VaultClosed
from client_sdk.vault import HistoryItem, Transaction, Vault
from client_sdk.vault.schema import MIGRATIONS, migrate

KEY = bytes(32)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Vault.open(tmp_path / "anna.vault", key=KEY, create=True) as opened:
        yield opened


# Transactions


def test_a_block_that_raises_changes_nothing(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.put("space", b"key", b"before")

    def fail() -> None:
        with vault.transaction() as tx:
            tx.put("space", b"key", b"after")
            tx.add_item(item(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with vault.transaction() as tx:
        assert tx.get("space", b"key") == b"before"
        assert tx.history("room") == []


def test_transactions_do_not_nest_and_end_with_their_block(vault: Vault) -> None:
    with vault.transaction() as tx:
        with pytest.raises(UsageError), vault.transaction():
            pytest.fail("a second transaction began")
        with pytest.raises(UsageError):
            vault.close()
        tx.put("space", b"key", b"value")
    with pytest.raises(VaultClosed):
        tx.get("space", b"key")
    with pytest.raises(VaultClosed):
        tx.put("space", b"key", b"other")
    with vault.transaction() as tx:
        assert tx.get("space", b"key") == b"value"


def test_a_vault_may_be_used_from_another_thread(vault: Vault) -> None:
    def work() -> None:
        with vault.transaction() as tx:
            tx.put("space", b"key", b"from a thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with vault.transaction() as tx:
        assert tx.get("space", b"key") == b"from a thread"


# Records


def test_records(vault: Vault) -> None:
    with vault.transaction() as tx:
        assert tx.get("space", b"key") is None
        tx.put("space", b"key", b"")
        assert tx.get("space", b"key") == b""
        tx.put("space", b"key", b"\x00\xff")
        tx.put("other", b"key", b"elsewhere")
        assert tx.get("space", b"key") == b"\x00\xff"
        tx.delete("space", b"key")
        tx.delete("space", b"key")
        assert tx.get("space", b"key") is None
        assert tx.get("other", b"key") == b"elsewhere"


def test_scans_go_on_where_they_stopped(vault: Vault) -> None:
    with vault.transaction() as tx:
        for number in range(10):
            tx.put("space", b"a" + bytes([number]), bytes([number]))
        tx.put("space", b"b", b"")
        first = tx.scan("space", b"a", limit=4)
        second = tx.scan("space", b"a", limit=100, after=first[-1][0])
        assert [value[0] for _, value in first + second] == list(range(10))
        back = tx.scan("space", b"a", limit=4, reverse=True)
        further = tx.scan("space", b"a", limit=100, reverse=True, after=back[-1][0])
        assert [value[0] for _, value in back + further] == list(reversed(range(10)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tx: tx.get("", b"key"),
        lambda tx: tx.get("s" * 65, b"key"),
        lambda tx: tx.get("space", "key"),
        lambda tx: tx.put("space", b"k" * 513, b""),
        lambda tx: tx.put("space", b"key", "text"),
        lambda tx: tx.put("space", b"key", bytes(16 * 1024 * 1024 + 1)),
        lambda tx: tx.scan("space", limit=0),
        lambda tx: tx.scan("space", limit=1001),
        lambda tx: tx.history("room", limit=0),
        lambda tx: tx.history("room", limit=501),
        lambda tx: tx.history("room", search="x" * 257),
    ],
)
def test_wrong_arguments_are_refused(vault: Vault, wrong: Callable[[Transaction], Any]) -> None:
    with vault.transaction() as tx, pytest.raises(UsageError):
        wrong(tx)


class LikeADictionary(RuleBasedStateMachine):
    """Records behave like a sorted dictionary with transactions."""

    keys = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"a\xff", b"a\xffz", b"b"])

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.directory = tempfile.TemporaryDirectory()
        self.vault = Vault.open(Path(self.directory.name) / "v", key=KEY, create=True)
        self.model: dict[bytes, bytes] = {}

    @rule(
        changes=st.lists(st.tuples(keys, st.none() | st.binary(max_size=5)), max_size=5), fails=st.booleans()
    )
    def change(self, changes: list[tuple[bytes, bytes | None]], fails: bool) -> None:
        wanted = dict(self.model)
        try:
            with self.vault.transaction() as tx:
                for key, value in changes:
                    if value is None:
                        tx.delete("space", key)
                        wanted.pop(key, None)
                    else:
                        tx.put("space", key, value)
                        wanted[key] = value
                if fails:
                    raise LookupError
        except LookupError:
            return
        self.model = wanted

    @rule(prefix=keys, limit=st.integers(1, 5), reverse=st.booleans(), after=st.none() | keys)
    def scan(self, prefix: bytes, limit: int, reverse: bool, after: bytes | None) -> None:
        rows = sorted(self.model.items(), reverse=reverse)
        rows = [row for row in rows if row[0].startswith(prefix)]
        if after is not None:
            rows = [row for row in rows if (row[0] < after if reverse else row[0] > after)]
        with self.vault.transaction() as tx:
            assert tx.scan("space", prefix, limit=limit, reverse=reverse, after=after) == rows[:limit]

    @rule()
    def reopen(self) -> None:
        self.vault.close()
        self.vault = Vault.open(Path(self.directory.name) / "v", key=KEY)

    def teardown(self) -> None:
        self.vault.close()
        self.directory.cleanup()


TestLikeADictionary = LikeADictionary.TestCase
TestLikeADictionary.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


# The history


def item(number: int, **change: Any) -> HistoryItem:
    fields: dict[str, Any] = {
        "conversation": "room",
        "id": number.to_bytes(16, "big"),
        "seq": number,
        "sent_ms": number * 1000,
        "sender_user": "anna",
        "sender_device": b"phone",
        "kind": "text",
        "text": f"message {number}",
        "payload": b"payload",
        "mine": False,
    }
    return HistoryItem(**{**fields, **change})


def numbers(items: list[HistoryItem]) -> list[int]:
    return [int.from_bytes(i.id, "big") for i in items]


def test_an_item_is_kept_once_and_as_it_was_first(vault: Vault) -> None:
    with vault.transaction() as tx:
        assert tx.add_item(item(1)) is True
        assert tx.add_item(item(1, text="other")) is False
        assert tx.add_item(item(1, conversation="elsewhere")) is True
        assert tx.history("room") == [item(1)]


def test_an_item_can_be_changed_and_a_missing_one_cannot(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.add_item(item(1, seq=None, mine=True))
        tx.update_item(item(1, seq=7, mine=True, payload=b"delivered"))
        assert tx.history("room") == [item(1, seq=7, mine=True, payload=b"delivered")]
        for missing in (item(2), item(1, conversation="elsewhere")):
            with pytest.raises(UnknownItem):
                tx.update_item(missing)


def test_the_newest_come_first_and_pages_follow_each_other(vault: Vault) -> None:
    with vault.transaction() as tx:
        for number in (5, 1, 9, 3, 7):
            tx.add_item(item(number))
        tx.add_item(item(2, seq=None, mine=True))
        tx.add_item(item(4, seq=None, mine=True))
        tx.add_item(item(6, conversation="elsewhere"))
        assert numbers(tx.history("room")) == [4, 2, 9, 7, 5, 3, 1]
        seen: list[int] = []
        before = None
        while page := tx.history("room", before=before, limit=2):
            seen += numbers(page)
            before = page[-1].id
        assert seen == [4, 2, 9, 7, 5, 3, 1]
        assert tx.history("nowhere") == []


def test_a_page_cannot_go_on_from_an_item_that_is_gone(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.add_item(item(1))
        with pytest.raises(UnknownItem):
            tx.history("room", before=b"gone")
        with pytest.raises(UnknownItem):
            tx.history("elsewhere", before=item(1).id)


def test_one_item_is_found_by_its_id(vault: Vault) -> None:
    with vault.transaction() as tx:
        for number in range(1, 5):
            tx.add_item(item(number))
        assert tx.history("room", only=item(3).id) == [item(3)]
        assert tx.history("room", only=b"none") == []


@pytest.mark.parametrize(
    ("text", "search", "found"),
    [
        ("Straße nach Köln", "STRASSE", True),
        ("Straße nach Köln", "köln", True),
        ("Ko\u0308ln", "KÖLN", True),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
        ("100 % sure_", "%", True),
        ("100 sure", "%", False),
        ("abc", "_", False),
        ("a'b\"c", "'B\"", True),
        ("anything", "", True),
        ("", "x", False),
    ],
)
def test_searching_ignores_case_and_form(vault: Vault, text: str, search: str, found: bool) -> None:
    with vault.transaction() as tx:
        tx.add_item(item(1, text=text))
        assert bool(tx.history("room", search=search)) is found


def test_a_search_is_paged_too(vault: Vault) -> None:
    with vault.transaction() as tx:
        for number in range(1, 30):
            tx.add_item(item(number, text="Odd one" if number % 2 else "even"))
        first = tx.history("room", search="ODD", limit=3)
        assert numbers(first) == [29, 27, 25]
        assert numbers(tx.history("room", search="ODD", limit=3, before=first[-1].id)) == [23, 21, 19]


def test_an_item_is_bounded_and_shows_nothing_of_what_was_said() -> None:
    with pytest.raises(UsageError):
        item(1, payload=bytes(1024 * 1024 + 1))
    for seq in (0, 2**63 - 1):
        with pytest.raises(UsageError):
            item(1, seq=seq)
    shown = repr(replace(item(1), text="secret words", payload=b"secret bytes", sender_user="secret name"))
    assert "secret" not in shown


# Amendments: items about another one


def test_amendments_are_found_by_what_they_are_about_and_left_out_where_not_wanted(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.add_item(item(1))
        tx.add_item(item(4, about=item(1).id, seq=None, text=""))
        tx.add_item(item(3, about=item(1).id, text="message 1 anew"))
        tx.add_item(item(2, about=item(9).id))
        tx.add_item(item(5, about=item(1).id, conversation="elsewhere"))
        assert numbers(tx.amendments("room", [item(1).id])) == [3, 4]
        assert numbers(tx.amendments("room", [item(1).id, item(9).id])) == [2, 3, 4]
        assert tx.amendments("room", []) == tx.amendments("room", [item(2).id]) == []
        assert tx.amendments("room", [item(9).id]) == [item(2, about=item(9).id)]
        assert numbers(tx.history("room")) == [4, 3, 2, 1]
        assert numbers(tx.history("room", amendments=False)) == [1]
        assert tx.history("room", search="anew", amendments=False) == []
        with pytest.raises(UsageError):
            tx.amendments("room", [bytes(16)] * 501)


def test_a_removed_item_is_gone_from_the_file(vault: Vault, tmp_path: Path) -> None:
    with vault.transaction() as tx:
        tx.add_item(item(1))
        tx.add_item(item(1, conversation="elsewhere"))
    with vault.transaction() as tx:
        tx.remove_item("room", item(1).id)
        tx.remove_item("room", item(7).id)
        assert tx.history("room") == []
        assert numbers(tx.history("elsewhere")) == [1]


def test_a_vault_of_before_amendments_opens_with_its_history(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "old.db"))
    migrate(connection, MIGRATIONS[:1])
    values = item(1).to_row()[:-1]
    connection.execute(f"INSERT INTO items VALUES (NULL, {', '.join('?' * len(values))})", values)
    migrate(connection)
    (row,) = connection.execute("SELECT * FROM items")
    assert HistoryItem.from_row(row[1:]) == item(1)


def test_what_changed_is_listed_once_by_its_newest_change(vault: Vault) -> None:
    def changed(after: int = 0) -> list[tuple[bytes, str | None]]:
        with vault.transaction() as tx:
            return [
                (item_id, None if found is None else found.text)
                for _, item_id, found in tx.changes(item(1).conversation, after=after)
            ]

    with vault.transaction() as tx:
        for number in range(1, 4):
            tx.add_item(item(number))
        first = tx.last_change(item(1).conversation)
        assert tx.last_change("eng_2") == 0
    before = changed()
    assert len(before) == 3
    with vault.transaction() as tx:
        tx.add_item(item(2))  # there already: no change
        assert tx.last_change(item(1).conversation) == first
        tx.update_item(replace(item(1), text="edited"))
        tx.remove_item(item(1).conversation, item(2).id)
    assert changed(first) == [(item(1).id, "edited"), (item(2).id, None)]
    assert changed() == [before[2], (item(1).id, "edited"), (item(2).id, None)]
