#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Displays, end to end: VNC clients (kind and hostile), the WebSocket port's pages, passwords, a frame buffer that is drawn
while it is traced, and the text screen on a terminal. One line for each case: ok or FAILED.

Guests: GRUB from a CD, and Debian's kernel on a linear frame buffer (build/pc, which tools/pc-check prepares).
"""
import argparse
import http.client
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rfb  # noqa: E402


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class VM:
    def __init__(self, opts, work, args):
        self.work, self.limit = work, 120
        self.screen = os.path.join(work, "screen.txt")
        self.socket = os.path.join(work, "vnc.sock")
        self.log = open(os.path.join(work, "log"), "wb")
        self.p = subprocess.Popen([opts.vmm, "-screen", self.screen] + args, stdin=subprocess.DEVNULL,
                                  stdout=self.log, stderr=self.log)

    def said(self):
        with open(os.path.join(self.work, "log"), errors="replace") as f:
            return f.read()

    def text(self):
        try:
            with open(self.screen, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait(self, pattern, client=None):
        self.until(lambda: re.search(pattern, self.text()), "no %r" % pattern, client)

    def until(self, done, what, client=None):
        end = time.monotonic() + self.limit
        while not done():
            check(self.p.poll() is None, "the VM ended with %s: %s" % (self.p.returncode, self.said()[-300:]))
            check(time.monotonic() < end, "%s; last: %r" % (what, [x for x in self.text().splitlines() if x.strip()][-4:]))
            if client:
                client.pump(0.1)
            else:
                time.sleep(0.1)

    def type(self, client, line):
        """Types a line at GRUB's prompt as somebody who looks at the screen: the BIOS keeps 15 keys and drops the next."""
        for i in range(0, len(line), 8):
            client.type(line[i:i + 8])
            seen = "".join(line[max(0, i - 8):i + 8].split())
            self.until(lambda: seen in "".join(self.text().split()), "no %r on the screen" % seen, client)
        client.type("\n")

    def connect(self, address=None, **more):
        end = time.monotonic() + 20
        while True:
            try:
                return Person(address or self.socket, **more)
            except (FileNotFoundError, ConnectionRefusedError):
                check(self.p.poll() is None, "the VM ended: " + self.said()[-300:])
                check(time.monotonic() < end, "nobody listens")
                time.sleep(0.1)

    def close(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.log.close()
        return self.p.returncode


class Person(rfb.Client):
    """Looks at the screen all the time."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.request(False)

    def pump(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.s.settimeout(max(0.01, end - time.monotonic()))
            try:
                first = self.s.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                return
            finally:
                self.s.settimeout(30)
            if not first:
                raise ConnectionError("closed")
            if self.message() == 0:
                self.request()


def grub(opts, work, *args):
    return VM(opts, work, ["-serial", "null", "-cdrom", os.path.join(opts.images, "grub-rescue-cdrom.iso")] + list(args))


def effect(vm, client, n):
    """Types a command whose output was not typed."""
    vm.type(client, "set x=%d; echo result-$x-End" % n)
    vm.wait(r"\nresult-%d-End" % n, client)


def vnc_text(opts, work):
    vm = grub(opts, work, "-vnc", "unix:" + os.path.join(work, "vnc.sock"))
    try:
        c = vm.connect()
        vm.wait("GNU GRUB", c)
        check((c.width, c.height) == (720, 400), "the screen is %dx%d" % (c.width, c.height))
        c.press(ord("c"))
        vm.wait("grub>", c)
        effect(vm, c, 17)
        c.press(0xff52)  # Up: the last command again
        c.pump(0.3)
        c.press(0xff0d)
        vm.until(lambda: len(re.findall("\nresult-17-End", vm.text())) == 2, "Up and Enter have no effect", c)
        # by positions: QEMU's extended key events
        k = vm.connect(encodings=(rfb.RAW, rfb.EXTENDED_KEYS))
        k.pump(1)
        check(k.extended_keys, "no extended key events")
        for code in [0x12, 0x2e, 0x23, 0x18, 0x39, 0x2c, 0x18, 0x31, 0x1c]:  # echo zon
            k.raw_key(0, code, True)
            k.raw_key(0, code, False)
        vm.wait("\nzon", k)
        # Two look at the same time; one goes without a word, with a key down.
        c.pump(1)
        k.pump(1)
        k.key(0xffe1, True)
        k.close()

        def shift_is_up():
            c.type("z")
            vm.until(lambda: re.search("grub> [zZ]\\s*$", vm.text()), "no z", c)
            up = re.search("grub> z\\s*$", vm.text())
            c.type("\b")
            vm.until(lambda: re.search("grub>\\s*$", vm.text()), "no backspace", c)
            return up

        vm.until(shift_is_up, "Shift of a client that is gone stays down", c)
        effect(vm, c, 18)
        check(any(c.pixels), "the picture is black")
        c.close()
    finally:
        status = vm.close()
    check(status == 0, "exit status %s" % status)
    check(not os.path.exists(vm.socket), "the socket file is left behind")


def read_png(path):
    with open(path, "rb") as f:
        data = f.read()
    at, idat, width, height = 8, b"", 0, 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            idat += body
        at += size + 12
    raw, stride, out, prior = zlib.decompress(idat), width * 3, [], bytes(width * 3)
    for y in range(height):
        how, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if how else 0):
            a, b, c = (line[i - 3] if i > 2 else 0), prior[i], (prior[i - 3] if i > 2 else 0)
            if how == 4:
                p = a + b - c
                d = (abs(p - a), abs(p - b), abs(p - c))
                guess = a if d[0] <= d[1] and d[0] <= d[2] else b if d[1] <= d[2] else c
            else:
                guess = {1: a, 2: b, 3: (a + b) >> 1}[how]
            line[i] = (line[i] + guess) & 0xff
        out.append(bytes(line))
        prior = out[-1]
    return width, height, out


def differing_lines(client, path):
    width, height, lines = read_png(path)
    check((width, height) == (client.width, client.height),
          "the file shows %dx%d, VNC %dx%d" % (width, height, client.width, client.height))
    bad = []
    for y, line in enumerate(lines):
        row = client.pixels[y * width * 4:(y + 1) * width * 4]
        if row[2::4] != line[0::3] or row[1::4] != line[1::3] or row[0::4] != line[2::3]:
            bad.append(y)
    return bad


def frame_buffer(opts, work):
    """Debian's kernel draws text into the linear frame buffer; what VNC shows at the end is what a fresh drawing gives."""
    serial, monitor, picture = (os.path.join(work, x) for x in ("serial", "monitor", "picture.png"))
    vm = VM(opts, work, ["-m", "256", "-boot", "d", "-cdrom", os.path.join(opts.images, "grub-rescue-cdrom.iso"), "-hda",
                         os.path.join(opts.images, "linux.img"), "-snapshot", "-serial", "file:" + serial,
                         "-monitor", "unix:%s,server,nowait" % monitor, "-vnc", "unix:" + os.path.join(work, "vnc.sock")])
    vm.limit = 240

    def heard(text):
        with open(serial, errors="replace") as f:
            return text in f.read()

    try:
        c = vm.connect()
        vm.wait("GNU GRUB", c)
        c.type("c")
        lines = ["set gfxpayload=1024x768x32", "linux (hd0)/vmlinuz console=ttyS0 console=tty0 vt.global_cursor_default=0",
                 "initrd (hd0)/initramfs.gz"]
        for i, line in enumerate(lines):
            vm.until(lambda: len(re.findall("grub>", vm.text())) == i + 1, "no prompt %d" % i, c)
            vm.type(c, line)
        vm.until(lambda: len(re.findall("grub>", vm.text())) == 4, "no last prompt", c)
        vm.type(c, "boot")
        vm.until(lambda: (c.width, c.height) == (1024, 768), "no 1024x768", c)
        vm.until(lambda: heard("Run /init"), "the kernel does not come up", c)
        asked = [0.0]

        def shell():
            if time.monotonic() - asked[0] > 5:
                c.type("echo up-$((6*7)) >/dev/ttyS0\n")
                asked[0] = time.monotonic()
            return heard("up-42")

        vm.until(shell, "no shell", c)
        before = c.updates
        c.type("for i in 1 2 3; do ls -la /bin /dev; done; echo end-$((6*7)) >/dev/ttyS0\n")
        vm.until(lambda: heard("end-42"), "the listing never ends", c)

        def settled():
            count = c.updates
            c.pump(2)
            return c.updates == count

        vm.until(settled, "an idle screen is sent again and again", c)
        check(c.updates > before, "the listing is not seen")
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(monitor)
            s.sendall(b"screendump %s\n" % picture.encode())
            vm.until(lambda: os.path.exists(picture) and open(picture, "rb").read().endswith(b"IEND\xaeB`\x82"),
                     "no screendump", c)
        bad = differing_lines(c, picture)
        check(not bad, "%d lines differ from a fresh drawing, from line %s" % (len(bad), bad[:1]))
    finally:
        vm.close()


def password(opts, work):
    with open(os.path.join(work, "password"), "w") as f:
        f.write("Secret12\n")
    port = free_port()
    if not 5900 <= port <= 65000:
        port = 5990
    vm = grub(opts, work, "-vnc", "127.0.0.1:%d,to=%d,password-file=%s" % (port - 5900, port - 5900 + 50,
                                                                          os.path.join(work, "password")))
    try:
        vm.until(lambda: "VNC server on" in vm.said(), "it does not say where it listens")
        port = int(re.search(r"VNC server on 127.0.0.1:(\d+)", vm.said())[1])
        vm.connect(("127.0.0.1", port), password="Secret12").close()
        for word in ["", "secret12", "Secret1"]:
            try:
                vm.connect(("127.0.0.1", port), password=word)
                raise Failed("the password %r is taken" % word)
            except PermissionError:
                pass
        vm.connect(("127.0.0.1", port), password="Secret12more").close()  # the first eight count
        for i in range(5):
            try:
                vm.connect(("127.0.0.1", port), password="guess%d" % i)
            except PermissionError:
                pass
        try:
            vm.connect(("127.0.0.1", port), password="Secret12")
            raise Failed("guessing is not slowed down")
        except (ConnectionError, OSError):
            pass
    finally:
        vm.close()


def hostile(opts, work):
    """Clients that send rubbish, too much, nothing, or do not read: the VM and a good client go on."""
    vm = grub(opts, work, "-vnc", "unix:%s,share=force-shared" % os.path.join(work, "vnc.sock"))
    try:
        good = vm.connect()
        vm.wait("GNU GRUB", good)
        good.press(ord("c"))
        vm.wait("grub>", good)
        others = []

        def raw(data):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            end = time.monotonic() + 40
            while True:
                try:
                    s.connect(vm.socket)
                    break
                except BlockingIOError:  # too many wait already
                    check(time.monotonic() < end, "the server does not accept any more")
                    good.pump(0.2)
            try:
                s.sendall(data)
            except OSError:
                pass
            others.append(s)

        raw(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nOrigin: http://x\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        raw(b"\x16\x03\x01\x02\x00")
        raw(b"RFB 003.008\n\x01\x01" + b"\xff" * 100000)
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BxxxI", 6, 0x7fffffff) + b"x" * 50000)  # clipboard
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BxH", 2, 65535) + os.urandom(200000))  # encodings
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BxxxBBBBHHHBBBxxx", 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255))
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BBHHHH", 3, 0, 65535, 65535, 65535, 65535) * 1000)
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BBxxI", 4, 1, 0xff54) * 20000 + b"\x04")  # keys, and half a message
        raw(b"RFB 003.008\n\x01\x01" + struct.pack(">BBHH", 5, 255, 65535, 0) * 20000)
        for i in range(20):
            raw(b"")  # says nothing
        good.pump(8)
        good.press(0xff0d)
        good.pump(1)
        effect(vm, good, 33)
        for s in others:
            s.close()
        deaf = vm.connect()  # asks for everything and never reads
        for i in range(200):
            try:
                deaf.request(False)
            except OSError:
                break
        end = time.monotonic() + 20
        while True:
            try:
                effect(vm, good, 34)
                break
            except Failed:
                check(time.monotonic() < end, "a client that does not read stops the others")
        deaf.close()
        vm.connect().close()
    finally:
        status = vm.close()
    check(status == 0, "exit status %s: %s" % (status, vm.said()[-300:]))


def pages(opts, work):
    port = free_port()
    vm = grub(opts, work, "-vnc", "unix:%s,websocket=%d" % (os.path.join(work, "vnc.sock"), port))

    def get(path, headers=None, method="GET"):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        c.putrequest(method, path, skip_accept_encoding=True)
        for k, v in (headers or {}).items():
            c.putheader(k, v)
        c.endheaders()
        r = c.getresponse()
        return r.status, r, r.read()

    shake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    try:
        vm.connect().close()
        installed = os.path.exists("/usr/share/novnc/vnc.html")
        status, r, body = get("/vnc.html?autoconnect=true")
        check(status == (200 if installed else 404), "vnc.html: %d" % status)
        if installed:
            with open("/usr/share/novnc/vnc.html", "rb") as f:
                check(body == f.read(), "vnc.html comes changed")
            check(get("/")[0] == 302, "/ does not lead to the page")
            check(get("/core/rfb.js")[1].headers["Content-Type"].startswith("text/javascript"), "wrong type of a script")
            status, r, body = get("/vnc.html", method="HEAD")
            check(status == 200 and not body, "HEAD")
        for path in ["/../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/core", "/nothing"]:
            check(get(path)[0] == 404, "%s: not refused" % path)
        check(get("/websockify", dict(shake, Origin="http://evil.example"))[0] == 403, "a foreign page gets in")
        check(get("/websockify", shake)[0] == 403, "no origin gets in")
        s = socket.create_connection(("127.0.0.1", port), 20)
        head = "GET /websockify HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n" % (port, port)
        head += "".join("%s: %s\r\n" % x for x in shake.items()) + "\r\n"
        for i in range(0, len(head), 40):  # in pieces
            s.sendall(head[i:i + 40].encode())
            time.sleep(0.01)
        data = b""
        while b"RFB 003.008\n" not in data:
            part = s.recv(1000)
            check(part, "the WebSocket is closed: %r" % data)
            data += part
        check(data.startswith(b"HTTP/1.1 101") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data, "handshake: %r" % data[:200])
        idle = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(40)]
        for x in idle[:20]:
            x.sendall(b"GET /vnc.html HT")
        for x in idle:
            x.close()
        check(get("/nothing")[0] == 404, "it does not answer any more")
    finally:
        vm.close()


def terminal(opts, work):
    """-display curses in a terminal of tmux."""
    tmux = ["tmux", "-f", "/dev/null", "-S", os.path.join(work, "tmux")]
    screen = ["capture-pane", "-p", "-t", "0"]
    command = "LC_ALL=C.UTF-8 %s -cdrom %s -display curses; echo status $?; cat" % (
        opts.vmm, os.path.join(opts.images, "grub-rescue-cdrom.iso"))

    def run(*args):
        return subprocess.run(tmux + list(args), check=True, capture_output=True, text=True,
                              env=dict(os.environ, LC_ALL="C.UTF-8")).stdout

    def wait(pattern, *args):
        end = time.monotonic() + 60
        while not re.search(pattern, run(*screen, *args)):
            check(time.monotonic() < end, "no %r on the terminal: %r" % (pattern, run(*screen)[-500:]))
            time.sleep(0.1)

    def type_keys(*keys):
        run("send-keys", "-t", "0", *keys)

    run("new-session", "-d", "-x", "90", "-y", "30", command)
    try:
        wait("GNU GRUB")
        wait("┌─+┐")
        type_keys("Down")
        wait(r"\*GNU \(aka")
        wait("\x1b\\[30m\x1b\\[47m\\*GNU", "-e")  # the chosen line in its colours
        type_keys("c")
        wait("grub>")
        type_keys("-l", "set x=5; echo Result-$x-End_|\\")
        type_keys("BSpace", "BSpace", "Enter")
        wait("\nResult-5-End_\n")
        run("resize-window", "-t", "0", "-x", "50", "-y", "8")
        time.sleep(0.5)
        type_keys("-l", "echo narrow")
        type_keys("Enter")
        wait("\nnarrow\ngrub>")
        type_keys("C-a", "h")
        wait("Ctrl-Alt-Delete")
        type_keys("Escape")
        type_keys("C-a", "x")
        wait("status 0")
    finally:
        subprocess.run(tmux + ["kill-server"], capture_output=True, check=False)


CASES = {"vnc-text": vnc_text, "vnc-frame-buffer": frame_buffer, "vnc-password": password, "vnc-hostile": hostile,
         "vnc-pages": pages, "curses": terminal}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    failed = 0
    for name in opts.names or CASES:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            try:
                CASES[name](opts, work)
                what = "%.1f s" % (time.monotonic() - start)
                print("%-8s %-18s %s" % ("ok", name, what), flush=True)
            except (Failed, OSError, AssertionError, ValueError, subprocess.CalledProcessError) as e:
                failed += 1
                print("%-8s %-18s %s: %s" % ("FAILED", name, type(e).__name__, e), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
