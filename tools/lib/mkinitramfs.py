#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes an initramfs (cpio "newc") without root and always the same for the same inputs.

    mkinitramfs.py OUT [dir:PATH | file:PATH=SOURCE[:MODE] | link:PATH=TARGET | char:PATH=MAJOR,MINOR[:MODE] |
                        tree:PATH=FOLDER | archive:FILE]...

Compressed with gzip if OUT ends in .gz. tree takes a folder with all that is in it; archive puts another initramfs,
compressed or not, before this one: the kernel unpacks them in turn.
"""
import gzip
import os
import stat
import sys


class Archive:
    def __init__(self):
        self.parts, self.inode = [], 0

    def add(self, path, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        name = path.strip("/").encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, rdev[0], rdev[1],
                  len(name), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
        self.parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def add_tree(self, path, folder):
        """Files, folders and symbolic links, with their permissions, owned by root."""
        for where, folders, files in os.walk(folder):
            folders.sort()
            inside = os.path.join(path, os.path.relpath(where, folder))
            self.add(os.path.normpath(inside), stat.S_IFDIR | stat.S_IMODE(os.stat(where).st_mode))
            for name in sorted(files + [f for f in folders if os.path.islink(os.path.join(where, f))]):
                source, target = os.path.join(where, name), os.path.normpath(os.path.join(inside, name))
                if os.path.islink(source):
                    self.add(target, stat.S_IFLNK | 0o777, os.readlink(source).encode())
                elif os.path.isfile(source):
                    with open(source, "rb") as f:
                        self.add(target, stat.S_IFREG | stat.S_IMODE(os.stat(source).st_mode), f.read())

    def bytes(self):
        self.inode = -1
        self.add("TRAILER!!!", 0)
        blob = b"".join(self.parts)
        return blob + b"\0" * (-len(blob) % 512)


def main():
    out, entries = sys.argv[1], sys.argv[2:]
    archive, before = Archive(), b""
    for entry in entries:
        kind, rest = entry.split(":", 1)
        path, _, value = rest.partition("=")
        mode = None
        if kind in ("file", "char") and ":" in value:
            value, text = value.rsplit(":", 1)
            mode = int(text, 8)
        if kind == "archive":
            with open(rest, "rb") as f:
                before += f.read()
            before += b"\0" * (-len(before) % 4)
        elif kind == "tree":
            archive.add_tree(path, value)
        elif kind == "dir":
            archive.add(path, stat.S_IFDIR | 0o755)
        elif kind == "file":
            with open(value, "rb") as f:
                archive.add(path, stat.S_IFREG | (mode or 0o644), f.read())
        elif kind == "link":
            archive.add(path, stat.S_IFLNK | 0o777, value.encode())
        elif kind == "char":
            major, minor = (int(n) for n in value.split(","))
            archive.add(path, stat.S_IFCHR | (mode or 0o600), rdev=(major, minor))
        else:
            sys.exit(f"mkinitramfs: unknown entry {entry!r}")
    temporary = out + ".new"
    with open(temporary, "wb") as f:
        f.write(before + (gzip.compress(archive.bytes(), 6, mtime=0) if out.endswith(".gz") else archive.bytes()))
    os.replace(temporary, out)


if __name__ == "__main__":
    main()
