# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks and CDs that some programs want beside their floppy: made where they are used, with a pattern in each sector."""
import os
import struct

DISK_SECTORS = 16 * 63 * 20  # 20 cylinders
CD_SECTORS = 400
RAMP = bytes(range(256))


def sector(number, size):
    """The number itself in the first four bytes, then bytes that follow from it."""
    first = (number * 7 + 4) & 255
    return struct.pack("<I", number) + (RAMP * (size // 256 + 2))[first:first + size - 4]


def write(path, sectors, size, first=0):
    with open(path, "wb") as f:
        for n in range(sectors):
            f.write(sector(first + n, size))


def options(program, work):
    """Options for the VM that runs this program."""
    if program == "media":
        for name, first in (("first.iso", 0), ("other.iso", 1000)):
            write(os.path.join(work, name), CD_SECTORS, 2048, first)
        with open(os.path.join(work, "other.img"), "wb") as f:
            f.seek(36 * 512)
            f.write(struct.pack("<I", 0x0F10BB1E))
            f.truncate(1474560)
        return ["-drive", "file=%s,format=raw,if=ide,index=2,media=cdrom" % os.path.join(work, "first.iso")]
    if program not in ("ide", "bios13"):
        return []
    disk, cd = os.path.join(work, "disk.img"), os.path.join(work, "cd.iso")
    write(disk, DISK_SECTORS, 512)
    write(cd, CD_SECTORS, 2048)
    return ["-drive", "file=%s,format=raw,if=ide,index=0,media=disk" % disk,
            "-drive", "file=%s,format=raw,if=ide,index=2,media=cdrom" % cd]


def media(qmp, what, work):
    """What the user does when the program "media" asks for it. None, or what went wrong."""
    def change(device, name):
        return qmp.call("blockdev-change-medium", device=device, filename=os.path.join(work, name), format="raw")
    answer = {"cd-other": lambda: change("ide1-cd0", "other.iso"), "cd-first": lambda: change("ide1-cd0", "first.iso"),
              "floppy-other": lambda: change("floppy0", "other.img"),
              "cd-eject": lambda: qmp.call("eject", device="ide1-cd0"),
              "cd-eject-locked": lambda: qmp.call("eject", device="ide1-cd0")}[what]()
    if ("error" in answer) != (what == "cd-eject-locked"):
        return str(answer)
    return None
