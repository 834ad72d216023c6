"""The recovery words: twelve BIP-39 words that carry the recovery seed (docs/PROTOCOL.md section 6).

From the seed follow the recovery key pair, whose public half every device list of the user names, and with
it the key that opens the user's archive. The seed is in the vault only until the kit has been made.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from relay.wire.ids import label

from ..errors import RecoveryWordsInvalid, UsageError
from .keys import KEY_BYTES, KeyPair, Rng
from .words import english, words_in

SEED_BYTES: Final = 16
"""128 bits: nobody guesses them, and a person types twelve words without losing patience."""
WORDS: Final = 12
UNIQUE_LETTERS: Final = 4
"""No two words of the list begin with the same four letters."""
MOST_TYPED: Final = 1024
"""Twelve words with numbers and commas stay far below; bounds what is looked at."""

_SUGGESTIONS: Final = 3


@dataclass(frozen=True)  # not slotted: the key is derived once
class RecoverySeed:
    """The secret of one recovery kit, 16 bytes."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != SEED_BYTES:
            raise UsageError(f"A recovery seed is {SEED_BYTES} bytes.")

    @classmethod
    def generate(cls, rng: Rng) -> Self:
        """A fresh seed."""
        return cls(rng(SEED_BYTES))

    @classmethod
    def from_words(cls, typed: str) -> Self:
        """The seed that these words carry; raises RecoveryWordsInvalid.

        Case, numbers, commas and line breaks do not matter, and four letters of a word are enough.
        """
        words = [recovery_word(number, text) for number, text in enumerate(split_words(typed), 1)]
        if len(words) != WORDS:
            raise RecoveryWordsInvalid(f"A recovery kit has {WORDS} words; these are {len(words)}.")
        try:
            return cls(bytes(_mnemonic().to_entropy(words)))
        except ValueError:
            raise RecoveryWordsInvalid(
                "Each of these words exists, but together they are not a recovery kit: at least one is "
                "another word than on the page, or two have changed places."
            ) from None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The twelve words."""
        return tuple(_mnemonic().to_mnemonic(self.value).split())

    @cached_property
    def key(self) -> KeyPair:
        """The recovery key: it signs a device list that overrides all that the identity key signed."""
        hkdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=label("recovery key"), info=b"")
        return KeyPair.from_private(hkdf.derive(self.value))

    def check_word(self, number: int, typed: str) -> None:
        """Whether the word with this number (from 1) is the one typed; raises RecoveryWordsInvalid."""
        if not 1 <= number <= WORDS:
            raise UsageError(f"The words are numbered from 1 to {WORDS}.")
        given = split_words(typed)
        word = recovery_word(number, given[0]) if len(given) == 1 else ""
        if not hmac.compare_digest(word.encode(), self.words[number - 1].encode()):
            raise RecoveryWordsInvalid(
                f"Word {number} is another one on your page. Look again.", position=number
            )


def split_words(typed: str) -> list[str]:
    """The words in what somebody typed; raises RecoveryWordsInvalid if it is far too much."""
    if len(typed) > MOST_TYPED:
        raise RecoveryWordsInvalid(f"A recovery kit has {WORDS} words; this is far more.")
    return words_in(typed)


def words_like(typed: str) -> tuple[str, ...]:
    """Words of the list that look like this one, the likeliest first; to be shown to who typed it."""
    return tuple(get_close_matches(typed.lower(), english(), n=_SUGGESTIONS, cutoff=0.6))


def recovery_word(number: int, text: str) -> str:
    """The word of the list that was meant by the one with this number; raises RecoveryWordsInvalid."""
    if text in english():
        return text
    found = [word for word in english() if len(text) >= UNIQUE_LETTERS and word.startswith(text)]
    if len(found) != 1:
        raise RecoveryWordsInvalid(
            f"Word {number} is not one of the words that a recovery kit can have. Look at it again.",
            position=number,
        )
    return found[0]


@cache
def _mnemonic() -> Mnemonic:
    return Mnemonic("english")
