/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the boot loaders share: reading image files, recognising formats, the memory map, the flat GDT.
 *
 * Image files are untrusted and so is everything in them: sizes and offsets are checked against the file and
 * against RAM before use, in 64 bits. Each refusal says what is wrong with which file and, where there is
 * one, the way out. Files are read again at every reset rather than kept: a 100 MiB initrd should not stay in
 * the process twice.
 */
#include "machine/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_fail(struct boot *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->error, sizeof(b->error), fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int open_image(struct boot *b, const char *what, const char *path, u64 *size)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; fstat() then refuses it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return boot_fail(b, "cannot open %s '%s': %s", what, path, strerror(errno));
    int err = 0;
    if (fstat(fd, &st))
        err = boot_fail(b, "cannot read %s '%s': %s", what, path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        err = boot_fail(b, "%s '%s' is a directory: give an image file", what, path);
    else if (!S_ISREG(st.st_mode))
        err = boot_fail(b, "%s '%s' is not a regular file: copy it into one first", what, path);
    else if (!st.st_size)
        err = boot_fail(b, "%s '%s' is empty", what, path);
    if (err) {
        close(fd);
        return err;
    }
    *size = (u64)st.st_size;
    return fd;
}

/* Reads exactly len bytes at off. */
static int read_exact(struct boot *b, int fd, const char *what, const char *path, u8 *buf, u64 len, u64 off)
{
    while (len) {
        ssize_t n = pread(fd, buf, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return boot_fail(b, "cannot read %s '%s': %s", what, path, strerror(errno));
        if (!n)
            return boot_fail(b, "%s '%s' became shorter while it was read", what, path);
        buf += n;
        off += (u64)n;
        len -= (u64)n;
    }
    return 0;
}

int boot_file_size(struct boot *b, const char *what, const char *path, u64 *size)
{
    int fd = open_image(b, what, path, size);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int boot_read_file(struct boot *b, const char *what, const char *path, u8 **data, u64 *size)
{
    int fd = open_image(b, what, path, size);
    if (fd < 0)
        return fd;
    int err = 0;
    *data = NULL;
    if (*size > b->ram.size)
        err =
            boot_fail(b, "%s '%s' (%llu KiB) is larger than the guest's memory (%llu KiB): give more with -m",
                      what, path, (unsigned long long)(*size / KiB), (unsigned long long)(b->ram.size / KiB));
    else if (!(*data = malloc(*size)))
        err = boot_fail(b, "no host memory to read %s '%s'", what, path);
    else
        err = read_exact(b, fd, what, path, *data, *size, 0);
    close(fd);
    if (err) {
        free(*data);
        *data = NULL;
    }
    return err;
}

int boot_copy_file(struct boot *b, const char *what, const char *path, u64 gpa, u64 size)
{
    enum { CHUNK = 256 * 1024 };
    u64 now;
    int fd = open_image(b, what, path, &now);
    if (fd < 0)
        return fd;
    u8 *buf = malloc(CHUNK);
    int err = 0;
    if (!buf)
        err = boot_fail(b, "no host memory to read %s '%s'", what, path);
    for (u64 off = 0; !err && off < size; off += CHUNK) {
        u64 n = size - off < CHUNK ? size - off : CHUNK;
        err = read_exact(b, fd, what, path, buf, n, off);
        if (!err)
            b->ram.write(b->ram.opaque, gpa + off, buf, n);
    }
    free(buf);
    close(fd);
    return err;
}

void boot_zero(struct boot *b, u64 gpa, u64 len)
{
    static const u8 zero[4096];
    while (len) {
        u64 n = len < sizeof(zero) ? len : sizeof(zero);
        b->ram.write(b->ram.opaque, gpa, zero, n);
        gpa += n;
        len -= n;
    }
}

bool boot_is_ram(const struct boot *b, u64 gpa, u64 len)
{
    if (gpa > b->ram.size || len > b->ram.size - gpa)
        return false;
    return !(gpa < 768 * KiB && gpa + len > 640 * KiB);
}

int boot_e820(const struct boot *b, struct e820_entry e[E820_MAX])
{
    /* The last KiB of base memory is the extended BIOS data area, F0000h-FFFFFh the BIOS, as on any PC. */
    int n = 0;
    e[n++] = (struct e820_entry){0, 0x9fc00, 1};
    e[n++] = (struct e820_entry){0x9fc00, 0x400, 2};
    e[n++] = (struct e820_entry){0xf0000, 0x10000, 2};
    if (b->ram.size > MiB)
        e[n++] = (struct e820_entry){MiB, b->ram.size - MiB, 1};
    return n;
}

void boot_write_gdt(struct boot *b, u32 gpa)
{
    /* Selectors 10h and 18h are __BOOT_CS and __BOOT_DS of Linux' 32-bit boot protocol; multiboot leaves them
     * open. */
    static const u64 table[4] = {0, 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull};
    u8 bytes[sizeof(table)];
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        put64(bytes + 8 * i, table[i]);
    b->ram.write(b->ram.opaque, gpa, bytes, sizeof(bytes));
    b->entry.gdt_base = gpa;
    b->entry.gdt_limit = sizeof(bytes) - 1;
    b->entry.cs = 0x10;
    b->entry.ds = 0x18;
}

/* The few BIOS data that an operating system reads from low memory even when no BIOS ran. */
static void write_bios_data(struct boot *b)
{
    u8 bda[0x100] = {0};
    put16(bda + 0x00, 0x3f8); /* COM1, COM2 */
    put16(bda + 0x02, 0x2f8);
    put16(bda + 0x0e, 0x9fc0); /* segment of the extended BIOS data area */
    put16(bda + 0x10, 0x0402); /* equipment: FPU, two serial ports */
    put16(bda + 0x13, 639);    /* KiB of base memory */
    if (b->screen) {
        bda[0x49] = 3; /* mode, columns, CRTC's port, rows - 1, lines of a character */
        put16(bda + 0x4a, 80);
        put16(bda + 0x63, 0x3d4);
        bda[0x84] = 24;
        put16(bda + 0x85, 16);
    }
    b->ram.write(b->ram.opaque, 0x400, bda, sizeof(bda));
    u8 ebda_kib = 1;
    b->ram.write(b->ram.opaque, 0x9fc00, &ebda_kib, 1);
}

/* Names what people give by mistake, so that the error can say more than "unknown". */
static const char *guess_format(const u8 *p, u64 len)
{
    if (len >= 20 && !memcmp(p, "\177ELF", 4)) {
        if (p[4] == 2)
            return "a 64-bit ELF file; novt runs 32-bit x86 guests";
        if (p[5] != 1 || get16(p + 18) != 3)
            return "an ELF file for another processor; novt runs 32-bit x86 guests";
        return "an ELF file without a multiboot header; for Linux give the bzImage (vmlinuz) instead of "
               "vmlinux";
    }
    if (len >= 64 && !memcmp(p + 0x38, "ARM\x64", 4))
        return "a 64-bit ARM Linux image; novt runs 32-bit x86 guests";
    if (len >= 64 && get32(p + 0x24) == 0x016f2818)
        return "an ARM Linux image; novt runs 32-bit x86 guests";
    if (len >= 64 && get32(p + 0x30) == 0x05435352)
        return "a RISC-V Linux image; novt runs 32-bit x86 guests";
    if (p[0] == 0x1f && len > 2 && p[1] == 0x8b)
        return "a gzip file; decompress it first";
    if (len > 6 && !memcmp(p,
                           "\xfd"
                           "7zXZ",
                           6))
        return "an xz file; decompress it first";
    if (len > 0x8006 && !memcmp(p + 0x8001, "CD001", 5))
        return "an ISO 9660 image; novt cannot boot disks yet, take the kernel out of it";
    if (len > 6 && (!memcmp(p, "070701", 6) || !memcmp(p, "070702", 6)))
        return "a cpio archive; that looks like an initrd";
    if (len > 8 && !memcmp(p, "!<arch>\n", 8))
        return "an archive; if it is a Debian package, extract it with dpkg-deb -x";
    if (len > 2 && p[0] == 'M' && p[1] == 'Z')
        return "an EFI or DOS program without a Linux boot header";
    return NULL;
}

int boot_load(struct boot *b)
{
    u8 *image;
    u64 len;
    memset(&b->entry, 0, sizeof(b->entry));
    b->error[0] = 0;
    int err = boot_read_file(b, "kernel", b->kernel, &image, &len);
    if (err)
        return err;
    write_bios_data(b);
    const char *guess = guess_format(image, len);
    if (multiboot_probe(image, len))
        err = multiboot_load(b, image, len);
    else if (linux_probe(image, len))
        err = linux_load(b, image, len);
    else if (guess)
        err = boot_fail(b, "kernel '%s' is %s", b->kernel, guess);
    else if (linux_probe_old(image, len))
        err = boot_fail(
            b,
            "kernel '%s' looks like a Linux image older than boot protocol 2.00 (before 1.3.73) or a boot "
            "disk: novt needs a bzImage with protocol 2.00 or newer",
            b->kernel);
    else if (len < 1024)
        err = boot_fail(b, "kernel '%s' is only %llu bytes long: it is truncated or not a kernel", b->kernel,
                        (unsigned long long)len);
    else
        err = boot_fail(
            b,
            "kernel '%s' is neither a Linux bzImage nor a multiboot kernel (no HdrS mark at offset 202h "
            "and no multiboot header in its first 8 KiB)",
            b->kernel);
    free(image);
    return err;
}
