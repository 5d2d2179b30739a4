/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server's HTTP: any bytes as a request, complete and cut off anywhere, must give the same or
 * nothing. */
#include <stdlib.h>
#include "display/http.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct http_request r, again;
    char *exact = malloc(size + 1); /* so that a read beyond the end is seen */
    if (!exact)
        abort();
    memcpy(exact, data, size);
    char *text = malloc(size ? size : 1);
    if (!text)
        abort();
    memcpy(text, exact, size);
    memset(&r, 0, sizeof(r));
    int n = http_parse(text, size, &r);
    if (n > (int)size)
        abort();
    if (n > 0) {
        if (r.path[0] != '/' || !memchr(r.path, 0, sizeof(r.path)) || !memchr(r.host, 0, sizeof(r.host)) ||
            !memchr(r.origin, 0, sizeof(r.origin)))
            abort();
        http_origin_allowed(&r, true);
        http_origin_allowed(&r, false);
        if (http_path_safe(r.path) && strstr(r.path, "/.."))
            abort();
        http_content_type(r.path);
        memset(&again, 0, sizeof(again));
        if (http_parse(text, (size_t)n, &again) != n) /* what follows the head does not matter */
            abort();
    }
    free(text);
    free(exact);
    return 0;
}
