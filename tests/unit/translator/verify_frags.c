/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fragments to damage: units over a corpus of instruction forms, and units cut from real programs, translated
 * in every mode and form: table and window, each optimisation alone off and all off, exact counting, odd
 * segments, V86 and real mode.
 */
#include "tests/unit/translator/verify_test.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/opts.h"

static const struct bytes corpus[] = {
#include "verify_corpus.def"
};

#define FLAT                                                                                                 \
    (MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS | MODE_SSE)
static const struct way {
    u32 mode;
    u64 opts;
    u32 cs_base, cs_limit;
    bool exact, count, single; /* single: also with each optimisation alone off */
    bool profile, hints;
} ways[] = {
    {FLAT | MODE_IOPL_OK, OPT_ALL, 0, 0xffffffff, .single = true},
    {FLAT | MODE_WIN | 3, OPT_ALL, 0, 0xffffffff, .single = true},
    {FLAT | 3, 0, 0, 0xffffffff},
    {FLAT | MODE_WIN | MODE_IOPL_OK, 0, 0, 0xffffffff},
    {FLAT | MODE_IOPL_OK, OPT_ALL & ~OPT(flags), 0, 0xffffffff, .exact = true},
    {FLAT | MODE_WIN | 3, OPT_ALL & ~OPT(flags), 0, 0xffffffff, .exact = true},
    {FLAT | 3, OPT_ALL, 0, 0xffffffff, .count = true},
    {FLAT | MODE_WIN | 3, OPT_ALL, 0, 0xffffffff, .profile = true},
    {FLAT | 3, OPT_ALL, 0, 0xffffffff, .profile = true, .hints = true},
    {FLAT | MODE_WIN | MODE_IOPL_OK, OPT_ALL, 0, 0xffffffff, .hints = true},
    {(FLAT | MODE_IOPL_OK) & ~(MODE_FLATDS | MODE_FLATSS), OPT_ALL, 0, 0xffffffff},
    {(FLAT | 3) & ~(MODE_FLATCS | MODE_FLATES | MODE_SS32), OPT_ALL, 0x1000, 0xfffff},
    {MODE_PE | MODE_VM | MODE_SSE | 3, OPT_ALL, 0x1000, 0xffff},
    {MODE_IOPL_OK | MODE_SSE, OPT_ALL, 0x1000, 0xffff},
    {MODE_IOPL_OK | MODE_SSE, 0, 0x1000, 0xffff},
};

struct frag *frags;
u32 n_frags, n_real;
struct verifier *vf;
bool frags_low_window;
static u32 room;

static u64 rng = 0x9e3779b97f4a7c15ull;

u32 rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (u32)(rng >> 16);
}

void rnd_seed(u64 seed)
{
    rng ^= seed * 0x2545f4914f6cdd1dull;
}

static struct insn *keep(void *opaque, const struct insn *i)
{
    struct frag *f = opaque;
    struct insn *p = f->n_kept < UNIT_MAX_INSNS ? malloc(sizeof(*p)) : NULL;
    if (p) {
        *p = *i;
        f->kept[f->n_kept++] = p;
    }
    return p;
}

/* Something for each branch, the same each time. */
static u32 hint(void *opaque, u32 off, u32 next)
{
    return off % 3 ? HINT_TAKEN : off % 2 ? HINT_NEVER_PASSED : 0;
}

static void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

/* Returns the unit's length in guest bytes; 0: none could be made. */
static u32 make(const struct way *w, u64 opts, u32 eip, const u8 *bytes, u32 len)
{
    static u8 code[UNIT_MAX_CODE];
    if (n_frags == room)
        frags = need(realloc(frags, (room = room ? 2 * room : 256) * sizeof(*frags)));
    struct frag *f = &frags[n_frags], *stable = need(calloc(1, sizeof(*f)));
    *f = (struct frag){0};
    stable->env = (struct unit_env){
        .model = cpu_model_find("qemu32"),
        .opts = opts,
        .mode = w->mode | ((w->mode & MODE_WIN) && frags_low_window && rnd() % 2 ? MODE_LOW : 0),
        .eip = eip,
        .cs_base = w->cs_base,
        .cs_limit = w->cs_limit,
        .bytes = bytes,
        .avail = len,
        .first_link = 1000,
        .exact = w->exact,
        .host_tsc = !w->exact,
        .count = w->count,
        .profile = w->profile,
        .hint = w->hints ? hint : NULL,
        .keep_insn = keep,
        .opaque = stable,
    };
    if (translate_unit(&stable->env, code, sizeof(code), &stable->u) == XLATE_OK) {
        *f = *stable;
        f->len = f->u.host_len;
        f->code = need(malloc(f->len));
        memcpy(f->code, code, f->len);
        u8 *own = need(malloc(len ? len : 1));
        f->env.bytes = memcpy(own, bytes, len);
        n_frags++;
    } else {
        for (u32 k = 0; k < stable->n_kept; k++)
            free(stable->kept[k]);
    }
    u32 done = f->u.guest_len;
    free(stable);
    return done;
}

bool verify(const struct frag *f, const u8 *code)
{
    struct verify_in in = {
        .code = code,
        .len = f->len,
        .eip = f->env.eip,
        .mode = f->env.mode,
        .cs_base = f->env.cs_base,
        .guest_len = f->u.guest_len,
        .pcmap = f->u.pcmap,
        .n_insns = f->u.n_insns,
        .links = f->u.links,
        .n_links = f->u.n_links,
        .first_link = f->env.first_link,
        .landings = f->u.landings,
        .n_landings = f->u.n_landings,
        .crosses = f->u.crosses,
        .kept = (const struct insn *const *)f->kept,
        .n_kept = f->n_kept,
    };
    u32 at;
    return verify_fragment(vf, &in, &at);
}

/* ---- real code ---- */

#define UNITS_A_FILE 150

/* Units one behind the other from random places of a piece of code, each in a random way. */
static void cut(const u8 *code, u64 size, u32 units)
{
    while (units) {
        u64 at = size > 64 ? rnd() % (size - 64) : 0;
        for (u32 run = 0; run < 5 && units && at + 15 < size; run++, units--) {
            const struct way *w = &ways[rnd() % ARRAY_SIZE(ways)];
            u32 left = size - at > 400 ? 400 : (u32)(size - at);
            u32 n = make(w, w->opts, 0x5100 + (u32)(at & 0x7ff), code + at, left);
            at += n ? n : 1;
        }
        if (size <= 64)
            break;
    }
}

static void cut_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    GElf_Shdr sh;
    bool any = false;
    if (fd < 0 || fstat(fd, &st))
        return; /* not prepared on this machine */
    elf_version(EV_CURRENT);
    Elf *e = elf_begin(fd, ELF_C_READ, NULL);
    for (Elf_Scn *s = NULL; e && (s = elf_nextscn(e, s));) {
        Elf_Data *d;
        if (gelf_getshdr(s, &sh) && sh.sh_type == SHT_PROGBITS && (sh.sh_flags & SHF_EXECINSTR) &&
            sh.sh_size > 1000 && (d = elf_getdata(s, NULL)) && d->d_buf) {
            cut(d->d_buf, d->d_size, UNITS_A_FILE);
            any = true;
        }
    }
    elf_end(e);
    if (!any && st.st_size > 64) { /* raw code, or an ELF file without sections */
        u8 *raw = need(malloc((size_t)st.st_size));
        if (pread(fd, raw, (size_t)st.st_size, 0) == st.st_size)
            cut(raw, (u64)st.st_size, UNITS_A_FILE);
        free(raw);
    }
    close(fd);
}

void frags_make(char **files, int n)
{
    vf = need(verifier_create());
    for (u32 k = 0; k < ARRAY_SIZE(ways); k++) {
        const struct way *w = &ways[k];
        for (u32 c = 0; c < ARRAY_SIZE(corpus); c++) {
            make(w, w->opts, 0x5100 + c * 16, corpus[c].bytes, corpus[c].len);
            for (u32 o = 0; w->single && o < OPT_BIT_COUNT; o++)
                make(w, OPT_ALL & ~(1ull << o), 0x5100 + c * 16, corpus[c].bytes, corpus[c].len);
        }
    }
    u32 before = n_frags;
    for (int k = 0; k < n; k++)
        cut_file(files[k]);
    n_real = n_frags - before;
}

void frags_free(void)
{
    for (u32 i = 0; i < n_frags; i++) {
        for (u32 k = 0; k < frags[i].n_kept; k++)
            free(frags[i].kept[k]);
        free(frags[i].code);
        free((void *)(uintptr_t)frags[i].env.bytes);
    }
    free(frags);
    verifier_destroy(vf);
}
