#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of tools/gdb-check: Debian's gdb, in batch mode, against novt's GDB stub.

linux      Debian's unmodified kernel: breakpoints by symbol, memory, registers, steps, watchpoints, detach
real-mode  a boot sector at 7C00h: breakpoints with and without a code segment base, steps, a watchpoint

Debian ships no symbols with its kernel, so they are read from the guest's own /proc/kallsyms, over its console, and
written into an ELF file that has nothing but symbols.
"""
import argparse
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    pass


def connect(path, process, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"novt ended with status {process.returncode}")
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            time.sleep(0.05)
    raise Failed(f"nothing listens on {path}")


class VM:
    def __init__(self, opts, work, args):
        self.gdb_path = os.path.join(work, "gdb")
        serial = os.path.join(work, "serial")
        self.process = subprocess.Popen(
            [opts.vmm, "--engine=" + opts.engine, "-m", "128", "-monitor", "none", "-serial",
             f"unix:{serial},server=on,wait=on", "-gdb", f"unix:{self.gdb_path},server=on,wait=off"] + args,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.text = ""
        self.serial = connect(serial, self.process)

    def wait_for(self, pattern, seconds=180, start=0):
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text[start:])
            if found:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"'{pattern}' did not come; the console ends with: {self.text[-500:]!r}")
            self.serial.settimeout(left)
            try:
                data = self.serial.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise Failed(f"the console was closed; it ends with: {self.text[-500:]!r}")
            self.text += data.decode("utf-8", "replace").replace("\r", "")

    def type(self, line):
        self.serial.sendall(line.encode() + b"\n")

    def run(self, line, pattern, seconds=60):
        """Types a line and waits for what it prints."""
        start = len(self.text)
        self.type(line)
        return self.wait_for(pattern, seconds, start)

    def close(self):
        self.serial.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stderr.close()


def gdb_start(vm, commands, symbols=None):
    """gdb in batch mode. Ends at the first command that fails."""
    args = ["gdb", "-nx", "-batch", "-iex", "set auto-load off"] + ([symbols] if symbols else [])
    for c in ["set confirm off", "set pagination off", "set height 0", "set width 0", "set remotetimeout 60",
              "target remote " + vm.gdb_path] + commands:
        args += ["-ex", c]
    return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def gdb_end(p, expect, seconds=60):
    try:
        out = p.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        raise Failed("gdb did not end; it said: " + p.communicate()[0][-1500:])
    at = 0
    for pattern in expect:
        found = re.compile(pattern).search(out, at)
        if not found:
            raise Failed(f"gdb did not say '{pattern}'; it said: {out[-2500:]}")
        at = found.end()
    return out


def symbol_elf(path, symbols):
    """An ELF file with text symbols and the (empty) section that they lie in."""
    low = min(a for a, _, _ in symbols) & ~0xFFF
    high = (max(a for a, _, _ in symbols) + 0xFFFF) & ~0xFFF
    names, table = b"\0", struct.pack("<IIIBBH", 0, 0, 0, 0, 0, 0)
    for address, kind, name in symbols:
        function = kind in "tTwW"
        table += struct.pack("<IIIBBH", len(names), address, 0, 0x12 if function else 0x11, 0, 1)
        names += name.encode() + b"\0"
    shnames = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    parts, offset = [], 52
    for data in (table, names, shnames):
        parts.append((offset, len(data)))
        offset += len(data)
    header = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 0, offset, 0, 52, 0, 0, 40, 5, 4)
    sections = bytes(40)
    sections += struct.pack("<10I", 1, 8, 7, low, 52, high - low, 0, 0, 4096, 0)  # NOBITS; write, alloc, execute
    sections += struct.pack("<10I", 7, 2, 0, 0, parts[0][0], parts[0][1], 3, 1, 4, 16)
    sections += struct.pack("<10I", 15, 3, 0, 0, parts[1][0], parts[1][1], 0, 0, 1, 0)
    sections += struct.pack("<10I", 23, 3, 0, 0, parts[2][0], parts[2][1], 0, 0, 1, 0)
    with open(path, "wb") as f:
        f.write(header + table + names + shnames + sections)


def linux(opts, work):
    vm = VM(opts, work, ["-kernel", os.path.join(opts.guest, "vmlinuz-686"), "-initrd",
                         os.path.join(opts.guest, "initramfs.gz"), "-append", "console=ttyS0 nokaslr"])
    try:
        prompt = r"\n/ # "
        vm.wait_for(prompt)
        start = len(vm.text)
        vm.type("echo be''gin; cat /proc/kallsyms | grep -E ' [tTdDbB] (do_sys_openat2|schedule|panic|vfs_open)$'; "
                "sed -n 's/^\\(.*\\) \\([tT]\\) \\(vfs_[a-z]*\\)$/\\1 \\2 \\3/p' /proc/kallsyms; echo e''nd")
        vm.wait_for(r"\nend\n", 60, start)
        symbols = [(int(a, 16), k, n) for a, k, n in
                   re.findall(r"^([0-9a-f]{8}) (\w) (\w+)$", vm.text[start:], re.M)]
        if not any(n == "do_sys_openat2" for _, _, n in symbols):
            raise Failed("the guest's /proc/kallsyms has no do_sys_openat2: " + vm.text[start:][:300])
        elf = os.path.join(work, "symbols")
        symbol_elf(elf, symbols)
        address = dict((n, a) for a, _, n in symbols)
        vm.wait_for(prompt, 20, start)

        # Breakpoint by symbol; the file name is the second argument, in edx. Then steps, registers, memory, and on.
        p = gdb_start(vm, [
            "break do_sys_openat2", "echo ready\\n", "continue", "info registers eip", "x/s $edx", "x/3i $eip",
            "stepi", "print/x $eip", "nexti", "print/x $eflags & 2", "print/x $cr0 & 0x80000001", "info threads",
            "monitor info status", "continue", "x/s $edx", "delete", "detach"], elf)
        for line in p.stdout:
            if line.startswith("ready"):
                break
        start = len(vm.text)
        vm.type("cat /etc/hostname-that-is-not-there; echo af''ter")
        gdb_end(p, [r"Breakpoint 1, .*do_sys_openat2", r"eip +0x%x" % address["do_sys_openat2"], r'"[^"\n]*/',
                    r"=> 0x%x <do_sys_openat2>" % address["do_sys_openat2"], r"\$1 = 0x[0-9a-f]{8}", r"\$2 = 0x2", r"\$3 = 0x80000001", r"Thread 1",
                    r"VM status: paused", r"Breakpoint 1, ", r"detached"])
        vm.wait_for(r"\nafter\n", 60, start)

        # The guest runs on after that, at speed; a breakpoint that is never reached costs nothing. Hardware
        # breakpoint, a watchpoint on the kernel's stack.
        p = gdb_start(vm, [
            "hbreak vfs_open", "break panic", "echo ready\\n", "continue", "delete 1",
            "watch -l *(int *)($esp - 16)", "continue", "delete", "print 6 * 7", "detach"], elf)
        for line in p.stdout:
            if line.startswith("ready"):
                break
        start = len(vm.text)
        vm.type("cat /proc/version; echo af''ter")
        gdb_end(p, [r"Breakpoint 1, .*vfs_open", r"Hardware watchpoint 3", r"Old value = -?\d+\nNew value = -?\d+",
                    r"= 42", r"detached"])
        vm.wait_for(r"\nafter\n", 60, start)

        # Nothing of it was written into the guest, and it works.
        vm.run("echo $((6 * 7))-al''ive", r"\n42-alive\n")
        p = gdb_start(vm, ["x/1xb do_sys_openat2", "kill"], elf)
        out = gdb_end(p, [r"do_sys_openat2>?:\s+0x"])
        if re.search(r"do_sys_openat2>?:\s+0xcc", out):
            raise Failed("there is an int3 in the guest's code")
        vm.process.wait(20)
        return f"breakpoints at {address['do_sys_openat2']:#x}, watchpoint on the stack"
    finally:
        vm.close()


# At 7C00h: counts in 7E00h, then the same with cs = 7B0h, then waits.
SECTOR = bytes.fromhex(
    "31c0"          # 7c00 xor ax, ax
    "8ed8"          # 7c02 mov ds, ax
    "c706007e0000"  # 7c04 mov word [7e00h], 0
    "b90300"        # 7c0a mov cx, 3
    "ff06007e"      # 7c0d inc word [7e00h]
    "e2fa"          # 7c11 loop 7c0d
    "ea1801b007"    # 7c13 jmp 07b0:0118
    "b85555"        # 7c18 mov ax, 5555h
    "fb"            # 7c1b sti
    "90"            # 7c1c nop
    "ebf9")         # 7c1d jmp 7c18


def real_mode(opts, work):
    image = os.path.join(work, "floppy")
    with open(image, "wb") as f:
        f.write(SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1440 * 1024 - 512))
    vm = VM(opts, work, ["-fda", image, "-boot", "a", "-S"])
    try:
        p = gdb_start(vm, [
            "print/x $cs_base + $eip", "break *0x7c00", "continue", "print/x $eip", "x/2xb 0x7c00", "delete",
            "stepi", "stepi", "stepi", "print/x $eip", "watch *(short *)0x7e00", "continue", "print/x $eip",
            "continue", "print *(short *)0x7e00", "delete",
            # cs base 7b00h: GDB cannot know the place, but the stop is exact and going on works
            "break *0x7c18", "continue", "print/x $cs_base + $eip", "continue", "print/x $eip", "stepi",
            "print/x $eax & 0xffff", "delete", "stepi", "stepi", "print/x $eip", "monitor x /1i $pc",
            "set var $edi = 0x12345678", "print/x $edi", "monitor p $edi", "kill"])
        gdb_end(p, [r"\$1 = 0xfffffff0", r"Breakpoint 1, 0x00007c00", r"\$2 = 0x7c00", r"0x7c00:\s+0x31\s+0xc0",
                    r"\$3 = 0x7c0a", r"Hardware watchpoint 2", r"Old value = 0\nNew value = 1", r"\$4 = 0x7c11",
                    r"New value = 2", r"\$5 = 2", r"SIGTRAP", r"\$6 = 0x7c18", r"SIGTRAP", r"\$7 = 0x118",
                    r"\$8 = 0x5555", r"\$9 = 0x11d", r"jmp", r"\$10 = 0x12345678", r"0x12345678"])
        vm.process.wait(20)
        return "breakpoints with and without a segment base, watchpoint, steps"
    finally:
        vm.close()


CASES = {"linux": linux, "real-mode": real_mode}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--vmm", required=True)
    a.add_argument("--engine", default="bt")
    a.add_argument("--guest", required=True)
    a.add_argument("name", nargs="*")
    opts = a.parse_args()
    bad = 0
    for name in opts.name or CASES:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="novt-gdb-") as work:
            try:
                result = "ok     " + name + ": " + CASES[name](opts, work)
            except (Failed, OSError, subprocess.TimeoutExpired) as e:
                result = f"FAILED {name}: {e}"
                bad += 1
        print(f"{result} ({time.monotonic() - start:.0f} s)", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
