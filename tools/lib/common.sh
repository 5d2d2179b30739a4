# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# Shared by every script in tools/: where things are, how messages look, how to get root. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=$ROOT/build       # everything made here is ignored by git
CACHE=$BUILD/cache      # downloaded packages, kept as long as their version is current
GUEST=$BUILD/guest      # kernels, initramfs, i386 programs
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

say() { printf '== %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo without a password prompt hanging an unattended run.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        if [ -t 0 ]; then sudo -E "$@"; else sudo -n -E "$@"; fi
    else
        die "need root for: $* (run as root, or install sudo)"
    fi
}

# retry N command...: some mirrors fail now and then.
retry() {
    local n=$1 i
    shift
    for ((i = 1; i <= n; i++)); do
        "$@" && return 0
        [ "$i" -lt "$n" ] && sleep "$i"
    done
    return 1
}

jobs_count() { nproc 2>/dev/null || echo 2; }
