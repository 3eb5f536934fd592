#!/bin/sh
# What make needs on a fresh machine; quiet about what is already there.
#
#   setup.sh venv PYTHON DIR   a virtual environment
#   setup.sh system            Debian packages and kernels for the VM tests
set -eu

fail() { echo "setup: $*" >&2; exit 1; }

apt_install() {
    missing=
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || fail "install these by hand (there is no apt-get here):$missing"
    [ "$(id -u)" = 0 ] || fail "run as root once: apt-get install$missing"
    echo "setup: installing$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/dev/null ||
        fail "apt-get install failed:$missing"
}

case "${1-}" in
venv)
    python=$2 dir=$3
    command -v "$python" >/dev/null || apt_install python3
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11: make PYTHON=python3.12"
    command -v cc >/dev/null || apt_install gcc libc6-dev
    # Debian keeps the headers and the venv module of its own Python in packages of their own.
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        apt_install python3-dev
    echo "setup: making $dir" >&2
    "$python" -m venv "$dir"
    ;;
system)
    apt_install stress util-linux qemu-system-x86 busybox-static xz-utils zstd libseccomp2 \
        systemd libpam-systemd dbus-user-session \
        cgroup-tools procps uidmap chromium chromium-driver prometheus containerd runc podman curl tmux zsh fish man-db \
        musl-tools lintian dpkg-dev
    # What apt knows of the kernels may be older than the archive.
    tests/vm/kernels.sh || { apt-get -qq update && tests/vm/kernels.sh; }
    ;;
*) fail "usage: setup.sh venv PYTHON DIR | system" ;;
esac
