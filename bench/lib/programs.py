# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of programs, read from bench/user/programs.txt: what there is, in which groups, how much work for whom."""
import os

GROUP_TITLES = {
    "integer": "user integer", "fp": "user floating point", "call": "call-heavy", "memory": "memory operations",
    "big": "big working set", "system": "system", "compile": "gcc compile", "boot": "boot", "nano": "nano",
}
BOOT = "boot"


class Program:
    def __init__(self, name, groups, percents):
        self.name, self.groups, self.percents = name, groups, percents

    def percent(self, kind, scale):
        """Percent of the full work for a kind of engine: native, bt, tcg or interp."""
        return max(1, round(self.percents["bt" if kind == "native" else kind] * (1 if self.groups == ["compile"] else scale)))


def load(path=None):
    """{name: Program} in the file's order."""
    path = path or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "user", "programs.txt")
    programs = {}
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) < 6:
                raise ValueError(f"{path}:{number}: name, source, group and three percentages are needed")
            name, groups = words[0], words[2].split(",")
            unknown = [g for g in groups if g not in GROUP_TITLES]
            if name in programs or unknown:
                raise ValueError(f"{path}:{number}: {name} is there twice, or unknown group {unknown}")
            programs[name] = Program(name, groups, {k: int(v) for k, v in zip(("bt", "tcg", "interp"), words[3:6])})
    return programs


def members(programs, group):
    return [p.name for p in programs.values() if group in p.groups]
