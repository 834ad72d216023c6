"""What `coach devices link` asks: a slip costs nothing but typing it once more, and Enter links nothing."""

from __future__ import annotations

import pytest

from client_sdk.cli import devices
from client_sdk.devices import LinkSecret, Newcomer
from client_sdk.errors import LinkCodeInvalid

WORDS = " ".join(LinkSecret(bytes(range(16))).words)


def typed(patch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """What the person will type; what was asked."""
    asked: list[str] = []
    waiting = list(answers)

    def ask(question: str) -> str:
        asked.append(question)
        return waiting.pop(0)

    patch.setattr(devices, "_asked", ask)
    return asked


@pytest.mark.parametrize(
    ("answers", "linked", "questions"),
    [
        (["Anna's laptop"], True, 1),
        ([" anna's   LAPTOP "], True, 1),
        (["Annas laptop", "Anna's laptop"], True, 2),
        ([""], False, 1),
        (["yes", ""], False, 2),
        (["yes", "y", "ok"], False, 3),
    ],
)
def test_only_the_name_links(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], linked: bool, questions: int
) -> None:
    asked = typed(monkeypatch, *answers)
    assert devices._confirmed(Newcomer(bytes(32), "Anna's laptop"), None) is linked
    assert len(asked) == questions


@pytest.mark.parametrize(("given", "linked"), [("anna's laptop", True), ("another", False), ("", False)])
def test_a_name_that_was_given_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: str, linked: bool
) -> None:
    asked = typed(monkeypatch)
    assert devices._confirmed(Newcomer(bytes(32), "Anna's laptop"), given) is linked
    assert asked == []


def test_words_with_a_slip_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slip = WORDS.replace(WORDS.split()[3], "xyzzy", 1)
    asked = typed(monkeypatch, slip, WORDS)
    assert devices._words() == WORDS
    assert len(asked) == 2
    assert "“xyzzy”" in capsys.readouterr().out
    typed(monkeypatch, slip, slip, slip)
    with pytest.raises(LinkCodeInvalid):
        LinkSecret.read(devices._words())
