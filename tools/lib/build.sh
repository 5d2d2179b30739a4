# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Building novt itself. Sourced after common.sh.

# build_novt DIR [target...]: configures DIR when it is new and builds; CC may name another compiler.
build_novt() {
    local dir=$1
    shift
    if [ ! -f "$dir/build.ninja" ]; then
        say "configuring $dir (${CC:-gcc})"
        mkdir -p "$dir"
        (cd "$ROOT" && CC=${CC:-gcc} meson setup "$dir" >"$dir/setup.log" 2>&1) || {
            cat "$dir/setup.log" >&2
            die "meson could not configure $dir"
        }
    fi
    say "building $dir"
    ninja -C "$dir" -j "$(jobs_count)" "$@" >"$dir/build.log" 2>&1 || {
        grep -v '^\[' "$dir/build.log" | tail -60 >&2
        die "the build failed; everything it said is in $dir/build.log"
    }
}
