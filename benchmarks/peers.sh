#!/bin/sh
# What climits is measured beside: Debian packages, and BenchExec, supervisor and circus in a
# virtual environment of their own.  Does only what is missing.  What cannot be had here is no failure: the benchmarks list it
# as "not run".
#
#   peers.sh [PYTHON]
set -u
cd "$(dirname "$0")/.." || exit 1
venv=.venv-peers

say() { echo "peers: $*" >&2; }

missing=
for package in cgroup-tools runc crun bubblewrap busybox-static parallel; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        say "installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
            say "apt-get install failed:$missing"
    else
        say "to be installed by hand (needs root and apt-get):$missing"
    fi
fi

if [ ! -x $venv/bin/python ]; then
    python=${1-}
    [ -n "$python" ] || { [ -x .venv/bin/python ] && python=.venv/bin/python; } || python=python3
    say "making $venv"
    "$python" -m venv $venv >/dev/null 2>&1 || say "the virtual environment could not be made"
fi
# Each by itself: one that cannot be had takes none of the others away.
for pair in benchexec:runexec supervisor:supervisord superlance:memmon circus:circusd; do
    package=${pair%:*}
    [ -x $venv/bin/"${pair#*:}" ] || $venv/bin/pip install -q "$package" >/dev/null 2>&1 ||
        say "$package could not be installed"
done
for package in pebble loky distributed cloudpickle; do
    $venv/bin/python -c "import $package" >/dev/null 2>&1 || $venv/bin/pip install -q "$package" >/dev/null 2>&1 ||
        say "$package could not be installed"
done
exit 0
