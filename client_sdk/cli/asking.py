"""Asking a person something in a terminal, which they may leave by Ctrl-C or Ctrl-D."""

from __future__ import annotations

import getpass
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from client_sdk.cli.errors import CliError


def ask(question: str) -> str:
    """Return the line that is typed; raises `CliError` where nothing more comes (Ctrl-D)."""
    with _may_be_left():
        return input(question)


def ask_hidden(question: str) -> str:
    """Return the line that is typed without showing it; raises `CliError` where nothing more comes."""
    with _may_be_left():
        return getpass.getpass(question)


@contextmanager
def _may_be_left() -> Iterator[None]:
    # asyncio makes the first Ctrl-C a cancellation, which nobody hears of before the line is there.
    in_terminal = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if in_terminal else None
    try:
        yield
    except EOFError:
        print()  # what is said next begins in a line of its own
        raise CliError(
            "Nothing was typed: the question is not answered.", do="Run the command again when you can."
        ) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
