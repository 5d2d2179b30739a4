# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of screens: PNG files in and out, and whether two of them show the same.

A picture is (width, height, rows), a row is bytes of R, G, B. QEMU doubles the pixels of low resolutions as a monitor does,
novt shows the mode's own; reduce() brings both to the fewest pixels that show the same.
"""
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_png(data):
    """8-bit grey, RGB, RGBA or palette, not interlaced. ValueError for anything else, or a file that is half there."""
    if data[:8] != SIGNATURE:
        raise ValueError("not a PNG file")
    pos, packed, palette, head = 8, b"", None, None
    while True:
        if pos + 12 > len(data):
            raise ValueError("the file ends early")
        size, kind = struct.unpack(">I4s", data[pos:pos + 8])
        body = data[pos + 8:pos + 8 + size]
        pos += 12 + size
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND":
            break
    width, height, depth, colour, _, _, interlaced = head
    channels = {0: 1, 2: 3, 3: 1, 6: 4}.get(colour)
    if channels is None or interlaced or depth != 8:
        raise ValueError("PNG of a kind that is not read here")
    raw = zlib.decompress(packed)
    stride = width * channels
    if len(raw) < (stride + 1) * height:
        raise ValueError("the picture ends early")
    rows, above = [], bytes(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        unfilter(kind, line, above, channels)
        above = bytes(line)
        if colour == 2:
            rows.append(above)
        elif colour == 6:
            rows.append(bytes(b for i, b in enumerate(above) if i & 3 != 3))
        elif colour == 0:
            rows.append(bytes(b for v in above for b in (v, v, v)))
        else:
            rows.append(b"".join(palette[3 * v:3 * v + 3] for v in above))
    return width, height, rows


def unfilter(kind, line, above, step):
    """PNG specification, section 9.2."""
    if kind == 0:
        return
    if kind == 2:
        for i, up in enumerate(above):
            line[i] = (line[i] + up) & 255
        return
    for i in range(len(line)):
        left = line[i - step] if i >= step else 0
        if kind == 1:
            line[i] = (line[i] + left) & 255
        elif kind == 3:
            line[i] = (line[i] + (left + above[i]) // 2) & 255
        elif kind == 4:
            up, corner = above[i], above[i - step] if i >= step else 0
            guess = left + up - corner
            a, b, c = abs(guess - left), abs(guess - up), abs(guess - corner)
            line[i] = (line[i] + (left if a <= b and a <= c else up if b <= c else corner)) & 255
        else:
            raise ValueError("unknown filter")


def write_png(pic):
    """With a palette where there are at most 256 colours, so that references stay small."""
    width, height, rows = pic
    colours = {}
    for row in rows:
        for x in range(0, len(row), 3):
            colours.setdefault(row[x:x + 3], len(colours))
        if len(colours) > 256:
            break

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    if len(colours) <= 256:
        head, extra = (8, 3), chunk(b"PLTE", b"".join(colours))
        raw = b"".join(b"\0" + bytes(colours[r[x:x + 3]] for x in range(0, len(r), 3)) for r in rows)
    else:
        head, extra = (8, 2), b""
        raw = b"".join(b"\0" + r for r in rows)
    return (SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *head, 0, 0, 0)) + extra +
            chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def half_row(row):
    """The row with half as many pixels, or None when neighbours differ."""
    if any(row[c::6] != row[c + 3::6] for c in range(3)):
        return None
    half = bytearray(len(row) // 2)
    for c in range(3):
        half[c::3] = row[c::6]
    return bytes(half)


def reduce(pic):
    width, height, rows = pic
    while width % 2 == 0 and width > 1:
        halves = []
        for r in rows:
            half = half_row(r)
            if half is None:
                break
            halves.append(half)
        if len(halves) != height:
            break
        width, rows = width // 2, halves
    while height % 2 == 0 and height > 1 and all(rows[y] == rows[y + 1] for y in range(0, height, 2)):
        height, rows = height // 2, rows[::2]
    return width, height, rows


def differ(got, want, bits=6):
    """None when both show the same in the upper bits of each channel, otherwise a description of the first difference."""
    got, want = reduce(got), reduce(want)
    if got[:2] != want[:2]:
        return "%dx%d pixels, want %dx%d" % (got[:2] + want[:2])
    upper = bytes(v >> (8 - bits) for v in range(256))
    bad, first = 0, None
    for y, (a, b) in enumerate(zip(got[2], want[2])):
        p, q = a.translate(upper), b.translate(upper)
        if p == q:
            continue
        for x in range(0, len(a), 3):
            if p[x:x + 3] != q[x:x + 3]:
                bad += 1
                first = first or (x // 3, y, a[x:x + 3].hex(), b[x:x + 3].hex())
    return "%d pixels differ, the first at %d,%d: %s, want %s" % ((bad,) + first) if bad else None
