"""What every measurement is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import Cores
from tests.bench.plan import Plan
from tests.bench.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`folder` is empty at first, and on the disk that is measured."""

    plan: Plan
    cores: Cores
    folder: Path
    progress: Progress
    profile: bool = False

    def profile_path(self, name: str) -> Path | None:
        """Where the relay of this measurement leaves its profile, if one is wanted."""
        return self.folder.parent / f"{name}.pstats" if self.profile else None
