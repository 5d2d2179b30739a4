/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The screen as a PNG file, through libpng. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include "base/log.h"
#include "devices/vga_int.h"

static void png_quiet(png_structp png, png_const_charp message)
{
    LOG(dev, "png: %s", message);
    png_longjmp(png, 1);
}

static int write_png(FILE *f, const struct vga_image *img)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_quiet, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    u8 *volatile row = malloc((size_t)img->width * 3);
    volatile int err = -EIO;
    if (info && row && !setjmp(png_jmpbuf(png))) {
        png_init_io(png, f);
        png_set_IHDR(png, info, img->width, img->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (u32 y = 0; y < img->height; y++) {
            for (u32 x = 0; x < img->width; x++) {
                u32 p = img->pixels[(size_t)y * img->width + x];
                row[x * 3] = p >> 16;
                row[x * 3 + 1] = p >> 8;
                row[x * 3 + 2] = p;
            }
            png_write_row(png, row);
        }
        png_write_end(png, NULL);
        err = 0;
    }
    free(row);
    png_destroy_write_struct(&png, &info);
    return err;
}

int vga_write_png(const struct vga_image *img, const char *path)
{
    FILE *f = fopen(path, "wbe");
    if (!f)
        return -errno;
    int err = write_png(f, img);
    if (fclose(f) && !err)
        err = -EIO;
    return err;
}

int vga_screendump(struct vga *v, const char *path)
{
    struct vga_image img;
    int err = vga_render(v, &img);
    if (err)
        return err;
    err = vga_write_png(&img, path);
    free(img.pixels);
    return err;
}
