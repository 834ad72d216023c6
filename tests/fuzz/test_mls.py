"""The fuzz targets of client_sdk/mls with chosen and mutated bytes, the same in every run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mls_targets import DECODERS, STATES, TARGETS, seeds

HOW = st.sampled_from(["flip", "cut", "insert", "drop", "repeat"])
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), HOW, st.binary(max_size=4)), min_size=1, max_size=4)


def mutate(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    """A real encoding, damaged here and there."""
    for number, how, extra in changes:
        place = number % (len(data) + 1)
        match how:
            case "flip" if place < len(data):
                data = data[:place] + bytes([data[place] ^ (1 << number % 8)]) + data[place + 1 :]
            case "cut":
                data = data[:place]
            case "insert":
                data = data[:place] + extra + data[place:]
            case "drop":
                data = data[:place] + data[place + 1 + len(extra) :]
            case "repeat":
                data = data[:place] + data[place : place + 40] + data[place:]
    return data


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


def on_damaged(name: str, count: int) -> Callable[[], None]:
    @settings(max_examples=count, derandomize=True, deadline=None, database=None)
    @given(number=st.integers(0, 1 << 16), changes=CHANGES)
    def run(number: int, changes: list[tuple[int, str, bytes]]) -> None:
        TARGETS[name](mutate(seeds()[number % len(seeds())], changes))

    return run


@pytest.mark.parametrize("name", DECODERS)
def test_damaged_encodings_never_crash_a_decoder(name: str) -> None:
    on_damaged(name, 200)()


@pytest.mark.parametrize("name", STATES)
def test_damaged_messages_never_crash_or_change_a_member(name: str) -> None:
    on_damaged(name, 100)()


@pytest.mark.parametrize("name", TARGETS)
def test_real_encodings_in_the_wrong_place(name: str) -> None:
    for seed in seeds():
        TARGETS[name](seed)
