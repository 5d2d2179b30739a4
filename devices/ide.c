/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE controller: task files, the two channels' ports, bus master DMA (PIIX3, 290550, 2.4 and 3.6;
 * ATA/ATAPI-6; Programming Interface for Bus Master IDE Controller 1.0).
 *
 * A write to a task file register reaches both drives of a channel; the selected one answers. While a drive
 * is BSY, writes but to the device control register are dropped and reads show the status.
 *
 * Bus master transfers go through a buffer: the image is read or written by block.c's worker, and the guest's
 * memory is touched when the request comes back on the vCPU thread. A table that is shorter than the command
 * ends the transfer; a table that is longer leaves the bus master active, as the interface says.
 *
 * Invariants:
 *  - c->req is pending iff the selected drive is BSY because of the image
 *  - pos <= end <= the buffer's size
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/ide_int.h"

static const u16 port_base[2] = {0x1f0, 0x170}, port_control[2] = {0x3f6, 0x376};

void ide_irq(struct ide_chan *c, bool on)
{
    c->irq = on;
    if (on)
        c->bm_status |= BMS_IRQ; /* the line's edge, whatever nIEN says of the pin */
    bus_set_irq(c->ide->b, 14 + c->n, on && !(c->control & 2));
}

void ide_signature(struct ide_drive *d)
{
    d->select &= ~0x0f;
    d->count[0] = d->lba_low[0] = 1;
    d->lba_mid[0] = d->cdrom ? 0x14 : 0;
    d->lba_high[0] = d->cdrom ? 0xeb : 0;
}

void ide_done(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    d->status = (d->status & ST_ERR) | ST_DRDY | ST_DSC;
    c->pos = c->end = 0;
    c->next = NULL;
    ide_irq(c, true);
}

void ide_abort(struct ide_chan *c, u8 error)
{
    struct ide_drive *d = ide_selected(c);
    d->error = error;
    d->status |= ST_ERR;
    c->dma = c->dma_ready = false;
    ide_done(c);
}

void ide_pio(struct ide_chan *c, u32 len, bool to_host, void (*next)(struct ide_chan *c))
{
    ide_pio_at(c, 0, len, to_host, next);
}

void ide_pio_at(struct ide_chan *c, u32 at, u32 len, bool to_host, void (*next)(struct ide_chan *c))
{
    struct ide_drive *d = ide_selected(c);
    NOVT_ASSERT(len <= IDE_CHUNK && at <= IDE_CHUNK - len);
    c->pos = at;
    c->end = at + len;
    c->to_host = to_host;
    c->next = next;
    d->status = (d->status & ~ST_BSY) | ST_DRDY | ST_DSC | ST_DRQ;
}

void ide_submit(struct ide_chan *c, enum block_op op, u64 offset, u32 len,
                void (*done)(void *opaque, int result))
{
    struct ide_drive *d = ide_selected(c);
    d->status = (d->status & ~ST_DRQ) | ST_BSY;
    c->req.op = op;
    c->req.offset = offset;
    c->req.len = len;
    c->req.buf = c->buf;
    c->req.fua = op == BLOCK_WRITE && (!d->write_cache || c->fua);
    c->req.done = done;
    c->req.opaque = c;
    block_submit(d->blk, &c->req);
}

/* ---- bus master ---- */

static u32 get_le32(const u8 *p)
{
    return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

static bool next_prd(struct ide_chan *c)
{
    if (c->prd_last)
        return false;
    u8 e[8];
    bus_mem_read(c->ide->b, c->prd, e, 8);
    c->prd += 8;
    c->prd_addr = get_le32(e) & ~1u;
    c->prd_len = get_le32(e + 4) & 0xfffe;
    if (!c->prd_len)
        c->prd_len = 0x10000;
    c->prd_last = e[7] & 0x80;
    return true;
}

bool ide_dma_move(struct ide_chan *c, u32 len, bool to_host)
{
    u8 *p = c->buf;
    while (len) {
        if (!c->prd_len && !next_prd(c))
            return false;
        u32 n = len < c->prd_len ? len : c->prd_len;
        if (to_host)
            bus_mem_write(c->ide->b, c->prd_addr, p, n);
        else
            bus_mem_read(c->ide->b, c->prd_addr, p, n);
        p += n;
        c->prd_addr += n;
        c->prd_len -= n;
        len -= n;
    }
    return true;
}

void ide_dma_begin(struct ide_chan *c, void (*step)(struct ide_chan *c))
{
    struct ide_drive *d = ide_selected(c);
    d->status = (d->status & ~ST_DRQ) | ST_BSY;
    c->dma = true;
    c->dma_step = step;
    c->dma_ready = true;
    if (c->bm_status & BMS_ACTIVE) {
        c->dma_ready = false;
        step(c);
    }
}

/* The command is through. Active stays up if the table has more, which is how a driver sees a short transfer.
 */
void ide_dma_end(struct ide_chan *c)
{
    c->dma = c->dma_ready = false;
    if (!c->prd_len && c->prd_last)
        c->bm_status &= ~BMS_ACTIVE;
}

static void bm_command(struct ide_chan *c, u8 val)
{
    bool start = (val & BM_START) && !(c->bm_cmd & BM_START);
    bool stop = !(val & BM_START) && (c->bm_cmd & BM_START);
    c->bm_cmd = val & (BM_START | BM_READ);
    if (stop) {
        c->bm_status &= ~BMS_ACTIVE;
        if (c->dma && !c->dma_ready) { /* in the middle of a command: it is lost */
            block_cancel(&c->req);
            ide_abort(c, ER_ABRT);
        }
    }
    if (start) {
        c->bm_status |= BMS_ACTIVE;
        c->prd = c->bm_table;
        c->prd_len = 0;
        c->prd_last = false;
        if (c->dma_ready) {
            c->dma_ready = false;
            c->dma_step(c);
        }
    }
}

static u32 bm_read(void *opaque, u16 port, int size)
{
    struct ide *s = opaque;
    u32 reg = port - s->bm_io;
    struct ide_chan *c = &s->chan[reg >> 3];
    reg &= 7;
    if (size == 4)
        return reg == 4 ? c->bm_table : c->bm_cmd | (u32)c->bm_status << 16;
    if (reg >= 4)
        return c->bm_table >> (8 * (reg - 4));
    return reg == 0 ? c->bm_cmd : reg == 2 ? c->bm_status : 0;
}

static void bm_write(void *opaque, u16 port, int size, u32 val)
{
    struct ide *s = opaque;
    u32 reg = port - s->bm_io;
    struct ide_chan *c = &s->chan[reg >> 3];
    reg &= 7;
    if (reg >= 4) {
        u32 shift = 8 * (reg - 4), mask = (size == 4 ? ~0u : (1u << 8 * size) - 1) << shift;
        c->bm_table = ((c->bm_table & ~mask) | (val << shift & mask)) & ~3u;
        return;
    }
    if (size == 4) { /* command and status at once */
        bm_write(s, port + 2, 1, val >> 16);
        size = 1;
    }
    if (reg == 2)
        c->bm_status = (c->bm_status & ~0x60) | (val & 0x60);
    if (reg == 2)
        c->bm_status &= ~(val & (BMS_ERROR | BMS_IRQ));
    if (reg == 0)
        bm_command(c, val);
}

static const struct port_ops bm_ops = {.read = bm_read, .write = bm_write};

static void map_bm(void *opaque, int bar, u32 addr, bool mapped)
{
    struct ide *s = opaque;
    if (s->bm_io)
        bus_remove_ports(s->b, s->bm_io, 16);
    s->bm_io = 0;
    if (mapped && bus_add_ports(s->b, addr, 16, 1 | 2 | 4, &bm_ops, s) == 0)
        s->bm_io = addr;
}

/* ---- task file ---- */

static void reset_drive(struct ide_drive *d)
{
    d->feature[0] = d->feature[1] = 0;
    d->count[1] = d->lba_low[1] = d->lba_mid[1] = d->lba_high[1] = 0;
    d->select = 0xa0;
    d->error = 1; /* diagnostics passed */
    d->status = d->cdrom ? 0 : ST_DRDY | ST_DSC;
    d->mult = MULT_MAX;
    d->write_cache = !d->blk || block_write_cache(d->blk);
    ide_signature(d);
}

static void reset_channel(struct ide_chan *c)
{
    block_cancel(&c->req);
    c->dma = c->dma_ready = false;
    c->next = NULL;
    c->pos = c->end = 0;
    c->unit = 0;
    reset_drive(&c->drive[0]);
    reset_drive(&c->drive[1]);
    ide_irq(c, false);
}

static void write_control(struct ide_chan *c, u8 val)
{
    u8 old = c->control;
    c->control = val;
    if (!(old & 4) && (val & 4)) {
        reset_channel(c);
        c->drive[0].status = c->drive[1].status = ST_BSY | ST_DSC;
    } else if ((old & 4) && !(val & 4)) {
        reset_channel(c);
    }
    bus_set_irq(c->ide->b, 14 + c->n, c->irq && !(val & 2));
}

static void write_reg(struct ide_chan *c, int reg, u8 val)
{
    if (reg == 7) {
        struct ide_drive *d = ide_selected(c);
        if (!d->present)
            return;
        if ((d->status & (ST_BSY | ST_DRQ)) && !(d->cdrom && val == 0x08))
            return;
        ide_irq(c, false);
        c->bm_status &= ~BMS_IRQ;
        ata_command(c, val);
        return;
    }
    if (ide_selected(c)->status & ST_BSY)
        return;
    c->control &= ~0x80; /* writing shows the current registers again */
    for (int i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        u8 *r[] = {NULL, d->feature, d->count, d->lba_low, d->lba_mid, d->lba_high};
        if (reg == 6) {
            d->select = val | 0xa0;
        } else if (reg > 0) {
            r[reg][1] = r[reg][0];
            r[reg][0] = val;
        }
    }
    if (reg == 6)
        c->unit = val >> 4 & 1;
}

static u8 read_reg(struct ide_chan *c, int reg)
{
    struct ide_drive *d = ide_selected(c);
    int hob = c->control >> 7;
    if (!c->drive[0].present && !c->drive[1].present)
        return reg == 7 ? 0 : 0xff; /* nobody there; the status lines are pulled low enough to be no BSY */
    if (!d->present)
        return 0; /* the other drive answers for the missing one */
    switch (reg) {
    case 1:
        return d->error;
    case 2:
        return d->count[hob];
    case 3:
        return d->lba_low[hob];
    case 4:
        return d->lba_mid[hob];
    case 5:
        return d->lba_high[hob];
    case 6:
        return d->select;
    default:
        return d->status;
    }
}

static u32 data_read(struct ide_chan *c, int size)
{
    u32 v = 0;
    if (!(ide_selected(c)->status & ST_DRQ) || !c->to_host || c->pos + (u32)size > c->end) {
        if (!(ide_selected(c)->status & ST_DRQ) || !c->to_host)
            return 0;
        size = (int)(c->end - c->pos); /* an odd tail */
    }
    memcpy(&v, c->buf + c->pos, (size_t)size);
    c->pos += (u32)size;
    if (c->pos == c->end && c->next)
        c->next(c);
    return v;
}

static void data_write(struct ide_chan *c, int size, u32 val)
{
    if (!(ide_selected(c)->status & ST_DRQ) || c->to_host)
        return;
    if (c->pos + (u32)size > c->end)
        size = (int)(c->end - c->pos);
    memcpy(c->buf + c->pos, &val, (size_t)size);
    c->pos += (u32)size;
    if (c->pos == c->end && c->next)
        c->next(c);
}

static u32 task_read(void *opaque, u16 port, int size)
{
    struct ide_chan *c = opaque;
    int reg = port & 7;
    if (reg == 0)
        return data_read(c, size);
    u32 v = 0;
    for (int i = 0; i < size; i++)
        v |= (u32)read_reg(c, reg + i) << (8 * i);
    if (reg + size > 7) {
        ide_irq(c, false);
    }
    return v;
}

static void task_write(void *opaque, u16 port, int size, u32 val)
{
    struct ide_chan *c = opaque;
    int reg = port & 7;
    if (reg == 0) {
        data_write(c, size, val);
        return;
    }
    for (int i = 0; i < size; i++)
        write_reg(c, reg + i, val >> (8 * i));
}

static u32 control_read(void *opaque, u16 port, int size)
{
    return read_reg(opaque, 7); /* alternate status: does not acknowledge */
}

static void control_write(void *opaque, u16 port, int size, u32 val)
{
    write_control(opaque, val);
}

static const struct port_ops task_ops = {.read = task_read, .write = task_write};
static const struct port_ops control_ops = {.read = control_read, .write = control_write};

/* ---- life ---- */

void ide_attach(struct ide *s, int slot, struct block *blk, bool cdrom)
{
    struct ide_drive *d = &s->chan[slot >> 1].drive[slot & 1];
    d->present = true;
    d->cdrom = cdrom;
    d->blk = blk;
    d->heads = 16;
    d->sectors = 63;
    snprintf(d->serial, sizeof(d->serial), "NV%05d", slot + 1);
    reset_drive(d);
}

bool ide_has(const struct ide *s, int slot)
{
    return s->chan[slot >> 1].drive[slot & 1].present;
}

static const struct ide_drive *slot_drive(const struct ide *s, int slot)
{
    return &s->chan[slot >> 1].drive[slot & 1];
}

bool ide_is_cdrom(const struct ide *s, int slot)
{
    return slot_drive(s, slot)->cdrom;
}

struct block *ide_medium(const struct ide *s, int slot)
{
    return slot_drive(s, slot)->blk;
}

void ide_set_serial(struct ide *s, int slot, const char *serial)
{
    struct ide_drive *d = &s->chan[slot >> 1].drive[slot & 1];
    snprintf(d->serial, sizeof(d->serial), "%s", serial);
}

bool ide_locked(const struct ide *s, int slot)
{
    return slot_drive(s, slot)->locked;
}

bool ide_tray_open(const struct ide *s, int slot)
{
    return slot_drive(s, slot)->tray_open;
}

void ide_request_eject(struct ide *s, int slot)
{
    s->chan[slot >> 1].drive[slot & 1].eject_request = 1;
}

void ide_change_medium(struct ide *s, int slot, struct block *blk)
{
    struct ide_chan *c = &s->chan[slot >> 1];
    struct ide_drive *d = &c->drive[slot & 1];
    NOVT_ASSERT(d->cdrom);
    if (d == ide_selected(c) && (d->status & (ST_BSY | ST_DRQ)))
        atapi_medium_gone(c);
    block_close(d->blk);
    d->blk = blk;
    d->changed = 2;
    d->tray_open = !blk;
    d->eject_request = d->locked = 0;
}

static const struct device_field ide_fields[] = {DEV_KEEP(struct ide, pci.config),
                                                 DEV_KEEP(struct ide, bm_io),
                                                 DEV_FIELD(struct ide, chan[0].control, 0),
                                                 DEV_FIELD(struct ide, chan[0].bm_cmd, 0),
                                                 DEV_FIELD(struct ide, chan[0].bm_status, 0),
                                                 DEV_FIELD(struct ide, chan[0].bm_table, 0),
                                                 DEV_FIELD(struct ide, chan[1].control, 0),
                                                 DEV_FIELD(struct ide, chan[1].bm_cmd, 0),
                                                 DEV_FIELD(struct ide, chan[1].bm_status, 0),
                                                 DEV_FIELD(struct ide, chan[1].bm_table, 0),
                                                 DEV_END};

static void ide_reset(void *dev)
{
    struct ide *s = dev;
    for (int i = 0; i < 2; i++) {
        reset_channel(&s->chan[i]);
        s->chan[i].bm_status = 0;
        for (int k = 0; k < 2; k++) {
            s->chan[i].drive[k].locked = s->chan[i].drive[k].eject_request = 0;
            s->chan[i].drive[k].sense = s->chan[i].drive[k].asc = 0;
            s->chan[i].drive[k].heads = 16;
            s->chan[i].drive[k].sectors = 63;
        }
    }
    memset(s->pci.config + 0x40, 0, 8);
    s->pci.config[0x41] = s->pci.config[0x43] = 0x80; /* both channels decoded: firmware may not know how */
}

static void ide_destroy(void *dev)
{
    struct ide *s = dev;
    for (int i = 0; i < 2; i++) {
        block_cancel(&s->chan[i].req);
        block_close(s->chan[i].drive[0].blk);
        block_close(s->chan[i].drive[1].blk);
        free(s->chan[i].buf);
    }
    free(s);
}

static const struct device_desc ide_desc = {
    .name = "ide", .fields = ide_fields, .reset = ide_reset, .destroy = ide_destroy};

int ide_create(struct bus *b, struct ide **out)
{
    struct ide *s = dev_alloc(sizeof(*s));
    s->b = b;
    int err = 0;
    for (int i = 0; i < 2; i++) {
        struct ide_chan *c = &s->chan[i];
        c->ide = s;
        c->n = i;
        c->buf = dev_alloc(IDE_CHUNK);
        err = err ? err : bus_add_ports(b, port_base[i], 8, 1 | 2 | 4, &task_ops, c);
        err = err ? err : bus_add_ports(b, port_control[i], 1, 1, &control_ops, c);
    }
    struct pci_dev *d = &s->pci;
    d->name = "PIIX3 IDE";
    d->devfn = 1 << 3 | 1;
    d->opaque = s;
    d->map = map_bm;
    pci_set_id(d, 0x8086, 0x7010, 0x0101, 0);
    d->config[PCI_CLASS_PROG] = 0x80; /* bus master, legacy ports */
    d->config[PCI_STATUS] = 0x80;
    d->config[PCI_STATUS + 1] = 0x02;
    d->wmask[PCI_COMMAND] = 0x05;
    memset(d->wmask + 0x40, 0xff, 5);
    pci_set_bar(d, 4, 16, PCI_BAR_IO);
    err = err ? err : pci_add(b, d);
    if (err) {
        for (int i = 0; i < 2; i++) {
            bus_drop_ports(b, &s->chan[i]);
            free(s->chan[i].buf);
        }
        free(s);
        return err;
    }
    bus_add_device(b, &ide_desc, s);
    *out = s;
    return 0;
}
