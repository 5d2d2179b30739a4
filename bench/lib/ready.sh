# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by bench/run and bench/pair: installs, builds and prepares what is missing.
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib/common.sh"
. "$ROOT/tools/lib/packages.sh"
. "$ROOT/tools/lib/build.sh"

make_ready() {
    need_packages "${PKGS_BUILD[@]}" "${PKGS_GUEST[@]}" "${PKGS_QEMU[@]}"
    build_novt "$BUILD" cli/novt bench/nano/nano.elf bench/nano/nano-user
    "$ROOT/tools/prepare"
    "$ROOT/bench/prepare"
}
