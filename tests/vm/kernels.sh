#!/bin/sh
# Fetch the kernels that the test VM boots: Debian packages, unpacked and not installed. No root.
#
#   kernels.sh [PREFIX...]      the newest release of each series; 6.1. and 6.12. if none is named
#
# Makes $cache/kernels/RELEASE/vmlinux and .../modules/, decompressed, which would take the guest
# long. A series that is there is left as it is; remove its folder to have a newer release.
set -eu

cache=${CLIMITS_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/climits-vm}
[ $# -gt 0 ] || set -- 6.1. 6.12.

die() {
    echo "kernels.sh: $*" >&2
    exit 1
}

# The compressed kernel in a bzImage, without its last four bytes, the size unpacked.
# Source: Documentation/arch/x86/boot.rst
payload() { # IMAGE
    field() { od -An -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }
    start=$((($(field "$1" 497 1) + 1) * 512 + $(field "$1" 584 4)))
    tail -c "+$((start + 1))" "$1" | head -c "$(($(field "$1" 588 4) - 4))"
}

unpack() { # PACKAGE RELEASE: in an empty folder, into kept/
    # apt's own user may not enter a private folder: download as the caller.
    apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1"
    # Of the drivers keep b*, c* and v*: block, char and virtio.
    dpkg-deb --fsys-tarfile ./*.deb | tar -x --exclude=./usr/share --exclude='*/System.map-*' \
        --exclude='*/kernel/sound' --exclude='*/kernel/drivers/[!bcv]*'
    mkdir kept
    for folder in ./lib/modules ./usr/lib/modules; do
        [ ! -d "$folder/$2/kernel" ] || mv "$folder/$2/kernel" kept/modules
    done
    find kept/modules -name '*.ko.xz' -exec xz -d {} +
    image=$(find . -name 'vmlinuz*' | head -n 1)
    payload "$image" >packed
    for unpacker in xz zstd gzip; do
        "$unpacker" -dc <packed >kept/vmlinux 2>/dev/null && return
    done
    die "cannot unpack the kernel of $1: neither xz, zstd nor gzip does it; are they installed?"
}

mkdir -p "$cache/kernels"
cd "$cache/kernels"
tmp=
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

for prefix; do
    series=${prefix%.}
    set -- "$series".*/vmlinux
    [ ! -e "$1" ] || continue
    # Neither -cloud- (has no 9p) nor -rt-.
    pattern=$(printf %s "$series" | sed 's/\./\\./g')
    package=$(apt-cache search --names-only "^linux-image-$pattern\\.[^-]*(-[0-9]+)?-amd64\$" |
        cut -d ' ' -f 1 | sort -V | tail -n 1)
    [ "$package" ] || die "apt knows no kernel $series.*: try apt-get update, or add a suite" \
        "that has it (security, backports) to its sources"
    release=${package#linux-image-}
    echo "kernels.sh: fetching $release" >&2
    tmp=$(mktemp -d "$PWD/.tmp.XXXXXX")
    (cd "$tmp" && unpack "$package" "$release")
    # If another run has been faster, its copy is as good.
    mv -T "$tmp/kept" "$release" || [ -e "$release/vmlinux" ]
    rm -rf "$tmp"
done
