#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors, QMP and the GDB stub through their sockets, with well-behaved and with hostile peers.

The guest counts in 200000h, calls a function that increments EAX, and echoes its serial port. usage: test_control.py
NOVT [--engine=NAME] [test...]
"""
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

COUNTER, ENTRY, START, FUNCTION = 0x200000, 0x100020, 0x100025, 0x100040
CODE = bytes.fromhex(
    "bc00000800"    # 100020 mov esp, 80000h
    "ff0500002000"  # 100025 inc dword [200000h]
    "e810000000"    # 10002b call 100040
    "66bafd03"      # 100030 mov dx, 3fdh
    "ec"            # 100034 in al, dx
    "a801"          # 100035 test al, 1
    "74ec"          # 100037 jz 100025
    "b2f8"          # 100039 mov dl, f8h
    "ec"            # 10003b in al, dx
    "ee"            # 10003c out dx, al
    "ebe6"          # 10003d jmp 100025
    "90"            # 10003f
    "40"            # 100040 inc eax
    "c3")           # 100041 ret
TIMEOUT = 60


def connect(path, process):
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(TIMEOUT)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            time.sleep(0.02)
    raise AssertionError(f"nobody listens on {path} (status {process.poll()})")


class VM:
    def __init__(self, *args, serial="unix:{}/serial,server=on,wait=off", code=CODE):
        self.work = tempfile.TemporaryDirectory(prefix="novt-control-")
        kernel = self.path("kernel")
        header = struct.pack("<8I", 0x1BADB002, 0x10000, (-(0x1BADB002 + 0x10000)) & 0xFFFFFFFF, 0x100000, 0x100000, 0,
                             0, ENTRY)
        with open(kernel, "wb") as f:
            f.write((header + code).ljust(512, b"\0"))
        self.errors = open(self.path("errors"), "w+b")
        self.process = subprocess.Popen(
            [novt, "--engine=" + engine, "-m", "16", "-kernel", kernel, "-serial", serial.format(self.work.name), "-qmp",
             f"unix:{self.path('qmp')},server,nowait", "-monitor", f"unix:{self.path('hmp')},server=on,wait=off", "-gdb",
             f"unix:{self.path('gdb')},server,nowait", *args], stdin=subprocess.DEVNULL, stderr=self.errors)

    def path(self, name):
        return os.path.join(self.work.name, name)

    def connect(self, name):
        return connect(self.path(name), self.process)

    def end(self, status=0):
        got = self.process.wait(TIMEOUT)
        assert got == status, f"exit status {got}, not {status}"

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().decode("utf-8", "replace")
        self.errors.close()
        if kind and text:
            print("novt said:", text, file=sys.stderr)
        self.work.cleanup()


class QMP:
    def __init__(self, vm, negotiate=True):
        self.s = vm.connect("qmp")
        self.buffer, self.events = b"", []
        greeting = self.receive()
        assert greeting["QMP"]["capabilities"] == [] and "qemu" in greeting["QMP"]["version"], greeting
        if negotiate:
            assert self.call("qmp_capabilities") == {}

    def line(self):
        while b"\n" not in self.buffer:
            data = self.s.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def receive(self):
        return json.loads(self.line())

    def answer(self):
        while True:
            j = self.receive()
            if "event" not in j:
                return j
            assert j["timestamp"]["seconds"] > 1 and j["timestamp"]["microseconds"] < 1000000
            self.events.append(j)

    def send(self, text):
        self.s.sendall(text if isinstance(text, bytes) else text.encode())

    def raw(self, text):
        self.send(text)
        return self.answer()

    def ask(self, name, **args):
        return self.raw(json.dumps({"execute": name, "arguments": {k.replace("_", "-"): v for k, v in args.items()}}))

    def call(self, name, **args):
        j = self.ask(name, **args)
        assert "return" in j, (name, j)
        return j["return"]

    def error(self, name, kind="GenericError", **args):
        j = self.ask(name, **args)
        assert j["error"]["class"] == kind and j["error"]["desc"], (name, j)
        return j["error"]["desc"]

    def event(self, name):
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name:
                    del self.events[:i + 1]
                    return e
            j = self.receive()
            assert "event" in j, j
            self.events.append(j)

    def human(self, line):
        return self.call("human-monitor-command", command_line=line)

    def status(self):
        return self.call("query-status")["status"]

    def close(self):
        self.s.close()


class GDB:
    def __init__(self, vm):
        self.s = vm.connect("gdb")
        self.buffer = b""
        self.ack = True

    def byte(self):
        if not self.buffer:
            self.buffer = self.s.recv(65536)
            if not self.buffer:
                raise EOFError
        b, self.buffer = self.buffer[:1], self.buffer[1:]
        return b

    def frame(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        return b"$" + data + b"#%02x" % (sum(data) & 0xFF)

    def receive(self):
        while self.byte() != b"$":
            pass
        data = b""
        while (b := self.byte()) != b"#":
            data += b
        sent = self.byte() + self.byte()
        assert int(sent, 16) == sum(data) & 0xFF, data
        if self.ack:
            self.s.sendall(b"+")
        return data.decode("latin-1")

    def send(self, text):
        self.s.sendall(self.frame(text))

    def ask(self, text):
        self.send(text)
        return self.receive()

    def ok(self, text):
        assert (got := self.ask(text)) == "OK", (text, got)

    def register(self, n):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{n:x}")), "little")

    def close(self):
        self.s.close()


def u32(q, address):
    return int(q.human(f"xp /1xw {address:#x}").split(":")[1], 16)


def until(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# ---- tests ----

def test_qmp():
    with VM() as vm:
        q = QMP(vm, negotiate=False)
        assert "negotiation" in q.error("query-status", "CommandNotFound")
        q.call("qmp_capabilities")
        assert "already" in q.error("qmp_capabilities", "CommandNotFound")
        assert q.call("query-status") == {"status": "running", "singlestep": False, "running": True}
        q.call("stop")
        q.event("STOP")
        assert q.status() == "paused"
        before = u32(q, COUNTER)
        q.call("stop") # again: nothing happens
        time.sleep(0.1)
        assert u32(q, COUNTER) == before, "the guest ran while it was stopped"
        q.call("cont")
        q.event("RESUME")
        until(lambda: u32(q, COUNTER) != before, "the guest does not go on")
        names = {c["name"] for c in q.call("query-commands")}
        for name in ("stop", "cont", "quit", "system_reset", "system_powerdown", "screendump", "send-key",
                     "input-send-event", "human-monitor-command", "query-block", "eject", "blockdev-change-medium"):
            assert name in names, name
        assert q.raw('{"execute": "query-name", "id": {"a": [1]}}')["id"] == {"a": [1]}
        assert q.raw('{"execute": "nonsense", "id": "x"}') == {
            "id": "x", "error": {"class": "CommandNotFound", "desc": "The command nonsense has not been found"}}
        assert "missing" in q.error("screendump")
        assert "unexpected" in q.error("stop", why="so")
        assert "expected: string" in q.error("screendump", filename=5)
        assert q.error("screendump", filename="/tmp/x") # no video
        assert q.error("send-key", keys=[{"type": "qcode", "data": "a"}]) # no keyboard
        assert "not found" in q.error("eject", "DeviceNotFound", device="floppy0")
        q.call("system_reset")
        assert q.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
        q.call("system_powerdown")
        q.event("POWERDOWN")
        # two at once, without a separator, and one cut into bytes
        q.send('{"execute":"query-status"}{"execute":"query-name"}')
        assert "status" in q.answer()["return"] and q.answer()["return"] == {}
        for b in b'{"execute": "query-status" }':
            q.send(bytes([b]))
        assert q.answer()["return"]["running"]
        q.call("quit")
        assert q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
        vm.end()


def test_start_stopped():
    with VM("-S", "-no-shutdown") as vm:
        q = QMP(vm)
        assert q.status() == "prelaunch"
        assert u32(q, COUNTER) == 0
        q.call("system_reset")
        q.event("RESET")
        assert q.status() == "prelaunch"
        q.call("cont")
        assert q.status() == "running"
        until(lambda: u32(q, COUNTER) > 10, "it does not run")
        vm.process.terminate()
        assert q.event("SHUTDOWN")["data"]["reason"] == "host-signal"
        vm.end()


def test_no_shutdown():
    crash = bytes.fromhex("0f011d2a001000" "0f0b" "f4" "ff0700002000") # lidt [limit 7ffh, base 200000h]; ud2
    with VM("-no-shutdown", "-S", code=crash) as vm:
        q = QMP(vm)
        q.call("cont")
        assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-panic"}
        q.event("STOP")
        assert q.status() == "internal-error" and "Resetting" in q.error("cont")
        g = GDB(vm)
        assert g.ask("c") == "T06thread:1;" # the same for GDB
        assert g.register(8) == ENTRY + 7
        q.call("system_reset")
        q.event("RESET")
        assert q.status() == "paused" and g.register(8) == ENTRY
        g.s.close()
        q.call("cont")
        q.event("SHUTDOWN")
        q.call("quit")
        vm.end()
    reset = bytes.fromhex("b006" "66baf90c" "ee" "ebfe") # mov al, 6; mov dx, cf9h; out dx, al; jmp $
    with VM("-no-shutdown", "-no-reboot", "-S", code=reset) as vm:
        q = QMP(vm)
        q.call("cont")
        assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-reset"}
        assert q.status() == "shutdown" and "Resetting" in q.error("cont")
        vm.process.terminate()
        vm.end()


def test_halted_for_good():
    """cli; hlt ends novt, but not when somebody looks at the screen: the last words are there."""
    with VM(code=b"\xfa\xf4") as vm:
        vm.end(8)
    with tempfile.TemporaryDirectory() as work, VM("-vnc", "unix:" + os.path.join(work, "vnc"), code=b"\xfa\xf4") as vm:
        q = QMP(vm)
        until(lambda: "EIP=00100022" in q.human("info registers"), "it does not come to its end")
        assert q.status() == "running"
        q.call("quit")
        vm.end()


def test_human():
    with VM("-name", "the name") as vm:
        q = QMP(vm)
        h = q.human
        q.call("stop")
        assert "paused" in h("info status") and "the name" in h("info name")
        assert "EIP=" in h("info registers") and "PG disabled" in h("info mem") and "RAM" in h("info mtree")
        assert "insns" in h("info jit")
        for what in ("pci", "pic", "block", "chardev", "version", "cpus", "tlb", "mice", "network", "snapshots"):
            assert "no info about" not in h("info " + what), what
        assert h("p 1 + 2 * 3") == "0x7\n" and h("p/d -1") == "-1\n" and h("print/c 'a'") == "'a'\n"
        assert h("p ($eip & 0) | 0x10 ^ 1") == "0x11\n"
        assert h("p/x $cs.limit + 1") == "0x100000000\n"
        assert h("x /4xb 0x100025") == "00100025: 0xff 0x05 0x00 0x00\n"
        assert "inc" in h("x /2i 0x100025") and "call" in h("x /2i 0x100025")
        assert h("gva2gpa 0x100020") == "gpa: 0x100020\n"
        assert "Cannot access" in h("xp /1xw 0xfffffffff")
        for bad in ("p 1/0", "p 1 %0", "p (", "p", "p $foo", "p 99999999999999999999", "x", "x /9q 0", "x /1xw", "p 'ab'",
                    "p " + "(" * 500, "i /g 1", "i 0x10000", "o 1", "sendkey", "sendkey foo", "sendkey a-", "mouse_move 1",
                    "mouse_move a b", "mouse_button 9", "eject", "eject nothing", "change x y z", "screendump",
                    "screendump a b c", "info", "info nothing", "foo", "memsave 1", "pmemsave 0 1 /nonexistent/x",
                    "memsave 0 99999999999 /dev/null", "savevm x", "-", "/", "a" * 1000, "x /99999999999xg 0xffffffff"):
            assert h(bad), bad
        assert len(h("x /99999999xb 0x100000")) < 2000000
        path = vm.path("memory")
        assert h(f"pmemsave {ENTRY:#x} {len(CODE)} {path}") == ""
        assert open(path, "rb").read() == CODE
        assert h("") == ""
        assert "usage" in h("help x") or "memory" in h("help x")
        assert h("cont") == "" and q.status() == "running"

        # the console: editing, completion, history
        s = vm.connect("hmp")
        text = b""

        def read_until(pattern):
            nonlocal text
            while not re.search(pattern, text):
                data = s.recv(65536)
                assert data, text
                text += data
            found = re.search(pattern, text)
            text = text[found.end():]
        read_until(rb"\(novt\) ")
        s.sendall(b"info sx\x7ftat\t\r")
        read_until(rb"VM status: running\r\n\(novt\) ")
        s.sendall(b"garbage\x15\x1b[A\r")
        read_until(rb"VM status: running\r\n\(novt\) ")
        s.sendall(b"s\t")
        read_until(rb"stop  system_reset  system_powerdown  screendump  sendkey")
        s.sendall(b"\x03" + b"q" * 5000 + b"\r\n")
        read_until(rb"unknown command")
        s.sendall(bytes(range(128, 256)) + b"\x1b\x1b[[[999999A\0\0\r")
        read_until(rb"unknown command")
        s.close()
        s = vm.connect("hmp")
        read_until(rb"\(novt\) ")
        s.sendall(b"quit\r")
        vm.end()


def test_console():
    with VM() as vm:
        for _ in range(2): # and again after the peer has gone
            s = vm.connect("serial")
            s.sendall(b"hello")
            got = b""
            while len(got) < 5:
                got += s.recv(100)
            assert got == b"hello", got
            s.close()


def test_shared_console():
    with VM("-display", "none", serial="mon:unix:{}/serial,server=on,wait=off") as vm:
        s = vm.connect("serial")
        text = b""

        def expect(pattern):
            nonlocal text
            while not re.search(pattern, text):
                data = s.recv(65536)
                assert data, text
                text += data
            text = text[re.search(pattern, text).end():]
        s.sendall(b"ab")
        expect(rb"ab")
        s.sendall(b"\x01h")
        expect(rb"Ctrl-A x")
        s.sendall(b"\x01c")
        expect(rb"\(novt\) ")
        s.sendall(b"p 6 * 7\r")
        expect(rb"0x2a\r\n\(novt\) ")
        s.sendall(b"\x01cxyz")
        expect(rb"xyz")
        s.sendall(b"\x01\x01")
        expect(rb"\x01")
        s.sendall(b"\x01x")
        vm.end()


def test_gdb():
    with VM() as vm:
        q = QMP(vm)
        g = GDB(vm)
        assert "PacketSize=4000" in g.ask("qSupported:swbreak+;hwbreak+;xmlRegisters=i386")
        assert g.ask("?") == "T05thread:1;"
        assert q.status() == "paused"
        q.event("STOP")
        xml, off = "", 0
        while True:
            part = g.ask(f"qXfer:features:read:target.xml:{off:x},200")
            xml += part[1:]
            off += len(part) - 1
            if part[0] == "l":
                break
        for name in ("org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse", '"eip"', '"st7"', '"xmm7"', '"mxcsr"', '"cr3"'):
            assert name in xml, name
        assert len(g.ask("g")) == 2 * (16 * 4 + 8 * 10 + 8 * 4 + 8 * 16 + 4)
        assert g.ask("m100020,6") == CODE[:6].hex()
        assert g.ask("mffffffff0,4") == "E22" and g.ask("m100020") == "E22"
        assert g.ask("vMustReplyEmpty") == "" and g.ask("qC") == "QC1" and g.ask("qfThreadInfo") == "m1"

        # breakpoint: not in memory, exact, again and again
        g.ok(f"Z0,{FUNCTION:x},1")
        for _ in range(3):
            assert g.ask("vCont;c") == "T05thread:1;swbreak:;"
            assert g.register(8) == FUNCTION and q.status() == "debug"
            assert g.ask(f"m{FUNCTION:x},1") == "40"
            # as GDB does: out, step, in, go on
            g.ok(f"z0,{FUNCTION:x},1")
            eax = g.register(0)
            assert g.ask("vCont;s:1") == "T05thread:1;"
            assert g.register(8) == FUNCTION + 1 and g.register(0) == (eax + 1) & 0xFFFFFFFF
            g.ok(f"Z0,{FUNCTION:x},1")
        # a peer that does not: past it all the same
        assert g.ask("c") == "T05thread:1;swbreak:;"
        counter = u32(q, COUNTER)
        assert g.ask("c") == "T05thread:1;swbreak:;" and u32(q, COUNTER) == counter + 1
        g.ok(f"z0,{FUNCTION:x},1")
        assert g.ask(f"z0,{FUNCTION:x},1") == "E22"
        g.ok(f"Z1,{START:x},1")
        assert g.ask("c") == "T05thread:1;hwbreak:;" and g.register(8) == START
        g.ok(f"z1,{START:x},1")

        # watchpoints: write, read, access; the write is done when it is reported
        counter = u32(q, COUNTER)
        g.ok(f"Z2,{COUNTER:x},4")
        assert g.ask("c") == f"T05thread:1;watch:{COUNTER:x};" and u32(q, COUNTER) == counter + 1
        assert g.register(8) == START + 6
        g.ok(f"z2,{COUNTER:x},4")
        g.ok(f"Z3,{COUNTER + 1:x},1")
        assert g.ask("c") == f"T05thread:1;rwatch:{COUNTER + 1:x};"
        g.ok(f"z3,{COUNTER + 1:x},1")
        esp = g.register(4)
        g.ok(f"Z4,{esp - 4:x},4")
        assert g.ask("c") == f"T05thread:1;awatch:{esp - 4:x};" and g.register(8) == FUNCTION
        g.ok(f"z4,{esp - 4:x},4")

        # writing: memory, code (translated anew), registers
        g.ok("M300000,4:0badcafe")
        assert g.ask("m300000,4") == "0badcafe"
        g.ok(b"X300000,3:a}\x03}\x5d") # '#' and '}' escaped
        assert g.ask("m300000,3") == "61237d"
        g.ok(f"M{FUNCTION:x},1:48") # inc -> dec
        g.ok("P0=78563412")
        g.ok(f"P8={struct.pack('<I', FUNCTION).hex()}")
        assert g.ask("s") == "T05thread:1;" and g.register(0) == 0x12345677
        g.ok(f"M{FUNCTION:x},1:40")
        g.ok("P20=" + "00112233445566778899aabbccddeeff")
        assert g.ask("p20") == "00112233445566778899aabbccddeeff"
        g.ok("G" + g.ask("g"))
        assert g.ask("Pa=ffff0000") == "E14" # CS changes with a far transfer only

        # monitor commands, Ctrl-C
        assert bytes.fromhex(g.ask("qRcmd," + b"info version".hex())[1:]).startswith(b"novt") and g.receive() == "OK"
        g.ok("QStartNoAckMode")
        g.ack = False
        g.send("c")
        until(lambda: q.status() == "running", "c does not continue")
        g.s.sendall(b"\x03")
        assert g.receive() == "T02thread:1;" and q.status() == "paused"
        # stopped by someone else: GDB hears of it
        g.send("c")
        until(lambda: q.status() == "running", "c does not continue")
        q.call("stop")
        assert g.receive() == "T02thread:1;"
        g.ok("D")
        assert q.status() == "running"
        g.close()

        # gone without a word, with a breakpoint: it goes along
        g = GDB(vm)
        g.ask("?")
        g.ok(f"Z0,{START:x},1")
        assert g.ask("c").startswith("T05")
        g.close()
        q.call("cont")
        counter = u32(q, COUNTER)

        def goes_on():
            if q.status() in ("paused", "debug"): # stopped once more before the other end was seen to be gone
                q.call("cont")
            return u32(q, COUNTER) > counter + 100

        until(goes_on, "the breakpoint is still there")
        g = GDB(vm)
        g.ask("?")
        g.send("k")
        vm.end()


def test_hostile_gdb():
    with VM() as vm:
        q = QMP(vm)
        rng = random.Random(1)
        for attempt in range(12):
            g = GDB(vm)
            g.s.sendall(bytes(rng.randrange(256) for _ in range(rng.randrange(20000))))
            if attempt % 3 == 0:
                g.s.shutdown(socket.SHUT_WR)
                try:
                    while g.s.recv(65536):
                        pass
                except ConnectionError:
                    pass
            g.close()
            assert q.status() in ("running", "paused", "debug")
        q.call("cont")
        g = GDB(vm)
        assert g.ask("?") == "T05thread:1;"
        g.s.sendall(b"$g#00")
        until(lambda: g.byte() == b"-", "a wrong checksum is not refused")
        g.s.sendall(b"$g#zz")
        until(lambda: g.byte() == b"-", "no checksum is not refused")
        g.s.sendall(b"$m0,4$?#3f")
        assert g.receive() == "T05thread:1;"
        assert g.ask("m0," + "f" * 7)
        for bad in ("m", "m,", "m0", "mzz,4", "m0,zz", "m" + "f" * 100 + ",4", "M0", "M0,4:00", "M0,4:zzzzzzzz", "M0,ffffffff:00",
                    "X0,4:a", "X0,ffffffff:a", "G0", "G" + "z" * 616, "p", "pfffffff", "p999", "P", "P0", "P0=", "P0=0",
                    "P0=zzzzzzzz", "P999=0", "Z0", "Z0,", "Z0,0", "Z0,0,", "Z0,fffffffff,1", "Z2,0,0", "Z2,ffffffff,2",
                    "z0,1,1", "z4,1,1", "vCont;", "vCont;x", "vCont;c:2", "T2", "H", "Hg5", "qXfer:features:read:x:0,1",
                    "qXfer:features:read:target.xml:ffffffff,1", "qXfer:features:read:target.xml:", "qRcmd,0", "qRcmd,zz",
                    "qRcmd," + "41" * 2000, "Qqemu.sstep=99", "czz", "C05;zz"):
            assert g.ask(bad).startswith("E"), bad
        for empty in ("Z5,0,0", "Z", "x", "!", "vRun", "bc", "qFoo", "QFoo", "", "vFile:open"):
            assert g.ask(empty) == "", empty
        assert g.ask("m0," + "9" * 5) and g.ask("A" * 40000) == "E22"
        full = [g.ask(f"Z0,{0x500000 + n:x},1") for n in range(300)]
        assert full.count("OK") == 256 and full[-1] == "E22"
        full = [g.ask(f"Z2,{0x500000 + 8 * n:x},1") for n in range(40)]
        assert full.count("OK") == 32
        for n in range(32):
            g.ok(f"z2,{0x500000 + 8 * n:x},1")
        g.s.sendall(b"-" * 3000)
        for _ in range(3000):
            g.receive()
        # asks and does not read
        packet = g.frame("m100000,1f00")
        g.s.setblocking(False)
        try:
            for _ in range(20000):
                g.s.send(packet)
        except BlockingIOError:
            pass
        assert q.status() == "paused"
        g.close()
        q.call("cont")
        assert q.status() == "running"
        q.call("quit")
        vm.end()


def test_hostile_qmp():
    with VM() as vm:
        QMP(vm).close()
        q = QMP(vm)
        for bad in ("]", "}", "hello\n", "5\n", "{]", "[]", "[1]", "{}", '{"execute": 5}', '{"execute": "stop", "x": 1}',
                    '{"execute": "stop", "arguments": 5}', '{"execute": "stop", "arguments": []}', '{"execute": }',
                    '{"a": 1, "a": 2}', '{"execute": "\\ud800"}', '{"execute": "stop\\u0000"}', b'{"execute": "\xff\xfe"}',
                    '{"execute": "screendump", "arguments": {"filename": 99999999999999999999999}}', '{"x": NaN}',
                    '{"execute": "input-send-event", "arguments": {"events": [5, {}, {"type": "key"}]}}',
                    '{"execute": "send-key", "arguments": {"keys": [1]}}',
                    '{"execute": "send-key", "arguments": {"keys": [{"type": "number", "data": 9999}]}}',
                    '{"execute": "memsave", "arguments": {"val": -1, "size": -1, "filename": "/dev/null"}}',
                    '{"execute": "blockdev-change-medium", "arguments": {"filename": "x"}}'):
            j = q.raw(bad)
            assert "error" in j and j["error"]["desc"], (bad, j)
            q.send("\n")
        assert q.status() == "running"
        q.close()
        for large in (b"[" * 1000, b'{"x": "' + b"a" * 70000, b'{"execute": "' + b"[" * 70000):
            q = QMP(vm)
            q.send(large)
            try:
                assert "error" in q.answer()
                while q.line():
                    pass
                raise AssertionError("not disconnected")
            except (EOFError, ConnectionError):
                pass
            q.close()
        for partial in (b"", b"{", b'{"execute": "quit"', b'{"execute": "qmp_capa'):
            q = QMP(vm, negotiate=False)
            q.send(partial)
            q.close()
        # half-closed: the answers come all the same, then the end
        q = QMP(vm, negotiate=False)
        q.send('{"execute": "qmp_capabilities"}{"execute": "query-status"}')
        q.s.shutdown(socket.SHUT_WR)
        assert q.answer()["return"] == {} and q.answer()["return"]["running"]
        try:
            q.line()
            raise AssertionError("not closed")
        except EOFError:
            pass
        q.close()
        # asks and does not read; then the next peer is served
        q = QMP(vm)
        q.s.setblocking(False)
        try:
            for _ in range(20000):
                q.s.send(b'{"execute": "query-commands"}' * 50)
        except BlockingIOError:
            pass
        q.close()
        rng = random.Random(2)
        for _ in range(10):
            s = vm.connect("qmp")
            s.sendall(bytes(rng.choice(b'{}[]":,\\ \n\xff\x00ex12') for _ in range(rng.randrange(5000))))
            s.close()
        q = QMP(vm)
        assert q.status() == "running"
        q.call("quit")
        vm.end()


def main():
    global novt, engine
    args = [a for a in sys.argv[1:] if not a.startswith("--engine=")]
    engine = next((a.split("=")[1] for a in sys.argv[1:] if a.startswith("--engine=")), "bt")
    novt = args[0]
    tests = {k[5:]: f for k, f in globals().items() if k.startswith("test_")}
    for name in args[1:] or tests:
        start = time.monotonic()
        tests[name]()
        print(f"ok {name} ({time.monotonic() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
