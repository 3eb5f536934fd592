#!/bin/sh
# The main job, on real input: a program that leaks, and one that fits.
set -u
bin=$1
[ "$(id -u)" = 0 ] || echo "demo: making a cgroup needs root or a delegated cgroup; trying as $(id -un)" >&2

show() {
    printf '\n$ climits %s\n' "$*"
    "$bin/climits" "$@"
}

app="$bin/python examples/simple_app.py"
# shellcheck disable=SC2086
show run --memory 60M -- $app --step 10M --interval 0.1
[ $? = 137 ] || { echo "demo: expected an OOM kill" >&2; exit 1; }
# shellcheck disable=SC2086
show run --memory 60M -- $app --step 10M --interval 0.1 --until 30M || exit 1
