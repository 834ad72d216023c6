"""`coach-relay doctor`: checks this machine and its relay, and says what to do."""

from __future__ import annotations

import argparse
from typing import Any

from relay.cli.checks import CHECKS
from relay.cli.findings import Finding, Level
from relay.cli.options import add_command, add_settings, settings_of
from relay.config import ConfigError

INDENT = " " * 8


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "doctor",
        help="check this machine and the relay's data, and say what to do",
        description="Check this machine and the relay's data, and say what to do; the relay may be running. "
        "The exit code is 1 if a check failed.",
        example="coach-relay doctor --config /etc/coach-relay/coach-relay.toml",
    )
    add_settings(parser)
    parser.set_defaults(run=lambda args: run(args))


def run(args: argparse.Namespace) -> int:
    try:
        settings = settings_of(args)
    except ConfigError as error:
        return _report([Finding(Level.FAILED, f"the configuration is wrong: {error}")])
    return _report([finding for check in CHECKS for finding in check(settings)])


def _report(findings: list[Finding]) -> int:
    for finding in findings:
        print(f"{finding.level:<8}{finding.what}")
        if finding.do:
            print(f"{INDENT}{finding.do}")
    failures = sum(finding.level is Level.FAILED for finding in findings)
    print(f"\n{failures or 'Nothing'} failed." if failures != 1 else "\n1 check failed.")
    return 1 if failures else 0
