# SPDX-License-Identifier: GPL-2.0-or-later
"""Bochs as a peer: an interpreter of the whole PC. It has no -kernel: it boots ISOLINUX from a CD made of the same kernel and
initramfs. Its console is the serial port on a terminal of ours."""
import os
import shutil
import subprocess

ISOLINUX = ["/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"]


def make_cd(args, session, append):
    out = os.path.join(args.out, f"bochs-{session.name}.iso")
    folder = os.path.join(args.out, f"bochs-{session.name}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "isolinux"))
    for source in ISOLINUX:
        shutil.copy(source, os.path.join(folder, "isolinux"))
    shutil.copy(os.path.join(args.guest, "vmlinuz-" + session.kernel), os.path.join(folder, "vmlinuz"))
    shutil.copy(os.path.join(args.guest, session.initrd), os.path.join(folder, "initrd"))
    with open(os.path.join(folder, "isolinux", "isolinux.cfg"), "w", encoding="ascii") as f:
        f.write(f"DEFAULT linux\nPROMPT 0\nLABEL linux\nKERNEL /vmlinuz\nAPPEND initrd=/initrd {append}\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-o", out, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
                    "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", folder], check=True, capture_output=True)
    shutil.rmtree(folder)
    return out


def command(args, session, append):
    """The command line that boots it; its standard input is the terminal that becomes the guest's first serial port."""
    cd = make_cd(args, session, append)
    base = os.path.join(args.out, f"bochs-{session.name}")
    with open(base + ".rc", "w", encoding="ascii") as f:
        f.write(f"""megs: {args.memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path="{cd}", status=inserted
boot: cdrom
com1: enabled=1, mode=term, dev=/proc/self/fd/0
display_library: nogui
clock: sync=realtime, time0=local
log: {base}.bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
""")
    return ["bochs", "-q", "-f", base + ".rc"]
