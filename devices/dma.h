/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ISA DMA. */
#ifndef NOVT_DEVICES_DMA_H
#define NOVT_DEVICES_DMA_H

#include "devices/devices.h"

/* Moves up to len bytes between buf and memory as the channel is programmed; returns how many (0: the channel
 * is masked). *tc: the count ended. Lock held, vCPU thread. */
u32 dma_move(struct bus *b, int channel, u8 *buf, u32 len, bool to_memory, bool *tc);

#endif
