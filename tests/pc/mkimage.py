#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds a boot-sector program: mkimage.py AS LD SOURCE OUTPUT; OUTPUT is a 1.44 MB floppy image with holes."""
import os
import subprocess
import sys
import tempfile

FLOPPY = 1474560
ROOM = 0x10000 - 0x7C00


def main():
    as_, ld, source, output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        obj, raw = os.path.join(work, "o"), os.path.join(work, "b")
        subprocess.run([as_, "--32", "-march=i686", "--fatal-warnings", "-I", os.path.dirname(source) or ".", "-o", obj, source],
                       check=True)
        subprocess.run([ld, "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "_start", "--oformat", "binary", "-o", raw, obj],
                       check=True)
        with open(raw, "rb") as f:
            data = f.read()
    if data[510:512] != b"\x55\xaa" or len(data) > ROOM:
        sys.exit("%s: %d bytes; at most %d, with 55AAh at 510" % (source, len(data), ROOM))
    with open(output, "wb") as f:
        f.write(data)
        f.truncate(FLOPPY)


if __name__ == "__main__":
    main()
