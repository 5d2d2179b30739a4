#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the guest kernel again with the translations of a run before, and with files that are no good.

    code_cache.py --vmm PROGRAM KERNEL [-- more options of novt]

All checks of the kernel must pass each time; what was taken over from the file is counted.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ALL = "seg,idt,paging,user,flags,gate,string,smc,flow,ret,debug,fpu,task,ring,corner,again"
USAGE = 2  # exit status


class Runs:
    def __init__(self, args, folder):
        self.args, self.folder, self.bad = args, folder, 0
        self.file = os.path.join(folder, "translations")

    def run(self, what, subjects=ALL, more=(), status=33):
        """The run's counters, and what it said."""
        stats = os.path.join(self.folder, "stats.json")
        if os.path.exists(stats):
            os.remove(stats)
        done = subprocess.run([self.args.vmm, "-kernel", self.args.kernel, "-append", "exact only=" + subjects, "-m", "64", "-nographic", "-no-reboot",
                               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "--stats=" + stats, "--code-cache=" + self.file,
                               *self.args.more, *more],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=170)
        text = done.stdout.decode("utf-8", "replace")
        self.check(what, done.returncode == status, f"exit status {done.returncode}: {text[-600:] if done.returncode != status else ''}")
        counters = {}
        if os.path.exists(stats):
            with open(stats, encoding="utf-8") as f:
                counters = json.load(f)
        return counters, text

    def check(self, what, good, seen=""):
        print(("ok " if good else "FAIL ") + what, seen)
        self.bad += not good

    def bytes(self):
        with open(self.file, "rb") as f:
            return f.read()

    def put(self, data, mode=0o600):
        with open(self.file, "wb") as f:
            f.write(data)
        os.chmod(self.file, mode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", required=True)
    parser.add_argument("kernel")
    parser.add_argument("more", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        r = Runs(args, folder)
        first, _ = r.run("without a file")
        r.check("nothing to take over", first["tc_adopted"] == 0, first["tc_adopted"])
        r.check("others cannot read it", os.stat(r.file).st_mode & 0o777 == 0o600)
        second, _ = r.run("with it")
        r.check("most is taken over", second["tc_adopted"] > 1000 and second["tc_adopted_pages"] > 10, second["tc_adopted"])
        # How much less is translated is only sure without windows: which pages' code runs in one is a matter of time, and
        # code of one form is of no use where the other is wanted.
        whole, r.file = r.file, os.path.join(folder, "no-windows")
        none, _ = r.run("without windows or a file", "paging,flow", ["--no-opt=window"])
        some, _ = r.run("without windows, with a file", "paging,flow", ["--no-opt=window"])
        r.check("little is translated", some["tc_fragments"] < none["tc_fragments"] // 10, (none["tc_fragments"], some["tc_fragments"]))
        r.file = whole
        third, _ = r.run("other subjects, that were there", "smc,again,paging,fpu")
        r.check("they are taken over, too", third["tc_adopted"] > 300, third["tc_adopted"])
        r.run("and some that were not", "alu,misc,v86,pae,nest,irq")
        fifth, _ = r.run("all of it again")
        r.check("it is still there", fifth["tc_adopted"] > 1000, fifth["tc_adopted"])

        good, inode = r.bytes(), os.stat(r.file).st_ino
        r.run("little that is new", "seg")
        r.check("is not written", os.stat(r.file).st_ino == inode and r.bytes() == good)
        damaged = bytearray(good)
        damaged[len(good) // 2] ^= 0x10
        r.put(damaged)
        counters, text = r.run("a damaged file", "seg")
        r.check("is named", "is damaged" in text)
        r.check("is not used, but replaced", counters["tc_adopted"] == 0 and r.bytes() != damaged)
        counters, _ = r.run("what it was replaced by", "seg")
        r.check("is good", counters["tc_adopted"] > 50, counters["tc_adopted"])
        counters, text = r.run("with other options", "seg", ["--no-opt=align"])
        r.check("it is of no use, and replaced silently", counters["tc_adopted"] == 0 and "code-cache" not in text)
        counters, _ = r.run("these again", "seg", ["--no-opt=align"])
        r.check("find theirs", counters["tc_adopted"] > 50, counters["tc_adopted"])
        r.run("branches not counted", "seg", ["--no-opt=profile"])
        counters, _ = r.run("and again", "seg", ["--no-opt=profile"])
        r.check("what was copied is good", counters["tc_adopted"] > 50, counters["tc_adopted"])

        r.put(good)
        counters, text = r.run("too large for the cache", "seg", ["--tcache-size=1M"])
        r.check("is said, and it stays", "more than half" in text and counters["tc_adopted"] == 0 and r.bytes() == good, text[-200:])
        for what, data, mode in (("somebody else's file", b"#!/bin/sh\nexit 0\n" * 100, 0o600), ("a file that others may write", good, 0o666)):
            r.put(data, mode)
            _, text = r.run(what, "seg", status=USAGE)
            r.check("is refused, and stays", "--code-cache" in text and r.bytes() == data, text[-200:])
        os.remove(r.file)
        r.run("together with --kick", "seg", ["--kick=fragment"], status=USAGE)
        r.run("together with the interpreter", "seg", ["--engine=interp"], status=USAGE)
        r.file = os.path.join(folder, "no", "such", "folder")
        _, text = r.run("where no file can be", "seg")
        r.check("the guest runs, and then it is said", "--code-cache: cannot write" in text)
        return 1 if r.bad else 0


if __name__ == "__main__":
    sys.exit(main())
