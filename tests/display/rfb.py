# SPDX-License-Identifier: GPL-2.0-or-later
"""A small RFB client (RFC 6143): raw rectangles, resizing, keys, pointer. For tests."""
import socket
import struct

RAW, DESKTOP_SIZE, EXTENDED_KEYS = 0, -223, -258


def des_bits(key):
    """VNC's DES takes the key's bits in the other order."""
    return bytes(int("{:08b}".format(b)[::-1], 2) for b in key)


class Client:
    def __init__(self, address, password=None, encodings=(RAW, DESKTOP_SIZE), timeout=60):
        if isinstance(address, str):
            self.s = socket.socket(socket.AF_UNIX)
            self.s.settimeout(timeout)
            self.s.connect(address)
        else:
            self.s = socket.create_connection(address, timeout)
        self.extended_keys = False
        self.updates = 0
        version = self.read(12)
        assert version.startswith(b"RFB 003."), version
        self.s.sendall(b"RFB 003.008\n")
        count = self.read(1)[0]
        if not count:
            raise ConnectionError(self.read(struct.unpack(">I", self.read(4))[0]))
        types = self.read(count)
        if password is None:
            assert 1 in types, types
            self.s.sendall(b"\1")
        else:
            assert 2 in types, types
            self.s.sendall(b"\2")
            self.s.sendall(encrypt(self.read(16), password))
        if struct.unpack(">I", self.read(4))[0]:
            raise PermissionError(self.read(struct.unpack(">I", self.read(4))[0]).decode())
        self.s.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.format = self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        self.pixels = bytearray(self.width * self.height * 4)
        # 32 bits, little-endian, red at 16
        self.s.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.s.sendall(struct.pack(">BxH%di" % len(encodings), 2, len(encodings), *encodings))

    def read(self, n):
        data = b""
        while len(data) < n:
            part = self.s.recv(n - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def request(self, incremental=True):
        self.s.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def message(self):
        """Handles one message; returns its type."""
        kind = self.read(1)[0]
        if kind == 0:
            _, count = struct.unpack(">BH", self.read(3))
            for _ in range(count):
                x, y, w, h, encoding = struct.unpack(">HHHHi", self.read(12))
                if encoding == RAW:
                    self.updates += 1
                    data = self.read(w * h * 4)
                    for row in range(h):
                        at = ((y + row) * self.width + x) * 4
                        self.pixels[at:at + w * 4] = data[row * w * 4:(row + 1) * w * 4]
                elif encoding == DESKTOP_SIZE:
                    self.width, self.height = w, h
                    self.pixels = bytearray(w * h * 4)
                elif encoding == EXTENDED_KEYS:
                    self.extended_keys = True
                else:
                    raise ValueError("encoding %d" % encoding)
        elif kind == 2:
            pass
        elif kind == 3:
            self.read(struct.unpack(">xxxI", self.read(7))[0])
        else:
            raise ValueError("message %d" % kind)
        return kind

    def key(self, keysym, down):
        self.s.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def press(self, *keysyms):
        for k in keysyms:
            self.key(k, True)
        for k in reversed(keysyms):
            self.key(k, False)

    def type(self, text):
        for c in text:
            self.press({"\n": 0xff0d, "\b": 0xff08}.get(c, ord(c)))

    def raw_key(self, keysym, code, down):
        self.s.sendall(struct.pack(">BBHII", 255, 0, down, keysym, code))

    def pointer(self, buttons, x, y):
        self.s.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def close(self):
        self.s.close()


def encrypt(challenge, password):
    """DES of the challenge: no package that is always there has it any more."""
    key = des_bits(password.encode()[:8].ljust(8, b"\0"))
    return des(key, challenge[:8]) + des(key, challenge[8:])


# DES, straight from FIPS 46-3.
IP = [58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24,
      16, 8, 57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39,
      31, 23, 15, 7]
FP = [IP.index(i) + 1 for i in range(1, 65)]
E = [32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18, 19, 20, 21, 20, 21, 22,
     23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1]
P = [16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25]
PC1 = [57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55,
       47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4]
PC2 = [14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30,
       40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32]
SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
S = [
    "e4d12fb83a6c5907" "0f74e2d1a6cb9538" "41e8d62bfc973a50" "fc8249175b3ea06d",
    "f18e6b34972dc05a" "3d47f28ec01a69b5" "0e7ba4d158c6932f" "d8a13f42b67c05e9",
    "a09e63f51dc7b428" "d709346a285ecbf1" "d6498f30b12c5ae7" "1ad069874fe3b52c",
    "7de3069a1285bc4f" "d8b56f03472c1ae9" "a690cb7df13e5284" "3f06a1d8945bc72e",
    "2c417ab6853fd0e9" "eb2c47d150fa3986" "421bad78f9c5630e" "b8c71e2d6f09a453",
    "c1af92680d34e75b" "af427c9561de0b38" "9ef528c3704a1db6" "432c95fabe17608d",
    "4b2ef08d3c975a61" "d0b7491ae35c2f86" "14bdc37eaf680592" "6bd814a7950fe23c",
    "d2846fb1a93e50c7" "1fd8a374c56b0e92" "7b419ce206adf358" "21e74a8dfc90356b",
]


def permute(bits, table):
    return [bits[i - 1] for i in table]


def to_bits(data):
    return [b >> (7 - i) & 1 for b in data for i in range(8)]


def des(key, block):
    k = permute(to_bits(key), PC1)
    c, d = k[:28], k[28:]
    keys = []
    for n in SHIFTS:
        c, d = c[n:] + c[:n], d[n:] + d[:n]
        keys.append(permute(c + d, PC2))
    b = permute(to_bits(block), IP)
    left, right = b[:32], b[32:]
    for k in keys:
        x = [a ^ b for a, b in zip(permute(right, E), k)]
        out = []
        for i in range(8):
            six = x[i * 6:i * 6 + 6]
            row, col = six[0] * 2 + six[5], six[1] * 8 + six[2] * 4 + six[3] * 2 + six[4]
            out += [int(S[i][row * 16 + col], 16) >> (3 - j) & 1 for j in range(4)]
        left, right = right, [a ^ b for a, b in zip(left, permute(out, P))]
    b = permute(right + left, FP)
    return bytes(int("".join(map(str, b[i:i + 8])), 2) for i in range(0, 64, 8))
