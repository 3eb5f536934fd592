#!/bin/sh
# The Debian package, from the wheel for glibc.
#
#   deb.sh WHEEL DIR    needs dpkg-deb and python3
#
# Two builds from the same wheel give the same bytes. Nothing of it takes the place of a file of
# cgroup-tools: `climits cgtools` installs those programs where somebody asks for them.
set -eu

fail() { echo "deb: $*" >&2; exit 1; }

[ $# = 2 ] && [ -f "$1" ] || fail "usage: deb.sh WHEEL DIR"
wheel=$1 dist=$2
mkdir -p "$dist"
here=$(dirname "$0")/deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(stat -c %Y "$wheel")}" LC_ALL=C
umask 022

version=$(basename "$wheel" | cut -d- -f2)-1
architecture=$(dpkg --print-architecture)
root=$work/root
python=$root/usr/lib/python3/dist-packages
share=$root/usr/share
doc=$share/doc/climits

# ---- what the wheel has, in Debian's places ----------------------------------------------------

python3 -m zipfile -e "$wheel" "$work/wheel"
data=$(echo "$work"/wheel/climits-*.data)
info=$(echo "$work"/wheel/climits-*.dist-info)
mkdir -p "$python" "$root/usr/bin" "$share/man" "$share/bash-completion" "$share/fish" "$share/zsh" \
    "$doc" "$share/lintian/overrides" "$root/DEBIAN"
# Without RECORD, and with another installer's name, pip leaves it alone.
rm -r "$info/RECORD" "$info/licenses"
echo debian >"$info/INSTALLER"
cp -r "$work/wheel/climits" "$info" "$python/"
sed '1s|.*|#!/usr/bin/python3|' "$data/scripts/climits" >"$root/usr/bin/climits"
cp -r "$data/data/share/man/man1" "$share/man/"
cp -r "$data/data/share/bash-completion/completions" "$share/bash-completion/"
cp -r "$data/data/share/zsh/site-functions" "$share/zsh/vendor-completions"
cp -r "$data/data/share/fish/vendor_completions.d" "$share/fish/"

# ---- what Debian wants besides -----------------------------------------------------------------

cp "$here/copyright" "$doc/"
cp "$here/../../CHANGELOG.md" "$doc/changelog"
maintainer=$(sed -n 's/^Maintainer: //p' "$here/control.in")
cat >"$doc/changelog.Debian" <<END
climits ($version) unstable; urgency=medium

  * The release of that version.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$share"/man/man1/*
cp "$here/lintian-overrides" "$share/lintian/overrides/climits"

find "$root" -type d -exec chmod 755 {} + -o -exec chmod 644 {} +
chmod 755 "$root/usr/bin/climits" "$python/climits/launch/climits-init"
strip --strip-unneeded "$python"/climits/launch/*.so

# KiB, each file rounded up and each directory one: not what this file system needs for it.
size=$(cd "$root" && find usr -type f -size +0 -printf '%s\n' -o -type d -printf '1\n' |
    awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/" "$here/control.in" \
    >"$root/DEBIAN/control"
(cd "$root" && find usr -type f | sort | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
cp "$here/postinst" "$here/prerm" "$root/DEBIAN/"
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"

find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
rm -f "$dist"/climits_*.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$dist/climits_${version}_$architecture.deb" >/dev/null
