/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -vnc's value and browsers' requests: both come from outside. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "display/http.h"
#include "display/vnc_options.h"

static struct vnc_options o;
static char why[256];

static void ok(const char *text)
{
    why[0] = 0;
    if (vnc_options_parse(text, &o, why, sizeof(why)))
        fail_msg("-vnc %s: %s", text, why);
}

static void bad(const char *text, const char *word)
{
    why[0] = 0;
    assert_int_equal(vnc_options_parse(text, &o, why, sizeof(why)), -EINVAL);
    if (!strstr(why, word))
        fail_msg("-vnc %s: '%s' does not say '%s'", text, why, word);
}

static void options(void **st)
{
    ok(":0");
    assert_int_equal(o.port, 5900);
    assert_int_equal(o.to, 5900);
    assert_string_equal(o.host, "");
    assert_false(o.websocket || o.password);
    assert_int_equal(o.share, VNC_EXCLUSIVE);
    ok("192.0.2.1:17,websocket=on,password=on,share=force-shared,to=20");
    assert_string_equal(o.host, "192.0.2.1");
    assert_int_equal(o.port, 5917);
    assert_int_equal(o.to, 5920);
    assert_int_equal(o.ws_port, 5717);
    assert_true(o.websocket && o.password);
    assert_int_equal(o.share, VNC_SHARED);
    ok("[::1]:1,websocket=[::1]:8080");
    assert_string_equal(o.host, "::1");
    assert_string_equal(o.ws_host, "::1");
    assert_int_equal(o.ws_port, 8080);
    ok("unix:/tmp/a,,b,websocket=5800,password-file=/etc/x");
    assert_string_equal(o.unix_path, "/tmp/a,b");
    assert_true(o.password);
    assert_string_equal(o.password_file, "/etc/x");
    ok("none");
    assert_true(o.none);
    ok(":0,lossy=on,key-delay-ms=10,websocket=off,");
    assert_false(o.websocket);
    bad("", "display number");
    bad("5900", "display number");
    bad(":", "display number");
    bad(":-1", "display number");
    bad(":59636", "display number");
    bad(":99999999999999999999", "display number");
    bad("::1:0", "display number");
    bad("unix:", "unix:PATH");
    bad(":0,password=maybe", "on or off");
    bad(":0,share=alone", "allow-exclusive");
    bad(":0,to=x", "last display");
    bad(":5,to=4", "last display");
    bad(":0,websocket=0", "port 0");
    bad(":0,websocket=x:y", "on, off, PORT");
    bad(":60000,websocket=on", "give a display number");
    bad("unix:/x,websocket=on", "give its port");
    bad("unix:/x,to=3", "no meaning");
    bad(":0,tls-creds=x", "not supported");
    bad(":0,password-file=", "name of a file");
    char longer[2000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    bad(longer, "");
    memcpy(longer, "unix:", 5);
    bad(longer, "");
    longer[200] = 0;
    bad(longer, "unix:PATH");
}

static struct http_request r;

static int parse(const char *text)
{
    return http_parse(text, strlen(text), &r);
}

static void requests(void **st)
{
    const char *get =
        "GET /vnc.html?autoconnect=true HTTP/1.1\r\nHost: LocalHost:5700\r\nAccept: */*\r\n\r\nrest";
    assert_int_equal(parse(get), strlen(get) - 4);
    assert_string_equal(r.path, "/vnc.html");
    assert_string_equal(r.host, "localhost");
    assert_false(r.websocket || r.head);
    assert_true(parse("HEAD / HTTP/1.0\r\n\r\n") > 0);
    assert_true(r.head);
    /* byte by byte: not yet, then all of it */
    for (size_t i = 0; i < strlen(get) - 4; i++)
        assert_int_equal(http_parse(get, i, &r), 0);
    assert_true(http_parse(get, strlen(get) - 4, &r) > 0);
    assert_true(parse("GET /a%20b%2Fc HTTP/1.1\r\n\r\n") > 0);
    assert_string_equal(r.path, "/a b/c");
    assert_true(
        parse("GET /websockify HTTP/1.1\r\nHost: [::1]:57\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
              "Origin: http://[::1]:57\r\n\r\n") > 0);
    assert_true(r.websocket);
    assert_string_equal(r.host, "[::1]");
    assert_true(http_origin_allowed(&r, true));
    static const char *const refused[] = {"POST / HTTP/1.1\r\n\r\n",
                                          "RFB 003.008\n",
                                          "\x16\x03\x01",
                                          "GET / HTTP/2.0\r\n\r\n",
                                          "GET http://x/ HTTP/1.1\r\n\r\n",
                                          "GET /%0 HTTP/1.1\r\n\r\n",
                                          "GET /%00 HTTP/1.1\r\n\r\n",
                                          "GET /\x80 HTTP/1.1\r\n\r\n",
                                          "GET / HTTP/1.1\r\nno colon\r\n\r\n",
                                          "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                                          "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(parse(refused[i]), -EINVAL);
    static char big[HTTP_MAX + 10];
    memset(big, 'a', sizeof(big));
    memcpy(big, "GET /", 5);
    assert_int_equal(http_parse(big, HTTP_MAX - 1, &r), 0);
    assert_int_equal(http_parse(big, sizeof(big), &r), -EINVAL);
    assert_int_equal(http_parse("GET / HTTP/1.1\0\r\n\r\n", 19, &r), -EINVAL);
}

static bool origin(const char *host, const char *from, bool loopback)
{
    char text[512];
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n%s%s\r\n\r\n", host,
             from ? "Origin: " : "X: ", from ? from : "y");
    assert_true(parse(text) > 0);
    return http_origin_allowed(&r, loopback);
}

static void origins(void **st)
{
    assert_true(origin("localhost:5700", "http://localhost:5700", true));
    assert_true(origin("127.0.0.1:5700", "http://127.0.0.1:5700", true));
    assert_true(origin("localhost:5700", "https://LOCALHOST", true)); /* another port of this machine's */
    assert_false(origin("localhost:5700", "http://evil.example", true));
    assert_false(origin("localhost:5700", "http://localhost.evil.example", true));
    assert_false(origin("localhost:5700", "null", true));
    assert_false(origin("localhost:5700", "file://", true));
    assert_false(origin("localhost:5700", NULL, true));
    assert_false(origin("evil.example:5700", "http://evil.example:5700", true)); /* rebinding */
    assert_true(origin("vm.example:5700", "http://vm.example:5700", false));
    assert_false(origin("vm.example:5700", "http://evil.example:5700", false));
}

static void paths(void **st)
{
    assert_true(http_path_safe("/vnc.html"));
    assert_true(http_path_safe("/app/images/icons/novnc-16x16.png"));
    static const char *const bad_paths[] = {"",       "vnc.html", "/../etc/passwd", "/a/../b", "/.git/config",
                                            "//etc",  "/a/./b",   "/a b",           "/a\\b",   "/a\x01",
                                            "/~root", "/a:b"};
    for (size_t i = 0; i < sizeof(bad_paths) / sizeof(bad_paths[0]); i++)
        assert_false(http_path_safe(bad_paths[i]));
    assert_string_equal(http_content_type("/core/rfb.js"), "text/javascript; charset=utf-8");
    assert_string_equal(http_content_type("/x"), "application/octet-stream");
}

/* Mutated requests and options: nothing crashes, strings end. */
static void mutants(void **st)
{
    static const char *const seeds[] = {
        "GET /websockify HTTP/1.1\r\nHost: [::1]:57\r\nUpgrade: WebSocket\r\nOrigin: http://[::1]:57\r\n\r\n",
        "HEAD /a%20b?c HTTP/1.0\r\nHost: a\r\n\r\n",
        "[::1]:3,websocket=[::1]:5,password=on,share=ignore,to=9", "unix:/a,,b,websocket=1,password-file=x"};
    u32 x = 3;
    char buf[256];
    for (int i = 0; i < 300000; i++) {
        const char *s = seeds[i & 3];
        size_t n = strlen(s);
        memcpy(buf, s, n + 1);
        for (int k = 0; k < 1 + i % 4; k++) {
            x = x * 1664525 + 1013904223;
            size_t at = (x >> 8) % n;
            if (x >> 31)
                buf[at] = (char)(x >> 4);
            else
                memmove(buf + at, buf + at + 1, n - at), n -= n > 1;
        }
        buf[n] = 0;
        if (i & 2) {
            vnc_options_parse(buf, &o, why, sizeof(why));
            continue;
        }
        char *exact = malloc(n); /* so that a read behind the end is seen by a checker */
        memcpy(exact, buf, n);
        int len = http_parse(exact, n, &r);
        assert_true(len <= (int)n);
        assert_non_null(memchr(r.path, 0, sizeof(r.path)));
        assert_non_null(memchr(r.host, 0, sizeof(r.host)));
        assert_non_null(memchr(r.origin, 0, sizeof(r.origin)));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options), cmocka_unit_test(requests), cmocka_unit_test(origins),
        cmocka_unit_test(paths),   cmocka_unit_test(mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
