# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as one self-contained HTML file."""


def page(data, run, programs):
    return "<!DOCTYPE html>\n"
