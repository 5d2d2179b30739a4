# SPDX-License-Identifier: GPL-2.0-or-later
"""What the report says about the machine that measured."""
import glob
import os
import platform
import re
import subprocess
import time


def first(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            match = re.search(pattern, f.read(), re.M)
        return match[1].strip() if match else "?"
    except OSError:
        return "?"


def said(command, line=0):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        return done.stdout.strip().splitlines()[line].strip()
    except (OSError, IndexError, subprocess.SubprocessError):
        return "?"


def stolen():
    """Seconds since the start that the hypervisor gave the host's processors to others."""
    jiffies = first("/proc/stat", r"^cpu +(?:\d+ +){7}(\d+)")
    return int(jiffies) / os.sysconf("SC_CLK_TCK") if jiffies.isdigit() else 0.0


def facts(args):
    vulnerabilities = {}
    for path in sorted(glob.glob("/sys/devices/system/cpu/vulnerabilities/*")):
        vulnerabilities[os.path.basename(path)] = first(path, r"(.*)")
    return {
        "cpu": first("/proc/cpuinfo", r"^model name\s*: (.*)"), "cores": os.cpu_count(), "kernel": platform.release(),
        "memory": first("/proc/meminfo", r"^MemTotal:\s*(.*)"), "qemu": said(["qemu-system-i386", "--version"]),
        "novt": said([args.novt, "--version"]), "commit": commit(),
        "guest_kernels": {k: first(os.path.join(args.guest, "release-" + k), r"(.*)") for k in ("686", "686-pae")},
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"), "load": os.getloadavg(), "vulnerabilities": vulnerabilities,
    }


def commit():
    """Of the tree that this file is in, with a mark when it has changes."""
    here = os.path.dirname(os.path.abspath(__file__))
    text = said(["git", "-C", here, "describe", "--always", "--dirty"])
    return text
