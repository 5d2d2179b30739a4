/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Symbols of the guest's kernel and of its programs, from their ELF files or from lists.
 *
 * The symbol table is copied out of the ELF file once, sorted by address, and kept for the life of the
 * machine; lookups are binary searches and allocate nothing, so dumps may call them from anywhere. Names are
 * kept in one string block. The ELF file is untrusted input: libelf checks the offsets, and elf_strptr() the
 * names.
 */
#include "machine/symbols.h"

#include <ctype.h>
#include <errno.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SYMBOLS 4000000u /* of a text file */

struct symbol {
    u32 addr, size;
    u32 name; /* offset in the string block */
};

struct symbols {
    struct symbol *sym;
    size_t count;
    char *names;
    size_t names_len;
};

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool wanted(const Elf32_Sym *s)
{
    int type = ELF32_ST_TYPE(s->st_info);
    return s->st_shndx != SHN_UNDEF && s->st_shndx != SHN_ABS && s->st_name &&
           (type == STT_FUNC || type == STT_OBJECT || type == STT_NOTYPE);
}

/* Walks one symbol table; with s->sym NULL it only counts. */
static void scan(Elf *elf, const Elf32_Shdr *sh, const Elf_Data *data, struct symbols *s, size_t *names)
{
    const Elf32_Sym *sym = data->d_buf;
    for (size_t i = 0; i < data->d_size / sizeof(*sym); i++) {
        if (!wanted(&sym[i]))
            continue;
        const char *name = elf_strptr(elf, sh->sh_link, sym[i].st_name);
        if (!name || !*name)
            continue;
        size_t len = strlen(name) + 1;
        if (s->sym) {
            s->sym[s->count] = (struct symbol){sym[i].st_value, sym[i].st_size, (u32)*names};
            memcpy(s->names + *names, name, len);
        }
        s->count++;
        *names += len;
    }
}

static void scan_all(Elf *elf, struct symbols *s, size_t *names)
{
    s->count = 0;
    *names = 0;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn));) {
        const Elf32_Shdr *sh = elf32_getshdr(scn);
        if (!sh || sh->sh_type != SHT_SYMTAB)
            continue;
        const Elf_Data *data = elf_getdata(scn, NULL);
        if (data && data->d_buf)
            scan(elf, sh, data, s, names);
    }
}

struct symbols *symbols_from_elf(Elf *elf)
{
    struct symbols count = {0};
    size_t names;
    scan_all(elf, &count, &names);
    if (!count.count)
        return NULL;
    struct symbols *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->sym = calloc(count.count, sizeof(*s->sym));
    s->names = malloc(names);
    if (!s->sym || !s->names) {
        symbols_free(s);
        return NULL;
    }
    scan_all(elf, s, &names);
    s->names_len = names;
    qsort(s->sym, s->count, sizeof(*s->sym), by_address);
    return s;
}

/* One line of a System.map; true if it is one. */
static bool parse_line(const char *line, u32 *addr, const char **name, size_t *len)
{
    char *end;
    unsigned long long a;

    if (!isxdigit((unsigned char)*line))
        return false;
    a = strtoull(line, &end, 16);
    if (end == line || end[0] != ' ' || !end[1] || end[2] != ' ' || a > 0xffffffffu)
        return false;
    *addr = (u32)a;
    *name = end + 3;
    *len = strcspn(*name, " \t\r\n");
    return *len > 0;
}

static bool append(struct symbols *s, size_t *used, size_t *room, u32 addr, const char *name, size_t len)
{
    if (!(s->count & (s->count - 1)) || !s->count) { /* full at powers of two */
        struct symbol *sym = realloc(s->sym, (s->count ? 2 * s->count : 1) * sizeof(*sym));
        if (!sym)
            return false;
        s->sym = sym;
    }
    if (*used + len + 1 > *room) {
        size_t more = 2 * (*used + len + 1);
        char *names = realloc(s->names, more);
        if (!names)
            return false;
        s->names = names;
        *room = more;
    }
    s->sym[s->count++] = (struct symbol){.addr = addr, .name = (u32)*used};
    memcpy(s->names + *used, name, len);
    s->names[*used + len] = 0;
    *used += len + 1;
    return true;
}

static struct symbols *from_text(FILE *f)
{
    struct symbols *s = calloc(1, sizeof(*s));
    size_t used = 0, room = 0, len;
    char line[1024];
    const char *name;
    u32 addr;

    rewind(f);
    while (s && s->count < MAX_SYMBOLS && fgets(line, sizeof(line), f))
        if (parse_line(line, &addr, &name, &len) && !append(s, &used, &room, addr, name, len))
            break;
    if (!s || !s->count) {
        symbols_free(s);
        return NULL;
    }
    s->names_len = used;
    qsort(s->sym, s->count, sizeof(*s->sym), by_address);
    return s;
}

int symbols_from_file(const char *path, struct symbols **out)
{
    FILE *f = fopen(path, "re");
    char magic[4] = {0};

    *out = NULL;
    if (!f)
        return -errno;
    if (fread(magic, 1, 4, f) == 4 && !memcmp(magic, "\177ELF", 4)) {
        elf_version(EV_CURRENT);
        Elf *elf = elf_begin(fileno(f), ELF_C_READ, NULL);
        if (elf && elf32_getehdr(elf))
            *out = symbols_from_elf(elf);
        elf_end(elf);
    } else {
        *out = from_text(f);
    }
    fclose(f);
    return *out ? 0 : -EINVAL;
}

bool symbols_merge(struct symbols **to, struct symbols *from)
{
    struct symbols *s = *to;
    struct symbol *sym;
    char *names;

    if (!s) {
        *to = from;
        return true;
    }
    sym = realloc(s->sym, (s->count + from->count) * sizeof(*sym));
    if (sym)
        s->sym = sym;
    names = realloc(s->names, s->names_len + from->names_len);
    if (names)
        s->names = names;
    if (sym && names) {
        for (size_t i = 0; i < from->count; i++) {
            s->sym[s->count] = from->sym[i];
            s->sym[s->count++].name += (u32)s->names_len;
        }
        memcpy(s->names + s->names_len, from->names, from->names_len);
        s->names_len += from->names_len;
        qsort(s->sym, s->count, sizeof(*s->sym), by_address);
    }
    symbols_free(from);
    return sym && names;
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    free(s->sym);
    free(s->names);
    free(s);
}

const char *symbols_at(const struct symbols *s, u32 addr, u32 *offset)
{
    if (!s)
        return NULL;
    size_t lo = 0, hi = s->count; /* the answer is the entry before the first one above addr */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->sym[mid].addr <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo)
        return NULL;
    *offset = addr - s->sym[lo - 1].addr;
    return s->names + s->sym[lo - 1].name;
}

bool symbols_range(const struct symbols *s, const char *name, u32 *lo, u32 *hi)
{
    for (size_t i = 0; s && i < s->count; i++) {
        if (strcmp(s->names + s->sym[i].name, name))
            continue;
        *lo = s->sym[i].addr;
        if (s->sym[i].size) {
            *hi = *lo + (s->sym[i].size - 1);
            return true;
        }
        size_t next = i + 1;
        while (next < s->count && s->sym[next].addr == *lo)
            next++;
        *hi = next < s->count ? s->sym[next].addr - 1 : *lo + PAGE_MASK;
        return true;
    }
    return false;
}
