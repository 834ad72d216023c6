from __future__ import annotations

import pytest

from client_sdk.transport.backoff import CAP_SECONDS, FIRST_SECONDS, STABLE_SECONDS, Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.next_delay() for _ in range(40)]
    assert waits[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert waits[-1] == CAP_SECONDS
    assert waits == sorted(waits)


def test_the_jitter_is_full() -> None:
    assert Backoff(lambda: 0.0).next_delay() == 0.0
    assert Backoff(lambda: 0.5).next_delay() == FIRST_SECONDS / 2


@pytest.mark.parametrize(("lived", "starts_anew"), [(STABLE_SECONDS, True), (STABLE_SECONDS - 1, False)])
def test_only_a_stable_connection_resets(lived: float, starts_anew: bool) -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.next_delay()
    backoff.connection_lived(lived)
    assert (backoff.next_delay() == FIRST_SECONDS) is starts_anew
