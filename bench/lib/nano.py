# SPDX-License-Identifier: GPL-2.0-or-later
"""The nano session: a multiboot kernel that times single operations by TSC and prints "NAME CYCLES" lines."""


def repetition(measurement, session, rep):
    """Nothing is built for it yet."""
