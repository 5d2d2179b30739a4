/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which build of the program this is. */
#ifndef NOVT_BASE_BUILD_ID_H
#define NOVT_BASE_BUILD_ID_H

#include "base/types.h"

#define BUILD_ID_MAX 32u

/* The program's build ID (ld --build-id), and zeros behind it; false: it has none. Heavy. */
bool build_id(u8 out[BUILD_ID_MAX]);

#endif
