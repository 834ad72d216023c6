"""Coverage-guided fuzzing of client_sdk/mls: `make fuzz SECONDS=60` shares the time among all targets.

atheris is fetched by `make fuzz`: it has wheels for some Pythons only and is no locked dependency. What it
finds is printed as bytes to put into `FOUND` of test_mls.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".fuzz"


def fuzz_one(name: str, seconds: int) -> int:
    """Fuzz one target in this process; never returns, for libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # installed by `make fuzz`

    with atheris.instrument_imports(include=["client_sdk.mls"]):
        from tests.fuzz.mls_targets import TARGETS, seeds
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=4096", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={CORPUS}/{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()
    return 0


def names() -> list[str]:
    """All targets, found in a process of its own so that nothing is imported before it is instrumented."""
    code = "from tests.fuzz.mls_targets import TARGETS; print(*TARGETS)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def main(arguments: list[str]) -> int:
    """Fuzz each target for its share of the seconds given; 1 if anything was found."""
    if arguments[:1] == ["--one"]:
        return fuzz_one(arguments[1], int(arguments[2]))
    every = names()
    share = max(1, int(arguments[0] if arguments else "60") // len(every))
    found = []
    for name in every:
        with tempfile.TemporaryFile() as log:
            command = [sys.executable, "-m", "tests.fuzz.mls_run", "--one", name, str(share)]
            code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
            log.seek(0)
            text = log.read().decode(errors="replace")
        executed = next((line.split()[-1] for line in text.splitlines() if "number_of_executed" in line), "?")
        uncaught = "Uncaught Python exception" in text or "Test unit written" in text
        outcome = "" if code == 0 else ", FOUND:" if uncaught else ", DID NOT RUN:"
        print(f"{name}: {executed} executions in {share} s{outcome}", flush=True)
        if code != 0:
            found.append(name)
            print(text[-4000:])
    print(f"look at: {', '.join(found)}" if found else f"nothing found in {len(every)} targets")
    return 1 if found else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
