#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that is loaded directly, with a screen: kernel_screen.py VMM GUEST-FOLDER.

Linux finds the VGA in text mode, puts its console there and takes what is typed on the keyboard; the picture has the
glyphs of the video BIOS's font: the bottom lines read from the pixels are those of the text screen. Exit status 77: no
guest has been prepared.
"""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import picture  # noqa: E402
import run as harness  # noqa: E402

LIMIT = 120


class Wrong(Exception):
    pass


def wait(path, wanted):
    end, seen = time.monotonic() + LIMIT, ""
    while time.monotonic() < end:
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                seen = f.read()
        except FileNotFoundError:
            pass
        if wanted in seen:
            return seen
        time.sleep(0.1)
    raise Wrong("no %r on the screen: %r" % (wanted, seen[-500:]))


def press(qmp, keys):
    for key in keys:
        qmp.call("send-key", keys=[{"type": "qcode", "data": k} for k in key.split("+")])
        time.sleep(0.05)


def cells(image):
    """The 8x16 patterns of the 80x25 cells of 9x16 pixels, as tuples of which pixels differ from the cell's corner."""
    width, height, data = image
    if (width, height) != (720, 400):
        raise Wrong("the picture has %dx%d pixels, not 720x400" % (width, height))
    out = []
    for row in range(25):
        line = []
        for col in range(80):
            bits = []
            for y in range(16):
                pixels = data[row * 16 + y][col * 27:col * 27 + 24]
                bits += [pixels[3 * x:3 * x + 3] != b"\0\0\0" for x in range(8)]
            line.append(tuple(bits))
        out.append(line)
    return out


def main():
    vmm, guest = sys.argv[1:]
    kernel, initrd = os.path.join(guest, "vmlinuz-686"), os.path.join(guest, "initramfs.gz")
    if not os.path.exists(kernel) or not os.path.exists("/usr/share/seabios/vgabios-stdvga.bin"):
        print("no guest (tools/prepare), or no seabios")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as work:
        screen, shot, sock = (os.path.join(work, n) for n in ("screen", "shot.png", "qmp"))
        p = subprocess.Popen([vmm, "-kernel", kernel, "-initrd", initrd, "-m", "128", "-display", "none", "-serial", "none",
                              "-no-reboot", "--screen", screen, "-qmp", "unix:%s,server=on,wait=off" % sock,
                              "-append", "console=tty0 panic=-1 quiet"], stdin=subprocess.DEVNULL)
        try:
            wait(screen, "/ #")
            qmp = harness.Qmp(sock, 20)
            press(qmp, ["c", "l", "e", "a", "r", "ret"])
            time.sleep(0.5)
            press(qmp, ["e", "c", "h", "o", "spc", "a", "b", "shift+4", "shift+9", "shift+9", "6", "shift+8", "7", "shift+0",
                        "shift+0", "b", "a", "ret"])
            seen = wait(screen, "ab42ba")
            qmp.call("screendump", filename=shot, format="png")
            with open(shot, "rb") as f:
                drawn = cells(picture.read_png(f.read()))
            lines = seen.split("\n")
            row = next(i for i, line in enumerate(lines) if line.startswith("ab42ba"))
            glyph = drawn[row]
            if glyph[0] != glyph[5] or glyph[1] != glyph[4] or len({glyph[0], glyph[1], glyph[2], glyph[3]}) != 4:
                raise Wrong("the glyphs of 'ab42ba' do not repeat as its letters do")
            if not all(sum(g) > 10 for g in glyph[:6]) or any(sum(g) for g in glyph[10:]):
                raise Wrong("the picture does not show the line 'ab42ba'")
        finally:
            p.kill()
            p.wait()
    print("ok: console, keyboard and picture")


if __name__ == "__main__":
    try:
        main()
    except Wrong as e:
        print("FAILED: %s" % e)
        sys.exit(1)
