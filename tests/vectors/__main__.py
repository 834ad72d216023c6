"""Writes `python.json` anew: `python -m tests.vectors`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.vectors import devices
from tests.vectors.making import make, seal_files

FILE = Path(__file__).with_name("python.json")


def main() -> None:
    """Make the vectors and the sealed files."""
    vectors = {**make(), **devices.seal(), "files": asyncio.run(seal_files())}
    FILE.write_text(json.dumps(vectors, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
