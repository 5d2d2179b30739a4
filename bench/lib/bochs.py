# SPDX-License-Identifier: GPL-2.0-or-later
"""Bochs as a peer: an interpreter of the whole PC. It has no -kernel: it boots ISOLINUX from a CD made of the same kernel and
initramfs. Its serial port is our console. Its screen has to go somewhere, too: to a second terminal (script makes one) that nobody looks at,
which takes its display for terminals (package bochs-term); the others open windows or listen on the network."""
import glob
import os
import shlex
import shutil
import subprocess

ISOLINUX = ["/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"]


def usable():
    """None, or why it cannot run here."""
    if not shutil.which("bochs"):
        return "not installed"
    if not glob.glob("/usr/lib/*/bochs/plugins/libbx_term_gui.so"):
        return "no display for terminals (package bochs-term)"
    missing = [p for p in ISOLINUX + ["/usr/share/bochs/BIOS-bochs-latest"] if not os.path.exists(p)]
    missing += [p for p in ("xorriso", "script", "setpriv") if not shutil.which(p)]
    return f"missing: {', '.join(missing)} (packages isolinux, syslinux-common, xorriso, bochsbios)" if missing else None


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
    """The command line that boots it, with its serial port on the terminal that is standard input."""
    cd = make_cd(args, session, append)
    base = os.path.join(args.out, f"bochs-{session.name}")
    with open(base + ".rc", "w", encoding="ascii") as f:
        f.write(f"""megs: {args.memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path="{cd}", status=inserted
boot: cdrom
display_library: term
plugin_ctrl: sb16=0, es1370=0, gameport=0, speaker=0
clock: sync=realtime, time0=local
log: {base}.bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
""")
    # Debian's Bochs begins in its debugger.
    with open(base + ".continue", "w", encoding="ascii") as f:
        f.write("continue\n")
    bochs = "stty rows 30 cols 100; exec setpriv --pdeathsig KILL " + shlex.join(["bochs", "-q", "-f", base + ".rc", "-rc", base + ".continue"])
    return ["sh", "-c", f"""exec 3<&0 # the terminal stays open
export BOCHS_TTY=$(tty) TERM=xterm
exec script -qfec {shlex.quote(bochs + ' "com1: enabled=1, mode=term, dev=$BOCHS_TTY"')} {shlex.quote(base + '.screen')} </dev/null >/dev/null 2>&1"""]
