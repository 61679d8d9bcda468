#!/bin/sh
# Builds the Dockerfile and runs catdog in it where there is no Docker: as root on Debian, with
#     apt-get install buildah debootstrap
#     sh scripts/container.sh WORK predict photo.jpg    WORK: a folder of user 1000, mounted at /work
# What Docker would fetch as python:3.11-slim-bookworm is made by debootstrap: the same Debian, with Debian's own Python 3.11.
# More for the build, such as --build-arg or --volume, goes into BUILD. The image stays: a second call starts at once.
set -eu
work=$(realpath "$1") && shift
store() { command=$1 && shift && buildah --storage-driver vfs "$command" "$@"; }

base=docker.io/library/python:3.11-slim-bookworm
if ! store inspect "$base" > /dev/null 2>&1; then
    folder=$(mktemp -d)
    debootstrap --variant=minbase --include=python3-venv,python-is-python3,ca-certificates bookworm "$folder"
    new=$(store from scratch)
    store add --quiet "$new" "$folder" / && store commit --quiet --rm "$new" "$base"
    rm -rf --one-file-system "$folder"
fi
if ! store inspect catdog > /dev/null 2>&1; then
    # shellcheck disable=SC2086 # several words
    store bud --isolation chroot --layers=false --pull-never ${BUILD:-} --tag catdog "$(dirname "$0")/.."
fi
store inspect --type container catdog-try > /dev/null 2>&1 || store from --name catdog-try catdog > /dev/null
root=$(store mount catdog-try)
cache=$(mktemp -d) && chown 1000 "$cache"

# As compose.yaml asks: the image read-only but for volumes and /tmp, no capabilities, no new privileges.
export root work cache
unshare --mount --pid --fork sh -euc '
    mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
    mount --bind "$work" "$root/work" && mount --bind "$cache" "$root/cache"
    mount -t tmpfs tmpfs "$root/tmp" && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
    ! touch "$root/written" 2> /dev/null
    exec chroot "$root" setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
        env --ignore-environment PATH=/opt/catdog/bin:/usr/bin:/bin XDG_CACHE_HOME=/cache MPLCONFIGDIR=/cache/matplotlib \
        sh -c '\''cd /work && exec catdog "$@"'\'' sh "$@"
' sh "$@"
