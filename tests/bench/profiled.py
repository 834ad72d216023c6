"""The relay's command under cProfile, its loop's thread only: `tests.bench.profiled FILE ARGUMENTS...`."""

from __future__ import annotations

import cProfile
import sys

from relay.cli.main import main

if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    profile = cProfile.Profile()
    try:
        profile.runcall(main, arguments)  # without them it would end the process, and nothing be written
    finally:
        profile.dump_stats(path)
