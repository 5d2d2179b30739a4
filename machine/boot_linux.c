/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux boot protocol (Documentation/x86/boot.rst in the kernel's sources), its 32-bit entry.
 *
 * A bzImage is a boot sector with the setup header at 1F1h, setup_sects sectors of real-mode code (which we
 * skip, as there is no BIOS for it to ask), and the protected-mode part. We put the latter at 1 MiB (a
 * zImage: at 1000h, where its setup code would have moved it), the initrd as high as the header and RAM
 * allow, and fill the "zero page", struct boot_params, with the setup header, the command line's address and
 * the e820 map. Then the CPU enters code32_start in flat protected mode, ESI = zero page, EBP = EDI = EBX =
 * 0, interrupts off.
 *
 * Low memory: 90000h zero page, 91000h GDT, 92000h-9E000h command line. Protocols before 2.02 find their
 * command line relative to 90000h, which is why the zero page is there.
 *
 * The file is untrusted: every size of the header is checked against the file and RAM before it is used.
 */
#include "machine/boot.h"

#include <errno.h>
#include <string.h>

#define ZERO_PAGE    0x90000u
#define GDT_ADDR     0x91000u
#define CMDLINE_ADDR 0x92000u
#define CMDLINE_ROOM 0xc000u

/* Offsets in the setup header, which has the same ones in the file and in the zero page. */
enum {
    H_SETUP_SECTS = 0x1f1,
    H_SYSSIZE = 0x1f4,
    H_VID_MODE = 0x1fa,
    H_BOOT_FLAG = 0x1fe,
    H_JUMP = 0x200,
    H_MAGIC = 0x202,
    H_VERSION = 0x206,
    H_LOADER = 0x210,
    H_LOADFLAGS = 0x211,
    H_CODE32 = 0x214,
    H_RAMDISK = 0x218,
    H_RAMDISK_SIZE = 0x21c,
    H_CMDLINE = 0x228,
    H_INITRD_MAX = 0x22c,
    H_ALIGN = 0x230,
    H_RELOCATABLE = 0x234,
    H_XLOADFLAGS = 0x236,
    H_CMDLINE_SIZE = 0x238,
    H_PREF_ADDRESS = 0x258,
    H_INIT_SIZE = 0x260,
};

/* Offsets in struct boot_params outside the setup header. */
enum {
    Z_EXT_MEM_K = 0x02,
    Z_VIDEO_MODE = 0x06, /* struct screen_info begins at 0 */
    Z_VIDEO_COLS = 0x07,
    Z_VIDEO_EGA_BX = 0x0a,
    Z_VIDEO_LINES = 0x0e,
    Z_VIDEO_ISVGA = 0x0f,
    Z_VIDEO_POINTS = 0x10,
    Z_CL_MAGIC = 0x20, /* command line of protocols before 2.02 */
    Z_CL_OFFSET = 0x22,
    Z_ALT_MEM_K = 0x1e0,
    Z_E820_COUNT = 0x1e8,
    Z_E820 = 0x2d0,
};

#define LOADED_HIGH   0x01
#define XLF_KERNEL_64 0x01

struct linux_image {
    const u8 *file;
    u64 len;
    u32 version;
    bool high;      /* bzImage */
    u32 header_end; /* end of the setup header in the file */
    u64 pm_offset;  /* protected-mode part in the file */
    u64 pm_len;
    u64 load;       /* its address */
    u64 run_end;    /* end of what the kernel needs before it reads its memory map */
    u64 initrd_max; /* highest address the initrd may occupy */
    u64 initrd, initrd_len;
    u32 cmdline_max;
};

bool linux_probe(const u8 *image, u64 len)
{
    return len >= 0x206 && get16(image + H_BOOT_FLAG) == 0xaa55 && !memcmp(image + H_MAGIC, "HdrS", 4);
}

bool linux_probe_old(const u8 *image, u64 len)
{
    return len >= 64 * KiB && get16(image + H_BOOT_FLAG) == 0xaa55 && image[H_SETUP_SECTS] <= 64 &&
           get16(image + H_SYSSIZE) && 16ull * get16(image + H_SYSSIZE) <= len &&
           memcmp(image + 0x36, "FAT", 3);
}

static int parse(struct boot *b, struct linux_image *k)
{
    const u8 *h = k->file;
    if (k->len < 0x230)
        return boot_fail(b, "kernel '%s' is truncated: it ends within the setup header", b->kernel);
    k->version = get16(h + H_VERSION);
    if (k->version < 0x200)
        return boot_fail(b, "kernel '%s' claims Linux boot protocol %u.%02u: novt needs 2.00 or newer",
                         b->kernel, k->version >> 8, k->version & 0xff);

    u32 setup_sects = h[H_SETUP_SECTS] ? h[H_SETUP_SECTS] : 4; /* 0 means 4, for historical reasons */
    k->pm_offset = 512ull * (setup_sects + 1);
    if (k->len <= k->pm_offset)
        return boot_fail(
            b,
            "kernel '%s' is truncated: its header announces %u setup sectors, but the file has only "
            "%llu bytes",
            b->kernel, setup_sects, (unsigned long long)k->len);
    k->pm_len = k->len - k->pm_offset;
    /* syssize is in 16-byte units and a whole field only since 2.04; builds round it up past the file's end
     * by < 16. */
    u64 syssize = 16ull * (k->version >= 0x204 ? get32(h + H_SYSSIZE) : get16(h + H_SYSSIZE));
    if (syssize > k->pm_len + 15)
        return boot_fail(b,
                         "kernel '%s' is truncated: its header announces %llu bytes, but the file has %llu",
                         b->kernel, (unsigned long long)(k->pm_offset + syssize), (unsigned long long)k->len);

    /* The setup header ends where the jump over it lands. */
    k->header_end = H_MAGIC + h[H_JUMP + 1];
    if (k->header_end > 0x290)
        k->header_end = 0x290; /* struct boot_params has no room for more: edd data begins there */
    if (k->header_end > k->len)
        return boot_fail(b, "kernel '%s' is truncated: it ends within the setup header", b->kernel);
    if (k->version >= 0x20c && (get16(h + H_XLOADFLAGS) & XLF_KERNEL_64))
        return boot_fail(
            b,
            "kernel '%s' is a 64-bit (x86-64) Linux kernel; novt runs 32-bit x86 guests: give an i386 "
            "kernel, such as Debian's linux-image-686",
            b->kernel);

    k->high = h[H_LOADFLAGS] & LOADED_HIGH;
    k->load = k->high ? 1 * MiB : 0x1000;
    k->initrd_max = k->version >= 0x203 ? get32(h + H_INITRD_MAX) : 0x37ffffff;
    k->cmdline_max = k->version >= 0x206 ? get32(h + H_CMDLINE_SIZE) : 255;
    return 0;
}

/* Decides where things go. */
static int place(struct boot *b, struct linux_image *k)
{
    const u8 *h = k->file;
    unsigned long long ram_mib = b->ram.size / MiB;
    if (!k->high && k->load + k->pm_len > ZERO_PAGE)
        return boot_fail(b, "kernel '%s' is a zImage of %llu KiB, which does not fit below 576 KiB",
                         b->kernel, (unsigned long long)(k->pm_len / KiB));
    k->run_end = k->load + k->pm_len;
    if (k->version >= 0x20a) {
        /* The kernel moves itself to pref_address (or its alignment) and decompresses within init_size from
         * there. */
        u64 start = k->load;
        u64 align = get32(h + H_ALIGN);
        if (h[H_RELOCATABLE] && align && !(align & (align - 1)))
            start = ALIGN_UP(start, align);
        u64 pref = get64(h + H_PREF_ADDRESS);
        if (pref > start)
            start = pref;
        u64 end = start + get32(h + H_INIT_SIZE);
        if (end >= start && end > k->run_end)
            k->run_end = end;
        else if (end < start)
            k->run_end = ~0ull;
    }
    if (k->high && k->run_end > b->ram.size)
        return boot_fail(
            b,
            "kernel '%s' needs at least %llu MiB of memory to start, the guest has %llu MiB: give more "
            "with -m",
            b->kernel, (unsigned long long)(k->run_end / MiB + !!(k->run_end % MiB)), ram_mib);
    if (!k->high && b->ram.size < 1 * MiB)
        return boot_fail(b, "kernel '%s' needs at least 1 MiB of memory: give more with -m", b->kernel);

    if (!b->initrd)
        return 0;
    int err = boot_file_size(b, "initrd", b->initrd, &k->initrd_len);
    if (err)
        return err;
    u64 top = k->initrd_max + 1 < b->ram.size ? k->initrd_max + 1 : b->ram.size;
    u64 floor = k->high ? ALIGN_UP(k->run_end, (u64)PAGE_SIZE) : 1 * MiB;
    k->initrd = k->initrd_len <= top ? ALIGN_DOWN(top - k->initrd_len, (u64)PAGE_SIZE) : 0;
    if (k->initrd_len > top || k->initrd < floor) {
        if (top < b->ram.size)
            return boot_fail(
                b,
                "initrd '%s' (%llu KiB) does not fit below %llu MiB, the highest address that kernel "
                "'%s' takes one at, above the kernel itself",
                b->initrd, (unsigned long long)(k->initrd_len / KiB), (unsigned long long)(top / MiB),
                b->kernel);
        return boot_fail(
            b,
            "initrd '%s' (%llu KiB) does not fit into the guest's memory (%llu MiB) beside the kernel, "
            "which needs the first %llu MiB: give more with -m",
            b->initrd, (unsigned long long)(k->initrd_len / KiB), ram_mib,
            (unsigned long long)(k->run_end / MiB + 1));
    }
    return 0;
}

static void write_zero_page(struct boot *b, const struct linux_image *k)
{
    u8 z[4096] = {0};
    memcpy(z + H_SETUP_SECTS, k->file + H_SETUP_SECTS, k->header_end - H_SETUP_SECTS);
    /* screen_info: 0 lines and columns say that there is no text screen. Zero as well: APM, EDD, EFI. */
    if (b->screen) {
        z[Z_VIDEO_MODE] = 3;
        z[Z_VIDEO_COLS] = 80;
        put16(z + Z_VIDEO_EGA_BX, 3); /* 256 KiB */
        z[Z_VIDEO_LINES] = 25;
        z[Z_VIDEO_ISVGA] = 1;
        put16(z + Z_VIDEO_POINTS, 16);
    }
    u64 above = b->ram.size > MiB ? (b->ram.size - MiB) / KiB : 0;
    put16(z + Z_EXT_MEM_K, above > 0xfc00 ? 0xfc00 : (u16)above);
    put32(z + Z_ALT_MEM_K, (u32)above);
    struct e820_entry e[E820_MAX];
    int n = boot_e820(b, e);
    z[Z_E820_COUNT] = (u8)n;
    for (int i = 0; i < n; i++) {
        put64(z + Z_E820 + 20 * i, e[i].base);
        put64(z + Z_E820 + 20 * i + 8, e[i].len);
        put32(z + Z_E820 + 20 * i + 16, e[i].type);
    }
    put16(z + H_VID_MODE, 0xffff); /* "normal" */
    z[H_LOADER] = 0xff;            /* a boot loader without a number of its own */
    put32(z + H_CODE32, (u32)k->load);
    put32(z + H_RAMDISK, (u32)k->initrd);
    put32(z + H_RAMDISK_SIZE, (u32)k->initrd_len);
    if (k->version >= 0x202) {
        put32(z + H_CMDLINE, CMDLINE_ADDR);
    } else {
        put16(z + Z_CL_MAGIC, 0xa33f);
        put16(z + Z_CL_OFFSET, CMDLINE_ADDR - ZERO_PAGE);
    }
    b->ram.write(b->ram.opaque, ZERO_PAGE, z, sizeof(z));
}

int linux_load(struct boot *b, const u8 *image, u64 len)
{
    struct linux_image k = {.file = image, .len = len};
    int err = parse(b, &k);
    if (!err)
        err = place(b, &k);
    if (err)
        return err;

    const char *append = b->append ? b->append : "";
    size_t cmdline = strlen(append);
    if (k.cmdline_max > CMDLINE_ROOM - 1)
        k.cmdline_max = CMDLINE_ROOM - 1;
    if (cmdline > k.cmdline_max)
        return boot_fail(b,
                         "the kernel command line (-append) has %zu characters, kernel '%s' takes at most %u",
                         cmdline, b->kernel, k.cmdline_max);

    b->ram.write(b->ram.opaque, k.load, image + k.pm_offset, k.pm_len);
    if (b->initrd && (err = boot_copy_file(b, "initrd", b->initrd, k.initrd, k.initrd_len)))
        return err;
    b->ram.write(b->ram.opaque, CMDLINE_ADDR, append, cmdline + 1);
    write_zero_page(b, &k);
    boot_write_gdt(b, GDT_ADDR);
    b->entry.eip = (u32)k.load;
    b->entry.esi = ZERO_PAGE;
    b->entry.esp = ZERO_PAGE; /* not promised, but a stack beats a wild one for early code that pushes */
    return 0;
}
