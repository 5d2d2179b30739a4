/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Screenshots for the monitors: PNG by the display adapter itself, and binary PPM, which is what QEMU writes.
 */
#include "control/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/vga.h"

int screen_dump(struct control *c, const char *path, bool png)
{
    struct vga_image img;
    if (!c->m.vga)
        return -ENODEV;
    if (png)
        return vga_screendump(c->m.vga, path);
    int err = vga_render(c->m.vga, &img);
    if (err)
        return err;
    size_t n = (size_t)img.width * img.height;
    u8 *rgb = malloc(3 * n);
    FILE *f = rgb ? fopen(path, "wbe") : NULL;
    if (!f) {
        err = rgb ? -errno : -ENOMEM;
    } else {
        for (size_t i = 0; i < n; i++) {
            rgb[3 * i] = img.pixels[i] >> 16;
            rgb[3 * i + 1] = img.pixels[i] >> 8;
            rgb[3 * i + 2] = img.pixels[i];
        }
        fprintf(f, "P6\n%u %u\n255\n", img.width, img.height);
        if (fwrite(rgb, 3, n, f) != n)
            err = -EIO;
        if (fclose(f) && !err)
            err = -EIO;
    }
    free(rgb);
    free(img.pixels);
    return err;
}
