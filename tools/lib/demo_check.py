#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/demo as a person sees it: on a terminal (a pseudo-terminal), each guest and the menu, until it shows what it should;
then Ctrl-A x, which must end it with status 0. One line: ok or FAILED.
"""
import argparse
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

ESCAPES = re.compile(rb"\x1b(\[[0-9;?>]*[A-Za-z]|[()][0-9A-B]|[=>78M])")
QUIT = "\x01x"
GRUB = [(r"GNU GRUB", "c"), (r"grub>", "set x=42; echo result-$x\n"), (r"result-42", QUIT)]
# Arguments of tools/demo; steps: wait for this pattern in what came since the last one, then type that.
CASES = {
    "check": (["--check"], [(r"0 failed|FAIL ", "")]),
    "grub": (["--grub"], GRUB),
    "memtest": (["--memtest"], [(r"Memtest86\+", ""), (r"Testing:", QUIT)]),
    "installer": (["--installer"], [(r"(graphics +640x480|640x480 +graphics)", "\n"), (r"Select a language", QUIT)]),
    "debian-disk": (["--debian-disk"], [(r"novt login: ", "root\n"), (r"assword: ", "novt\n"), (r"# ", QUIT)]),
    "boot-sector": (["--boot-sector=vga13"], None),
    "menu": ([], [(r"GRUB's rescue CD(.|\n)*which one\? ", "3\n")] + GRUB),
}


class Failed(Exception):
    pass


class Terminal:
    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.text, self.status = "", None

    def read(self, seconds):
        """False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            data = b""
        self.text += ESCAPES.sub(b"", data).decode("utf-8", "replace").replace("\r", "")
        return bool(data)

    def expect(self, pattern, end):
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found.group(0)
            if time.monotonic() > end:
                raise Failed("no %r; last: %r" % (pattern, self.text[-200:]))
            if not self.read(0.5) and not re.search(pattern, self.text):
                raise Failed("ended (status %d) before %r; last: %r" % (self.wait(end), pattern, self.text[-200:]))

    def type(self, keys):
        for key in keys:
            os.write(self.fd, key.encode())
            time.sleep(0.03)  # a BIOS keeps no more than 15 keys

    def wait(self, end):
        while self.status is None:
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise Failed("did not end")
        return self.status

    def close(self):
        os.close(self.fd)
        if self.status is None:
            os.killpg(self.pid, signal.SIGTERM)  # the terminal's session: the demo and its machine
            os.waitpid(self.pid, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", required=True)
    parser.add_argument("--timeout", type=int, default=300)
    parser.add_argument("name", choices=CASES)
    opts = parser.parse_args()
    args, steps = CASES[opts.name]
    start = time.monotonic()
    end = start + opts.timeout
    t = Terminal([opts.demo] + args)
    try:
        if steps is None:  # the program says when its screen wants to be seen, and goes on at Enter
            while t.expect(r"\nscreen |\npc: ", end) == "\nscreen ":
                t.type("\n")
        for pattern, keys in steps or []:
            t.expect(pattern, end)
            if keys:
                time.sleep(0.5)  # a menu may be drawn before it listens
                t.type(keys)
        if t.wait(end):
            raise Failed("exit status %d; last: %r" % (t.status, t.text[-200:]))
    except Failed as e:
        print("FAILED %s: %s" % (opts.name, e))
        return 1
    finally:
        t.close()
    print("ok %s (%.0f s)" % (opts.name, time.monotonic() - start))
    return 0


if __name__ == "__main__":
    sys.exit(main())
