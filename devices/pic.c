/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two cascaded 8259A interrupt controllers (Intel 8259A datasheet 231468-003) with the edge/level control
 * registers of the PIIX3.
 *
 * Each chip is a request register fed by its input lines, an in-service register and a mask. An
 * edge-triggered request is latched by a rising edge and withdrawn if the line falls before it is
 * acknowledged, a level-triggered one follows its line; a request withdrawn after INTR was raised is what
 * makes a spurious interrupt (the IR7 vector without an in-service bit). The slave's INT output is the
 * master's input 2.
 *
 * Invariants:
 *  - irr has a bit only if the line has it; for level-triggered inputs they are equal
 *  - `intr` is the level last told to the bus; it is recomputed after every change
 *  - withdrawn is set when INTR fell without an acknowledge and cleared by the next one: only then may an
 * acknowledge with nothing pending be a spurious interrupt, else it is -1 (the CPU side never saw INTR)
 */
#include <stdlib.h>
#include "base/log.h"
#include "devices/internal.h"

#define NONE 8

struct i8259 {
    u8 lines; /* levels of the inputs */
    u8 irr, isr, imr;
    u8 elcr;   /* 1: level-triggered */
    u8 base;   /* ICW2: vector of IR0 */
    u8 lowest; /* input of lowest priority; lowest + 1 is the highest */
    u8 init;   /* next ICW expected: 0 none, 2, 3, 4 */
    u8 icw4_due;
    u8 cascaded; /* ICW1.SNGL = 0 */
    u8 aeoi, rotate_aeoi, sfnm, smm;
    u8 read_isr, poll;
};

struct pic {
    struct bus *b;
    struct i8259 chip[2]; /* master, slave */
    u8 intr;
    u8 asking;    /* master input behind intr */
    u8 withdrawn; /* 0, FROM_MASTER or FROM_SLAVE */
};

enum { FROM_MASTER = 1, FROM_SLAVE = 2 };

/* Edge or level inputs that the system board wires as edge: timer, keyboard, cascade; RTC and FPU (PIIX3
 * 4D0h, 4D1h). */
static const u8 elcr_mask[2] = {0xf8, 0xde};

/* ---- one chip ---- */

/* The set bit of highest priority, as an input number, or NONE. */
static int highest(const struct i8259 *c, u8 bits)
{
    if (!bits)
        return NONE;
    int first = (c->lowest + 1) & 7;
    u32 rotated = ((u32)bits | (u32)bits << 8) >> first;
    return (__builtin_ctz(rotated) + first) & 7;
}

static int rank(const struct i8259 *c, int input)
{
    return input == NONE ? 8 : (input - c->lowest - 1) & 7;
}

/* The input that makes INT high, or NONE. */
static int pending(const struct i8259 *c, bool master)
{
    int req = highest(c, c->irr & ~c->imr);
    if (req == NONE || c->init)
        return NONE;
    u8 serving = c->isr;
    if (c->smm)
        serving &= ~c->imr; /* a masked level in service does not hold others back */
    if (c->sfnm && master)
        serving &= ~4; /* nor the slave its own higher requests */
    return rank(c, req) < rank(c, highest(c, serving)) ? req : NONE;
}

static void chip_line(struct i8259 *c, int input, int level)
{
    u8 bit = 1u << input;
    if (!level) {
        c->lines &= ~bit;
        c->irr &= ~bit;
    } else {
        if ((c->elcr & bit) || !(c->lines & bit))
            c->irr |= bit;
        c->lines |= bit;
    }
}

/* INTA for this chip: takes `input` into service. */
static void chip_ack(struct i8259 *c, int input)
{
    u8 bit = 1u << input;
    if (c->aeoi) {
        if (c->rotate_aeoi)
            c->lowest = input;
    } else {
        c->isr |= bit;
    }
    if (!(c->elcr & bit))
        c->irr &= ~bit;
}

/* ---- both ---- */

static void update(struct pic *p)
{
    chip_line(&p->chip[0], 2, pending(&p->chip[1], false) != NONE);
    int input = pending(&p->chip[0], true);
    u8 intr = input != NONE;
    if (!intr && p->intr)
        p->withdrawn = p->asking == 2 ? FROM_SLAVE : FROM_MASTER;
    p->asking = input;
    if (intr == p->intr)
        return;
    p->intr = intr;
    bus_pic_intr(p->b, intr);
}

void pic_set_irq(struct pic *p, int irq, int level)
{
    chip_line(&p->chip[irq >> 3], irq & 7, level);
    update(p);
}

bool pic_irq_requested(struct pic *p, int irq)
{
    return p->chip[irq >> 3].irr & (1u << (irq & 7));
}

bool pic_irq_masked(struct pic *p, int irq)
{
    return p->chip[irq >> 3].imr & (1u << (irq & 7));
}

static void acked(struct pic *p, int irq)
{
    if (p->b->ack_hook[irq])
        p->b->ack_hook[irq](p->b->ack_opaque[irq]);
}

/* The slave's part of an INTA or poll. Returns the input, or NONE if its request is gone. */
static int slave_ack(struct pic *p)
{
    struct i8259 *s = &p->chip[1];
    int input = pending(s, false);
    if (input == NONE)
        return NONE;
    chip_ack(s, input);
    chip_line(&p->chip[0], 2, 0); /* INT falls during INTA, so that a further request makes a new edge */
    return input;
}

int pic_ack(struct pic *p)
{
    struct i8259 *m = &p->chip[0];
    int input = pending(m, true);
    int irq, vec;
    if (input == NONE) {
        if (!p->withdrawn)
            return -1;
        LIGHT_LOG(p->b, int, "8259: spurious interrupt");
        bool slave = p->withdrawn == FROM_SLAVE && m->cascaded;
        p->withdrawn = 0;
        if (!slave)
            return m->base + 7;
        /* The master had begun to serve its input 2, the slave has nothing to name but IR7. */
        chip_ack(m, 2);
        update(p);
        return p->chip[1].base + 7;
    }
    p->withdrawn = 0;
    chip_ack(m, input);
    if (input == 2 && m->cascaded) {
        int sub = slave_ack(p);
        irq = sub == NONE ? -1 : sub + 8;
        vec = p->chip[1].base + (sub == NONE ? 7 : sub);
    } else {
        irq = input;
        vec = m->base + input;
    }
    update(p);
    p->withdrawn = 0; /* this fall of INTR was answered */
    if (irq >= 0)
        acked(p, irq);
    return vec;
}

/* ---- registers ---- */

static void write_icw1(struct pic *p, struct i8259 *c, u8 val)
{
    /* Edge sense is reset: a line that is up must fall first. Level inputs keep asking. */
    c->irr = c->lines & c->elcr;
    c->imr = 0;
    c->isr = 0;
    c->lowest = 7;
    c->smm = 0;
    c->read_isr = 0;
    c->poll = 0;
    c->rotate_aeoi = 0;
    c->init = 2;
    c->cascaded = !(val & 0x02);
    c->icw4_due = val & 0x01;
    if (!c->icw4_due)
        c->aeoi = c->sfnm = 0;
}

static void write_ocw2(struct i8259 *c, u8 val)
{
    int level = val & 7;
    int top;
    switch (val >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
        c->rotate_aeoi = 0;
        break;
    case 4: /* ... set */
        c->rotate_aeoi = 1;
        break;
    case 1: /* non-specific EOI */
    case 5: /* ... and rotate */
        top = highest(c, c->smm ? c->isr & ~c->imr : c->isr);
        if (top != NONE) {
            c->isr &= ~(1u << top);
            if (val & 0x80)
                c->lowest = top;
        }
        break;
    case 3: /* specific EOI */
        c->isr &= ~(1u << level);
        break;
    case 7: /* ... and rotate */
        c->isr &= ~(1u << level);
        c->lowest = level;
        break;
    case 6: /* set priority */
        c->lowest = level;
        break;
    }
}

static void write_ocw3(struct i8259 *c, u8 val)
{
    if (val & 0x40)
        c->smm = !!(val & 0x20);
    if (val & 0x04)
        c->poll = 1;
    else if (val & 0x02)
        c->read_isr = val & 1;
}

static void write_data(struct i8259 *c, u8 val)
{
    switch (c->init) {
    case 2:
        c->base = val & 0xf8;
        c->init = c->cascaded ? 3 : c->icw4_due ? 4 : 0;
        break;
    case 3: /* the cascade wiring of a PC is fixed */
        c->init = c->icw4_due ? 4 : 0;
        break;
    case 4:
        c->aeoi = !!(val & 0x02);
        c->sfnm = !!(val & 0x10);
        c->init = 0;
        break;
    default:
        c->imr = val;
    }
}

static void pic_write(void *opaque, u16 port, int size, u32 val)
{
    struct pic *p = opaque;
    struct i8259 *c = &p->chip[port >= 0xa0];
    if (port & 1)
        write_data(c, val);
    else if (val & 0x10)
        write_icw1(p, c, val);
    else if (val & 0x08)
        write_ocw3(c, val);
    else
        write_ocw2(c, val);
    update(p);
}

/* A read in poll mode is the acknowledge (datasheet, "Poll Command"). */
static u8 poll_read(struct pic *p, int n)
{
    struct i8259 *c = &p->chip[n];
    c->poll = 0;
    int input = n ? slave_ack(p) : pending(c, true);
    if (input == NONE)
        return 0;
    if (!n)
        chip_ack(c, input);
    update(p);
    p->withdrawn = 0;
    if (n || input != 2)
        acked(p, n * 8 + input);
    return 0x80 | input;
}

static u32 pic_read(void *opaque, u16 port, int size)
{
    struct pic *p = opaque;
    int n = port >= 0xa0;
    struct i8259 *c = &p->chip[n];
    if (c->poll)
        return poll_read(p, n);
    if (port & 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static void elcr_write(void *opaque, u16 port, int size, u32 val)
{
    struct pic *p = opaque;
    int n = port & 1;
    struct i8259 *c = &p->chip[n];
    u8 was = c->elcr;
    c->elcr = val & elcr_mask[n];
    c->irr |= c->lines & c->elcr; /* a level input asks as long as it is up */
    c->irr &= ~(was & ~c->elcr);  /* an edge input has not seen an edge yet */
    update(p);
}

static u32 elcr_read(void *opaque, u16 port, int size)
{
    struct pic *p = opaque;
    return p->chip[port & 1].elcr;
}

/* The mask register. */
static int pic_peek(void *opaque, u16 port)
{
    const struct pic *p = opaque;
    const struct i8259 *c = &p->chip[port >= 0xa0];
    return (port & 1) && !c->poll ? c->imr : -1;
}

static const struct port_ops pic_ops = {
    .read = pic_read, .write = pic_write, .peek = pic_peek, .light = true};
static const struct port_ops elcr_ops = {.read = elcr_read, .write = elcr_write, .light = true};

/* ---- life ---- */

/* Until its ICWs come, a real chip is undefined; ours is fully masked. */
#define CHIP_FIELDS(n)                                                                                       \
    DEV_FIELD(struct pic, chip[n].lines, 0), DEV_FIELD(struct pic, chip[n].irr, 0),                          \
        DEV_FIELD(struct pic, chip[n].isr, 0), DEV_FIELD(struct pic, chip[n].imr, 0xff),                     \
        DEV_FIELD(struct pic, chip[n].elcr, 0), DEV_FIELD(struct pic, chip[n].base, 0),                      \
        DEV_FIELD(struct pic, chip[n].lowest, 7), DEV_FIELD(struct pic, chip[n].init, 0),                    \
        DEV_FIELD(struct pic, chip[n].icw4_due, 0), DEV_FIELD(struct pic, chip[n].cascaded, 1),              \
        DEV_FIELD(struct pic, chip[n].aeoi, 0), DEV_FIELD(struct pic, chip[n].rotate_aeoi, 0),               \
        DEV_FIELD(struct pic, chip[n].sfnm, 0), DEV_FIELD(struct pic, chip[n].smm, 0),                       \
        DEV_FIELD(struct pic, chip[n].read_isr, 0), DEV_FIELD(struct pic, chip[n].poll, 0)

static const struct device_field pic_fields[] = {CHIP_FIELDS(0),
                                                 CHIP_FIELDS(1),
                                                 DEV_KEEP(struct pic, intr), /* lowered by the hook */
                                                 DEV_FIELD(struct pic, asking, NONE),
                                                 DEV_FIELD(struct pic, withdrawn, 0),
                                                 DEV_END};

static void pic_reset(void *dev)
{
    struct pic *p = dev;
    update(p);
    p->withdrawn = 0;
}

static void pic_destroy(void *dev)
{
    struct pic *p = dev;
    p->b->pic = NULL;
    free(p);
}

static const struct device_desc pic_desc = {
    .name = "pic", .fields = pic_fields, .reset = pic_reset, .destroy = pic_destroy};

int pic_create(struct bus *b)
{
    struct pic *p = dev_alloc(sizeof(*p));
    p->b = b;
    int err = bus_add_ports(b, 0x20, 2, 1, &pic_ops, p);
    if (!err)
        err = bus_add_ports(b, 0xa0, 2, 1, &pic_ops, p);
    if (!err)
        err = bus_add_ports(b, 0x4d0, 2, 1, &elcr_ops, p);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    b->pic = p;
    bus_add_device(b, &pic_desc, p);
    return 0;
}

void pic_describe(struct bus *b, FILE *out)
{
    for (int i = 1; b->pic && i >= 0; i--) {
        const struct i8259 *c = &b->pic->chip[i];
        fprintf(out,
                "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x fnm=%d "
                "lines=%02x\n",
                i, c->irr, c->imr, c->isr, (c->lowest + 1) & 7, c->base, c->read_isr, c->elcr, c->sfnm,
                c->lines);
    }
}
