"""The relay's command under cProfile, its loop's thread only: `tests.bench.profiled FILE ARGUMENTS...`."""

from __future__ import annotations

import cProfile
import sys

from relay.cli.main import main

if __name__ == "__main__":
    path, sys.argv = sys.argv[1], ["coach-relay", *sys.argv[2:]]
    profile = cProfile.Profile()
    try:
        profile.runcall(main)
    finally:
        profile.dump_stats(path)
