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


def write(path, sectors, size):
    with open(path, "wb") as f:
        for n in range(sectors):
            f.write(sector(n, size))


def options(program, work):
    """Options for the VM that runs this program."""
    if program not in ("ide", "bios13"):
        return []
    disk, cd = os.path.join(work, "disk.img"), os.path.join(work, "cd.iso")
    write(disk, DISK_SECTORS, 512)
    write(cd, CD_SECTORS, 2048)
    return ["-drive", "file=%s,format=raw,if=ide,index=0,media=disk" % disk,
            "-drive", "file=%s,format=raw,if=ide,index=2,media=cdrom" % cd]
