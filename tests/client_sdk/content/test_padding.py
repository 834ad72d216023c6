"""Padded lengths: never shorter, few, and at most 12 % longer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content import padded_length


@given(st.integers(257, 2**40))
def test_padding_follows_the_formula(n: int) -> None:
    exponent = math.floor(math.log2(n)) if n < 2**40 else 40
    if 2**exponent > n:
        exponent -= 1  # math.log2 rounds up just below a power of two
    step = 2 ** (exponent - (math.floor(math.log2(exponent)) + 1))
    padded = padded_length(n)
    assert padded % step == 0
    assert 0 <= padded - n < step
    assert padded <= n * 1.12


@pytest.mark.parametrize(
    ("n", "padded"), [(0, 256), (1, 256), (256, 256), (257, 272), (1000, 1024), (61440, 61440)]
)
def test_padded_lengths(n: int, padded: int) -> None:
    assert padded_length(n) == padded


def test_padding_twice_changes_nothing() -> None:
    for n in range(5000):
        assert padded_length(padded_length(n)) == padded_length(n)


def test_few_lengths_are_visible() -> None:
    assert len({padded_length(n) for n in range(60 * 1024 + 1)}) < 130


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        padded_length(-1)
