# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run consists of. A session is one way to boot the guest (kernel, initramfs, command line), the engines that are
compared in it and the programs they run. Within a session every engine boots, and then the programs go round: each
program by every engine in turn before the next program, so that what the machine does meanwhile hits all alike."""
from .programs import members
from .vmm import CODE_CACHE

PEERS = ["native", "novt", "qemu"]
# What system calls, switches and faults cost: the part that the guest's mitigations and page-table isolation change.
KERNEL_BOUND = ["getppid", "getppid-sysenter", "forkwait", "forkexec", "pingpong", "pagefault"]


class Session:
    def __init__(self, name, title, engines, programs, kernel="686", initrd="initramfs.gz", append="", reps=None, tcg_scale=1.0):
        self.name, self.title, self.engines, self.programs = name, title, engines, programs
        self.kernel, self.initrd, self.append, self.reps, self.tcg_scale = kernel, initrd, append, reps, tcg_scale


def plan(programs, quick, switches, peers):
    """[Session] of a whole run. switches: names for --no-opt; peers: installed VMMs besides QEMU."""
    compile_only = members(programs, "compile")
    everything = [p for p in programs if p not in compile_only]
    sessions = [
        Session("main", "default mitigations, without PAE", PEERS, everything),
        Session("cc", "C compile", PEERS + [CODE_CACHE], compile_only, initrd="initramfs-cc"),
        Session("pae", "PAE kernel, page-table isolation on", PEERS, KERNEL_BOUND[:2] if quick else KERNEL_BOUND, kernel="686-pae",
                tcg_scale=0.2),
        Session("off", "mitigations=off", PEERS, KERNEL_BOUND if quick else everything, append="mitigations=off"),
        Session("nano", "nano: a kernel that times itself", PEERS, []),
    ]
    if not quick:
        sessions += [
            Session("switches", "each optimisation off", ["novt"] + [f"novt-no-{s}" for s in switches], everything, reps=2),
            Session("switches-cc", "each optimisation off, C compile", ["novt"] + [f"novt-no-{s}" for s in switches], compile_only[:1],
                    initrd="initramfs-cc", reps=2),
            Session("interpreters", "interpreters", ["native", "novt-interp"] + peers, everything, reps=1),
        ]
    return sessions
