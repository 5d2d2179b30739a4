/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --code-cache: the file of translations (tcache/store.h) at the start and at the end of a run. */
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "machine/vm.h"
#include "monitor/monitor.h"

/* A file that is of no use is replaced at the end; one that must not be, or cannot be, ends it
 * here. */
int code_cache_load(struct vm *vm)
{
    const char *path = vm->cfg.code_cache;
    int err = monitor_load_code(vm->cpu, path);

    switch (err) {
    case 0:
    case -ENOENT: /* the first time */
        return 0;
    case -EPROTO:
        LOG(cpu, "'%s' was made by another novt, or with other options: not used", path);
        return 0;
    case -EBADMSG:
        warn_report("--code-cache: '%s' is damaged: it is not used, and will be made anew", path);
        return 0;
    case -EFBIG:
        warn_report("--code-cache: '%s' has more than half of what --tcache-size has room for: it is not "
                    "used, and stays as it is",
                    path);
        vm->cfg.code_cache = NULL;
        return 0;
    case -ENOTSUP:
        error_report("--code-cache cannot be used together with --kick or --dump");
        return -EINVAL;
    case -EPERM:
        error_report("--code-cache: '%s' is no file of novt's, or is not only yours: it must be a file that "
                     "you own and that nobody else may write (chmod go-w)",
                     path);
        return -EINVAL;
    default:
        error_report("--code-cache: cannot read '%s': %s", path, strerror(-err));
        return -EINVAL;
    }
}

void code_cache_save(struct vm *vm)
{
    u32 written;
    int err = monitor_save_code(vm->cpu, vm->cfg.code_cache, &written);

    if (err)
        error_report("--code-cache: cannot write '%s': %s", vm->cfg.code_cache, strerror(-err));
    else
        LOG(cpu, "%u fragments written to '%s'", written, vm->cfg.code_cache);
}
