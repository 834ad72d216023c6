"""Runs a module as a program that ends when whoever started it has gone, however that ended.

A script, not a part of the package, so that the relay's process imports nothing of the SDK:
`python leash.py MODULE ARGUMENT...`. Its standard input is the leash: at the end of it the program is asked
to end; a byte lets it go.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Take the leash off the standard input, and become the module."""
    sys.path[0] = os.getcwd()  # as for `python -m`: nothing beside this file is to be found by its bare name
    import runpy
    import threading

    leash = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=watch, args=(leash,), daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def watch(leash: int) -> None:
    """Ask this process to end once nobody holds the other end any more."""
    import signal

    if not os.read(leash, 1):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
