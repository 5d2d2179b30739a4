# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# Debian packages. Two separate jobs:
#   need_packages   installs missing amd64 build tools and libraries on this machine
#   fetch_i386_deb  downloads a package of the *guest* (i386) into build/cache; it is never installed
# The guest's packages are found through a private apt state folder, so that neither the machine's architecture
# list nor its package lists are touched; no root is needed for them.

# What building needs, what testing adds, what side-by-side runs add.
PKGS_BUILD=(gcc libc6-dev meson ninja-build pkg-config python3 libzydis-dev libcapstone-dev libelf-dev libpng-dev
    libnbd-dev libvncserver-dev libncurses-dev libjansson-dev libxxhash-dev libcmocka-dev acpica-tools)
PKGS_GUEST=(gcc-multilib xz-utils ca-certificates)
PKGS_TEST=(clang clang-format nbdkit)
PKGS_FUZZ=(clang libclang-rt-14-dev)
PKGS_FIRMWARE=(seabios)
PKGS_PC=(python3 e2fsprogs fdisk util-linux qemu-utils gdb)
PKGS_DISK=(debootstrap e2fsprogs fdisk grub-common grub-pc-bin xorriso apt-utils)
PKGS_SYSLINUX=(syslinux syslinux-common isolinux mtools xorriso)
PKGS_DISPLAY=(novnc tmux)
PKGS_BROWSER=(novnc chromium chromium-driver)
PKGS_QEMU=(qemu-system-x86)

pkg_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# need_packages NAME...: installs those that are missing. Quick and offline when none is.
need_packages() {
    local missing=() p
    have dpkg-query || die "this script installs packages with apt; on another system install: $*"
    for p in "$@"; do
        pkg_installed "$p" || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing: ${missing[*]}"
    # A machine with several sources may see one of them fail; what counts is whether the packages can be had.
    # First with the lists as they are (quick), then after an update.
    if apt_knows "${missing[@]}" && apt_install "${missing[@]}"; then
        return 0
    fi
    retry 3 as_root apt-get -q -o Acquire::Retries=3 update >&2 || warn "apt-get update failed in part; going on"
    retry 2 apt_install "${missing[@]}" || die "could not install: ${missing[*]}"
}

# All of the packages have a candidate in the lists that are here.
apt_knows() {
    local p
    for p in "$@"; do
        apt-cache policy "$p" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
    done
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@" >&2
}

# A private apt: own lists and cache under build/apt, i386 as the native architecture, an empty status file.
APT_DIR=$BUILD/apt
apt_private() {
    local tool=$1
    shift
    "$tool" -q -o APT::Architecture=i386 -o APT::Architectures::=i386 -o APT::Sandbox::User=root \
        -o Dir::State="$APT_DIR/state" -o Dir::State::status="$APT_DIR/status" -o Dir::Cache="$APT_DIR/cache" \
        -o Dir::Log="$APT_DIR" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o Acquire::PDiffs=false -o APT::Update::Post-Invoke-Success= "$@"
}

# Fetches the lists of the guest's packages unless they are less than a day old. Sources that have no i386 part
# or fail are tolerated: what counts is whether the packages are found afterwards.
apt_private_update() {
    mkdir -p "$APT_DIR"/{state/lists/partial,cache/archives/partial}
    : >"$APT_DIR/status"
    if [ "${1:-}" != force ] && [ -n "$(find "$APT_DIR/updated" -mtime -1 2>/dev/null)" ]; then
        return 0
    fi
    say "fetching the i386 package lists (private to build/apt)"
    retry 2 apt_private apt-get update >"$APT_DIR/update.log" 2>&1 ||
        warn "the i386 package lists came in part (build/apt/update.log); going on"
    if apt_private apt-cache show busybox-static >/dev/null 2>&1; then
        touch "$APT_DIR/updated"
    else
        tail -5 "$APT_DIR/update.log" >&2
        die "no i386 packages in any of this machine's apt sources"
    fi
}

# real_package META: the versioned package that a kernel metapackage depends on.
real_package() {
    apt_private apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ :]*\).*/\1/p' | head -1
}

# fetch_i386_deb NAME: prints the path of the package file in build/cache, downloading it when it is not there.
fetch_i386_deb() {
    local name=$1 file attempt
    mkdir -p "$CACHE"
    for attempt in 1 2; do
        file=$(apt_private apt-get --print-uris download "$name" 2>/dev/null | awk '{ print $2; exit }')
        if [ -n "$file" ] && [ -s "$CACHE/$file" ]; then
            echo "$CACHE/$file"
            return 0
        fi
        if [ -n "$file" ]; then
            say "downloading $file"
            mkdir -p "$CACHE/partial"
            if (cd "$CACHE/partial" && retry 3 apt_private apt-get download "$name" >"$APT_DIR/download.log" 2>&1) &&
                [ -s "$CACHE/partial/$file" ]; then
                mv "$CACHE/partial/$file" "$CACHE/$file"
                echo "$CACHE/$file"
                return 0
            fi
        fi
        # Stale lists name files that a mirror no longer has.
        [ "$attempt" -eq 1 ] && apt_private_update force
    done
    tail -5 "$APT_DIR/download.log" >&2 2>/dev/null || true
    die "could not download $name (i386)"
}
