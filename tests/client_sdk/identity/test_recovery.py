"""Recovery words: twelve of them carry the seed, and a slip is found and named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic

from client_sdk.errors import RecoveryWordsInvalid, UsageError
from client_sdk.identity import RecoverySeed, words_like

SEED = RecoverySeed(bytes(range(16)))
WORDS = " ".join(SEED.words)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_the_words_give_the_seed_back(value: bytes) -> None:
    seed = RecoverySeed(value)
    assert len(seed.words) == 12
    assert RecoverySeed.from_words(" ".join(seed.words)) == seed


def test_they_are_the_words_of_bip_39() -> None:
    assert RecoverySeed(bytes(16)).words == ("abandon",) * 11 + ("about",)
    assert Mnemonic("english").check(WORDS)


@pytest.mark.parametrize(
    "typed",
    [
        WORDS.upper(),
        WORDS.replace(" ", "\n"),
        ", ".join(SEED.words),
        " ".join(f"{n}. {word}" for n, word in enumerate(SEED.words, 1)),
        " ".join(word[:4] for word in SEED.words),
        f"  {WORDS}  ",
    ],
)
def test_they_may_be_typed_as_people_type(typed: str) -> None:
    assert RecoverySeed.from_words(typed) == SEED


def test_a_word_that_does_not_exist_is_named_by_its_number_and_not_repeated() -> None:
    typed = list(SEED.words)
    typed[3] = "amoutn"
    with pytest.raises(RecoveryWordsInvalid, match="Word 4 is not one of the words") as raised:
        RecoverySeed.from_words(" ".join(typed))
    assert raised.value.position == 4
    assert "amoutn" not in str(raised.value)
    assert "amount" in words_like("amoutn")


@pytest.mark.parametrize("count", [0, 1, 11, 13, 24])
def test_too_few_or_too_many_words(count: int) -> None:
    with pytest.raises(RecoveryWordsInvalid, match=f"these are {count}"):
        RecoverySeed.from_words(" ".join((SEED.words * 2)[:count]))


def test_far_too_much_is_not_even_looked_at() -> None:
    with pytest.raises(RecoveryWordsInvalid, match="far more"):
        RecoverySeed.from_words("abandon " * 1000)


def test_a_word_in_another_words_place_breaks_the_checksum() -> None:
    for typed in (
        [*SEED.words[:11], "zoo"],
        [SEED.words[2], *SEED.words[1:2], SEED.words[0], *SEED.words[3:]],
    ):
        with pytest.raises(RecoveryWordsInvalid, match="together they are not a recovery kit"):
            RecoverySeed.from_words(" ".join(typed))


def test_the_page_is_checked_word_by_word() -> None:
    SEED.check_word(3, f" {SEED.words[2].title()} ")
    for number, typed in ((3, SEED.words[3]), (3, ""), (3, "two words"), (1, "zzz")):
        with pytest.raises(RecoveryWordsInvalid, match=f"Word {number} is"):
            SEED.check_word(number, typed)
    with pytest.raises(UsageError):
        SEED.check_word(13, SEED.words[0])


def test_the_key_follows_from_the_seed_and_nothing_shows_it() -> None:
    assert SEED.key == RecoverySeed.from_words(WORDS).key
    assert SEED.key.public != RecoverySeed(bytes(16)).key.public
    assert SEED.value.hex() not in repr(SEED)
    with pytest.raises(UsageError):
        RecoverySeed(bytes(32))
