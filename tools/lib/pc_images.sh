# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The images that tools/pc-check and tools/demo boot, made from Debian packages under build/pc. Sourced, after common.sh
# and packages.sh. Each image is made once; a package that is newer makes it again only after `rm -r build/pc`.

PC=$BUILD/pc

# unpack_debs FOLDER NAME...: the files of i386 packages.
unpack_debs() {
    local into=$1 name deb
    shift
    apt_private_update
    mkdir -p "$into"
    for name in "$@"; do
        deb=$(fetch_i386_deb "$name")
        dpkg-deb -x "$deb" "$into"
    done
}

# pc_file PACKAGE PATH: one file of a package, as build/pc/NAME.
pc_file() {
    local package=$1 path=$2 out=$PC/${2##*/} tmp=$PC/unpack
    [ -s "$out" ] && return 0
    rm -rf "$tmp"
    unpack_debs "$tmp" "$package"
    cp -L "$tmp/$path" "$out.new"
    rm -rf "$tmp"
    mv "$out.new" "$out"
}

# Debian's kernel and an initramfs on a file system that GRUB reads.
pc_linux_image() {
    [ -s "$GUEST/vmlinuz-686" ] && [ -s "$GUEST/initramfs.gz" ] || "$ROOT/tools/prepare"
    [ ! -s "$PC/linux.img" ] || [ "$GUEST/initramfs.gz" -nt "$PC/linux.img" ] || return 0
    need_packages e2fsprogs
    rm -rf "$PC/linux"
    mkdir -p "$PC/linux"
    cp "$GUEST/vmlinuz-686" "$PC/linux/vmlinuz"
    cp "$GUEST/initramfs.gz" "$PC/linux/initramfs.gz"
    truncate -s 64M "$PC/linux.new"
    mke2fs -q -F -t ext2 -d "$PC/linux" "$PC/linux.new"
    rm -rf "$PC/linux"
    mv "$PC/linux.new" "$PC/linux.img"
}

# A floppy with SYSLINUX on FAT12 that starts iPXE (a kernel in Linux's format) or, on request, memtest86+.
pc_syslinux_floppy() {
    local out=$PC/syslinux.img
    pc_file ipxe boot/ipxe.lkrn
    pc_file memtest86+ boot/memtest86+ia32.bin
    [ ! -s "$out" ] || return 0
    need_packages "${PKGS_SYSLINUX[@]}"
    rm -f "$out.new"
    mformat -C -f 1440 -v NOVT -i "$out.new" ::
    cat >"$PC/syslinux.cfg" <<'END_CFG'
DEFAULT ipxe
PROMPT 1
TIMEOUT 600
SAY novt syslinux floppy
LABEL ipxe
  KERNEL ipxe.krn
LABEL memtest
  LINUX memtest
  APPEND nobench
END_CFG
    mcopy -i "$out.new" "$PC/syslinux.cfg" ::syslinux.cfg
    mcopy -i "$out.new" "$PC/ipxe.lkrn" ::ipxe.krn
    mcopy -i "$out.new" "$PC/memtest86+ia32.bin" ::memtest
    syslinux --install "$out.new"
    mv "$out.new" "$out"
}

# The folder of ISOLINUX with what DIRECTORY holds becomes a CD that boots (El Torito, no emulation).
pc_isolinux_cd() {
    local dir=$1 out=$2
    need_packages "${PKGS_SYSLINUX[@]}"
    mkdir -p "$dir/isolinux"
    cp /usr/lib/ISOLINUX/isolinux.bin "$dir/isolinux/"
    cp /usr/lib/syslinux/modules/bios/{ldlinux,libcom32,libutil,vesamenu,menu,hdt,libmenu,libgpl,cpuid,cat,reboot}.c32 "$dir/isolinux/"
    xorriso -as mkisofs -quiet -J -R -V NOVT -o "$out.new" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
        -boot-load-size 4 -boot-info-table "$dir" >"$PC/xorriso.log" 2>&1 || {
        tail -5 "$PC/xorriso.log" >&2
        die "xorriso could not make $out"
    }
    mv "$out.new" "$out"
}

# The Debian installer (debian-installer-12-netboot-i386) on a CD. Its own initrd has no modules for disks and no partitioner:
# it would fetch them, as udebs, from the network, which novt's PC may not have. A second archive behind the initrd brings the
# modules, from the package of the same kernel, and in /part a chroot with Debian's cfdisk, sfdisk and mke2fs.
pc_installer_cd() {
    local out=$PC/installer.iso work=$PC/installer.$$ release recipe
    recipe=$(declare -f pc_installer_cd | sha256sum)
    [ ! -s "$out" ] || [ "$(cat "$PC/installer.recipe" 2>/dev/null)" != "$recipe" ] || return 0
    need_packages cpio
    rm -rf "$work"
    mkdir -p "$work/cd/install" "$work/extra/part"
    unpack_debs "$work/di" debian-installer-12-netboot-i386
    cp "$work"/di/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/{linux,initrd.gz} "$work/cd/install/"
    # The kernel's own word for its version (Linux boot protocol, kernel_version).
    release=$(python3 -c 'import struct, sys
d = open(sys.argv[1], "rb").read(65536)
at = struct.unpack_from("<H", d, 0x20e)[0] + 0x200
print(d[at:d.index(b"\0", at)].split()[0].decode())' "$work/cd/install/linux")
    [ -n "$release" ] || die "cannot see the version of the installer's kernel"
    unpack_debs "$work/kernel" "linux-image-$release"
    local m
    for m in libata ata_piix ata_generic scsi_mod scsi_common ext4 jbd2 mbcache crc16 crc32c_generic libcrc32c; do
        m=$(find "$work/kernel/lib/modules/$release" -name "$m.ko" | head -1)
        [ -z "$m" ] || install -D -m 644 "$m" "$work/extra/part/modules/${m##*/}"
    done
    unpack_debs "$work/extra/part" libc6 fdisk libfdisk1 libsmartcols1 libblkid1 libuuid1 libreadline8 libtinfo6 e2fsprogs \
        libext2fs2 libcom-err2 libss2 libncursesw6 ncurses-base libmount1 libselinux1 \
        libpcre2-8-0
    rm -rf "$work/extra/part/usr/share" "$work/extra/part/usr/lib/i386-linux-gnu/gconv"
    mkdir -p "$work/extra/part/dev" "$work/extra/part/proc"
    cat >"$work/extra/part/prepare" <<'END_SH'
#!/bin/sh
# Loads the disk drivers and shows the disk to the chroot.
cd /part/modules || exit 1
for m in scsi_common scsi_mod libata ata_piix ata_generic crc16 mbcache jbd2; do
    [ ! -f $m.ko ] || insmod $m.ko 2>/dev/null
done
modprobe sd_mod 2>/dev/null
insmod /part/modules/ext4.ko 2>/dev/null
n=0
while [ ! -b /dev/sda ] && [ $n -lt 30 ]; do sleep 1; n=$((n + 1)); done
mount -o bind /dev /part/dev
mount -t proc proc /part/proc
[ -b /dev/sda ] && echo disk-is-here
END_SH
    chmod 755 "$work/extra/part/prepare"
    (cd "$work/extra" && find . | sort | cpio -o -H newc --quiet -R 0:0) | gzip -6 >>"$work/cd/install/initrd.gz"
    mkdir -p "$work/cd/isolinux"
    cat >"$work/cd/isolinux/isolinux.cfg" <<'END_CFG'
UI vesamenu.c32
MENU TITLE novt: Debian installer
MENU RESOLUTION 640 480
TIMEOUT 0
LABEL install
  MENU LABEL Install
  KERNEL /install/linux
  APPEND initrd=/install/initrd.gz vga=normal fb=false nomodeset
LABEL hdt
  MENU LABEL Hardware detection
  KERNEL hdt.c32
END_CFG
    pc_isolinux_cd "$work/cd" "$out"
    echo "$recipe" >"$PC/installer.recipe"
    rm -rf "$work"
}
