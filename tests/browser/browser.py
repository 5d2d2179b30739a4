#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A person at a browser, played by headless Chromium: opens noVNC's page on the VM's WebSocket port, reads the guest's
screen from the page's canvas, types commands and reads what they do.

The canvas is read with the font of the VGA BIOS, not with anything of novt's: the text is what a person would see. Chromium
is driven by chromedriver over WebDriver (W3C), plain HTTP.
"""
import argparse
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FONT_FILE = "/usr/share/seabios/vgabios-stdvga.bin"
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
CANVAS = """
const c = document.querySelector('#noVNC_container canvas') || document.querySelector('#screen canvas');
if (!c || !c.width) return null;
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let s = '';
for (let i = 0; i < d.length; i += 4)
    s += String.fromCharCode(Math.max(d[i], d[i + 1], d[i + 2]));
return [c.width, c.height, btoa(s)];
"""


class Failed(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def load_font():
    with open(FONT_FILE, "rb") as f:
        rom = f.read()
    at = rom.find(LETTER_A)
    if at < 0:
        raise Failed("no 8x16 font in " + FONT_FILE)
    first = at - 16 * ord("A")
    font = {}
    for c in range(0x20, 0x7f):
        font[rom[first + 16 * c:first + 16 * c + 16]] = chr(c)
    font[bytes(16)] = " "
    font[bytes([255] * 16)] = " "
    return font


class Browser:
    def __init__(self, work):
        self.port = free_port()
        self.log = open(os.path.join(work, "chromedriver.log"), "wb")
        # a process group of its own: the driver starts the browser, which starts more
        self.driver = subprocess.Popen(["chromedriver", "--port=%d" % self.port], stdout=self.log, stderr=self.log,
                                       start_new_session=True)
        self.session = None
        args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                "--window-size=1400,1000", "--user-data-dir=" + os.path.join(work, "profile")]
        caps = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions":
                                                 {"binary": shutil.which("chromium"), "args": args}}}}
        deadline = time.monotonic() + 60
        while True:
            try:
                self.session = self.call("POST", "/session", caps, 120)["sessionId"]
                return
            except urllib.error.HTTPError as e:
                self.close()
                raise Failed("the browser does not start: " + e.read().decode()[:300])
            except OSError:
                if time.monotonic() > deadline or self.driver.poll() is not None:
                    self.close()
                    raise Failed("chromedriver does not answer")
                time.sleep(0.2)

    def call(self, method, path, body=None, timeout=60):
        data = None if body is None else json.dumps(body).encode()
        req = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), data, method=method,
                                     headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(req, timeout=timeout) as answer:
            return json.load(answer)["value"]

    def command(self, path, body):
        return self.call("POST", "/session/%s/%s" % (self.session, path), body)

    def open(self, url):
        self.command("url", {"url": url})

    def run(self, script):
        return self.command("execute/sync", {"script": script, "args": []})

    def keys(self, text):
        """As a US keyboard has them, Shift included: noVNC tells the server which key it was."""
        actions = []
        for c in text:
            shift = c.isupper() or c in '~!@#$%^&*()_+{}|:"<>?'
            c = "\ue007" if c == "\n" else c
            stroke = [{"type": "keyDown", "value": c}, {"type": "pause", "duration": 15}, {"type": "keyUp", "value": c}]
            if shift:
                stroke = [{"type": "keyDown", "value": "\ue008"}] + stroke + [{"type": "keyUp", "value": "\ue008"}]
            actions += stroke
        self.command("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, x, y):
        self.command("actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
                                              "actions": [{"type": "pointerMove", "x": x, "y": y},
                                                          {"type": "pointerDown", "button": 0},
                                                          {"type": "pointerUp", "button": 0}]}]})

    def close(self):
        if self.session:
            try:
                self.call("DELETE", "/session/" + self.session, timeout=20)
            except OSError:
                pass
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()
        self.log.close()


def read_text(canvas, font):
    """The canvas as lines of text: 9x16 (or 8x16) cells; unknown ones are '\x7f'."""
    width, height, data = canvas
    lum = base64.b64decode(data)
    cell = 9 if width % 9 == 0 and width // 9 in (40, 80, 132) else 8
    lines = []
    for row in range(height // 16):
        line = ""
        for col in range(width // cell):
            glyph = bytearray(16)
            pixels = []
            for y in range(16):
                at = (row * 16 + y) * width + col * cell
                pixels.append(lum[at:at + 8])
            high, low = max(map(max, pixels)), min(map(min, pixels))
            if high - low >= 40:
                for y in range(16):
                    for x in range(8):
                        glyph[y] |= (pixels[y][x] > (high + low) // 2) << (7 - x)
            line += font.get(bytes(glyph)) or font.get(bytes(b ^ 0xff for b in glyph)) or "\x7f"
        lines.append(line.rstrip())
    return "\n".join(lines)


class VM:
    def __init__(self, vmm, args, work):
        self.port = free_port()
        self.out = os.path.join(work, "novt.log")
        self.log = open(self.out, "wb")
        self.p = subprocess.Popen([vmm, "-serial", "null", "-vnc",
                                   "unix:%s,websocket=127.0.0.1:%d" % (os.path.join(work, "vnc.sock"), self.port)] + args,
                                  stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def close(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.log.close()


def steps_of(name, images):
    grub = os.path.join(images, "grub-rescue-cdrom.iso")
    prompt = [(r"GNU GRUB", "c"), (r"grub>", "")]
    if name == "grub":
        return (["-cdrom", grub],
                prompt + [(r"grub>", "set x=42; echo result-$x-of-24\n"), (r"\nresult-42-of-24", "")], 90)
    return (["-m", "256", "-boot", "d", "-cdrom", grub, "-hda", os.path.join(images, "linux.img"), "-snapshot"],
            prompt + [(r"grub>", "linux (hd0)/vmlinuz\n"), (r"vmlinuz\n(.|\n)*grub>", "initrd (hd0)/initramfs.gz\n"),
                      (r"initramfs.gz\n(.|\n)*grub>", "boot\n"), (r"(/|~) #", "echo answer $((6*7*1001)) $(uname -m)\n"),
                      (r"\nanswer 42042 i686", "")], 240)


def run(name, opts, font):
    args, steps, limit = steps_of(name, opts.images)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        vm = VM(opts.vmm, args + opts.options.split(), work)
        browser = None
        text = ""
        try:
            browser = Browser(work)
            while True:
                try:
                    browser.open("http://127.0.0.1:%d/vnc.html?autoconnect=true&resize=off&show_dot=true" % vm.port)
                    break
                except urllib.error.HTTPError as e:
                    if vm.p.poll() is not None or time.monotonic() - start > limit:
                        raise Failed("the page does not open: " + e.read().decode()[:200])
                    time.sleep(0.2)
            clicked = False
            for pattern, keys in steps:
                while True:
                    canvas = browser.run(CANVAS)
                    text = read_text(canvas, font) if canvas else ""
                    if re.search(pattern, text):
                        break
                    if vm.p.poll() is not None:
                        with open(vm.out, errors="replace") as f:
                            raise Failed("the VM ended with %d: %s" % (vm.p.returncode, f.read()[-300:]))
                    if time.monotonic() - start > limit:
                        lines = [s for s in text.splitlines() if s.strip()]
                        raise Failed("no %r after %d s; last: %r" % (pattern, limit, lines[-4:]))
                    time.sleep(0.25)
                if not clicked:
                    browser.click(700, 500)
                    clicked = True
                if keys:
                    browser.keys(keys)
            return True, "%.1f s" % (time.monotonic() - start)
        except (Failed, OSError) as e:
            if opts.keep:
                with open(opts.keep, "w") as f:
                    f.write(text)
            return False, str(e)
        finally:
            if browser:
                browser.close()
            vm.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--options", default="", help="more options for the VM")
    parser.add_argument("--keep", help="file for the last screen of a failed case")
    parser.add_argument("names", nargs="*", default=["grub", "linux"])
    opts = parser.parse_args()
    failed = 0
    try:
        font = load_font()
        for name in opts.names or ["grub", "linux"]:
            ok, what = run(name, opts, font)
            failed += not ok
            print("%-8s %-16s %s" % ("ok" if ok else "FAILED", "browser-" + name, what), flush=True)
    except Failed as e:
        print("FAILED   browser          %s" % e)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
