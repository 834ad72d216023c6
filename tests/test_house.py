"""What the house's builders promise each other, checked on the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("relay", "client_sdk")
LONGEST_FILE = 600
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE_ROOMS = ("relay/wire", "relay/core", "client_sdk/mls", "client_sdk/content", "client_sdk/delivery")
IMPURE_NAMES = {"os.urandom", "time.time", "datetime.now", "datetime.utcnow"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_file_grows_past_the_bound(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=relative)
def test_init_files_export_and_do_nothing_else(path: Path) -> None:
    for node in parse(path).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        is_all = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
        is_annotated_all = isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "__all__"
        assert is_docstring or is_import or is_all or is_annotated_all, (
            f"{relative(path)}:{node.lineno} {ast.unparse(node)[:80]}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_control_flow_never_rests_on_assert(path: Path) -> None:
    found = [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]
    assert not found, f"{relative(path)}: assert in lines {found}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_exception_is_swallowed(path: Path) -> None:
    def swallows(handler: ast.ExceptHandler) -> bool:
        catches_all = handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
        does_nothing = all(
            isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            for s in handler.body
        )
        return catches_all and does_nothing

    handlers = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ExceptHandler)]
    assert not [h.lineno for h in handlers if swallows(h)]


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if relative(p).startswith(tuple(f"{r}/" for r in PURE_ROOMS))], ids=relative
)
def test_pure_rooms_read_no_clock_and_draw_no_chance(path: Path) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    impure = {call for call in calls if any(call.endswith(name) for name in IMPURE_NAMES)}
    impure |= {c for c in calls if c.endswith((".random", ".generate"))}
    assert not impure


def test_ignored_types_give_their_reason() -> None:
    bare = [
        f"{relative(path)}:{number}"
        for path in (*SOURCES, *(ROOT / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"# type: ignore(\[[\w, -]+\])?\s*$", line)
    ]
    assert not bare


def closure(extra: str | None) -> set[str]:
    """The top-level modules that an installation of coach-relay with one extra brings."""
    from packaging.requirements import Requirement

    wanted: set[str] = set()
    todo: list[tuple[str, frozenset[str]]] = [("coach-relay", frozenset([extra] if extra else []))]
    while todo:
        name, extras = todo.pop()
        key = name.lower().replace("_", "-")
        if key in wanted and not extras:
            continue
        wanted.add(key)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            environments = [{"extra": e} for e in extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(e) for e in environments):
                todo.append((requirement.name, frozenset(requirement.extras)))
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if any(owner.lower().replace("_", "-") in wanted for owner in owners)
    }


ONLY = """
import importlib, importlib.abc, importlib.metadata, pkgutil, sys
allowed = set(sys.argv[1].split(",")) | {"relay", "client_sdk"}
installed = set(importlib.metadata.packages_distributions())
class Fence(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in installed and top not in allowed:
            raise ModuleNotFoundError(f"{top} is not part of this installation", name=top)
        return None
sys.meta_path.insert(0, Fence())
skipped = tuple(sys.argv[3].split(",")) if sys.argv[3] else ()
for root in sys.argv[2].split(","):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        if not module.name.startswith(skipped or ("-",)) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("extra", "packages", "without"),
    [
        (None, "client_sdk,relay.wire", "client_sdk.demo"),
        ("calls", "client_sdk,relay.wire", "client_sdk.demo"),
        ("relay", "relay", "relay.store.redis"),
        ("redis", "relay.store.redis", ""),
    ],
    ids=["sdk", "sdk with calls", "relay", "relay with Redis"],
)
def test_each_part_imports_with_its_own_extra_alone(extra: str | None, packages: str, without: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONLY, ",".join(sorted(closure(extra))), packages, without],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def surface(package: str) -> str:
    """What each room of a package exports, a line a name."""
    lines = []
    for path in sorted((ROOT / package).rglob("__init__.py")):
        room = path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for node in parse(path).body:
            if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
                lines += [f"{room}.{name}" for name in sorted(ast.literal_eval(node.value))]
    return "\n".join(lines) + "\n"


def surface_file(package: str) -> Path:
    """Where the surface that was last agreed on is written down."""
    return ROOT / "tests" / "surface" / f"{package}.txt"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_surface_changes_only_on_purpose(package: str) -> None:
    """A change here is a change for our users: `python -m tests.test_house` writes it down anew."""
    assert surface(package) == surface_file(package).read_text(encoding="utf-8")


def test_no_registry_address_stands_in_a_lock_file() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
    # npm's lock may name where a package asks for donations: nothing is fetched from there.
    for lock in ROOT.glob("client_sdk/browser/package-lock.json"):
        assert '"resolved"' not in lock.read_text(encoding="utf-8")


if __name__ == "__main__":
    for name in PACKAGES:
        surface_file(name).parent.mkdir(exist_ok=True)
        surface_file(name).write_text(surface(name), encoding="utf-8")
