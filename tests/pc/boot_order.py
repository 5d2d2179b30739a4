#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-boot and what the firmware makes of it: boot_order.py VMM-OR-QEMU IMAGE (build/tests/pc/reset.img, which restarts itself).

The same image is floppy, disk and (as an El Torito image with floppy emulation) CD; the firmware's debug port says what
it boots from.
"""
import os
import struct
import subprocess
import sys
import tempfile
import time

LIMIT = 100
FLOPPY, DISK, CD = "Floppy", "Hard Disk", "DVD/CD"


def el_torito(path, image):
    """A CD that boots a 1.44 MB floppy image: ISO 9660 descriptors and a boot catalogue (El Torito 1.0)."""
    def descriptor(kind, body=b""):
        return (bytes([kind]) + b"CD001\x01" + body).ljust(2048, b"\0")
    volume = bytearray(descriptor(1))
    volume[8:40] = volume[40:72] = b" " * 32
    volume[80:88] = struct.pack("<I", 800) + struct.pack(">I", 800)
    boot = descriptor(0, b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", 19))
    entry = bytearray(struct.pack("<BBH24sH2s", 1, 0, 0, b"novt", 0, b"\x55\xaa"))
    total = sum(struct.unpack("<16H", entry)) & 0xffff
    entry[28:30] = struct.pack("<H", -total & 0xffff)
    first = struct.pack("<BBHBBHI", 0x88, 2, 0, 0, 0, 1, 20) # bootable, 1.44 MB, one sector at 7C0h
    with open(path, "wb") as f:
        f.write(bytes(16 * 2048) + volume + boot + descriptor(255))
        f.write((bytes(entry) + first).ljust(2048, b"\0"))
        f.write(image)


def booted(vmm, work, image, extra, wanted):
    """The first things that the firmware booted from; at least `wanted` of them."""
    log, serial = os.path.join(work, "log"), os.path.join(work, "serial")
    open(log, "w").close()
    args = [vmm, "-m", "16", "-display", "none", "-serial", "file:" + serial, "-chardev", "file,id=d,path=" + log, "-device",
            "isa-debugcon,iobase=0x402,chardev=d", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-drive", "file=%s,format=raw,if=floppy,snapshot=on" % image,
            "-drive", "file=%s,format=raw,if=ide,index=0,snapshot=on" % image,
            "-drive", "file=%s,format=raw,if=ide,index=2,media=cdrom" % os.path.join(work, "cd.iso")] + extra
    if "qemu" in vmm:
        args += ["-nic", "none", "-accel", "tcg"]
    start = time.monotonic()
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL)
    try:
        while time.monotonic() < start + LIMIT:
            with open(log, errors="replace") as f:
                text = f.read()
            found = [line[13:].rstrip(". \n\r") for line in text.split("\n") if line.startswith("Booting from ") and "0000:" not in line]
            if len(found) >= wanted:
                return [next((k for k in (FLOPPY, DISK, CD) if k in f), f) for f in found[:wanted]], time.monotonic() - start
            if p.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        p.kill()
        p.wait()
    return ["nothing: " + text[-200:]], 0


CASES = [
    (["-boot", "order=dca"], [CD]),
    (["-boot", "a"], [FLOPPY]),
    (["-boot", "order=c"], [DISK]),
    ([], [DISK]),
    (["-boot", "order=a,once=c"], [DISK, FLOPPY, FLOPPY]),
    (["-boot", "once=d"], [CD, DISK]),
]


def main():
    vmm, image = sys.argv[1:]
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        with open(image, "rb") as f:
            el_torito(os.path.join(work, "cd.iso"), f.read())
        for extra, want in CASES:
            got, _ = booted(vmm, work, image, extra, len(want))
            bad += got != want
            print("%-7s %s: %s" % ("ok" if got == want else "FAILED", " ".join(extra) or "default", ", ".join(got)), flush=True)
        # The menu waits for a key as long as it is told.
        got, quick = booted(vmm, work, image, ["-boot", "order=a"], 1)
        got, slow = booted(vmm, work, image, ["-boot", "order=a,menu=on,splash-time=3000"], 1)
        fine = got == [FLOPPY] and slow > 3
        bad += not fine
        print("%-7s menu=on,splash-time=3000: %s" % ("ok" if fine else "FAILED", "waits" if fine else got), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
