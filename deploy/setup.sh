#!/bin/sh
# Makes the virtual environment that `make` uses: from nothing to everything installed, in one step.
#   PYTHON=python3.12 VENV=.venv sh deploy/setup.sh
set -eu
: "${VENV:=.venv}"
: "${PYTHON:=}"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Installs Debian packages where root or password-less sudo allows it; otherwise names them and stops.
need_packages() {
    command -v apt-get >/dev/null 2>&1 || fail "please install: $* (this system has no apt-get), then run the same command again."
    if [ "$(id -u)" = 0 ]; then as_root=""
    elif sudo -n true 2>/dev/null; then as_root="sudo"
    else fail "these system packages are missing: $*. Run apt-get install $* as root (or with sudo), then the same command again."
    fi
    say "installing system packages: $*"
    $as_root apt-get update -qq
    $as_root env DEBCONF_NOWARNINGS=yes DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [ -z "$PYTHON" ]; then
    command -v python3 >/dev/null 2>&1 || need_packages python3 python3-venv
    PYTHON=python3
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" -V 2>&1). Install a newer one and name it: make PYTHON=python3.12 ..."

if ! [ -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    # Debian splits ensurepip out of python3: without it a virtual environment has no pip.
    "$PYTHON" -c 'import ensurepip' 2>/dev/null ||
        need_packages "$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    say "making a virtual environment in $VENV with $("$PYTHON" -V 2>&1)"
    "$PYTHON" -m venv --clear "$VENV"
fi

say "installing the locked dependencies (a minute or two the first time)"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
say "ready"
