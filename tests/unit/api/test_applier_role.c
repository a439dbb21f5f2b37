/* SPDX-License-Identifier: Apache-2.0 */
/* The API of a daemon with only the applier role: it shows what it does, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/server.h"
#include "api/views.h"
#include "base/file.h"
#include "http/client.h"

#include <stdlib.h>
#include <string.h>

static json_t *applier_view(void *ctx)
{
    (void)ctx;
    return json_pack("{s:s,s:I,s:s,s:s,s:s,s:b,s:I,s:I,s:s,s:[{s:I,s:s,s:s,s:s,s:s,s:I,"
                     "s:I,s:I,s:I,s:I,s:I,s:I}]}",
                     "version", "0.1.0", "uptime_ms", (json_int_t)7, "data_dir", "/d",
                     "name", "east", "instance", "00112233445566778899aabbccddeeff",
                     "fenced", 0, "silent_ms", (json_int_t)3, "done", (json_int_t)2,
                     "error", "", "orders", "number", (json_int_t)9, "what", "apply",
                     "machine", "m1", "target", "cloud", "state", "runs", "taken_ms",
                     (json_int_t)1, "segments_total", (json_int_t)4, "segments_verified",
                     (json_int_t)4, "segments_applied", (json_int_t)1, "written_bytes",
                     (json_int_t)512, "zeroed_bytes", (json_int_t)0, "same_bytes",
                     (json_int_t)0);
}

struct lab {
    char dir[64];
    char *socket_path;
    struct api_server *server;
    struct http_client *client;
};

static int set_up(void **state)
{
    struct lab *lab = xcalloc(1, sizeof *lab);
    struct err err = ERR_INIT;
    (void)snprintf(lab->dir, sizeof lab->dir, "/tmp/kedge-role-XXXXXX");
    assert_non_null(mkdtemp(lab->dir));
    lab->socket_path = file_join(lab->dir, "s");
    const struct api_server_options options = {.socket_path = lab->socket_path,
                                               .applier_view = applier_view};
    const struct http_client_options to = {.socket_path = lab->socket_path};
    lab->server = api_server_start(&options, &err);
    assert_non_null(lab->server);
    lab->client = http_client_open(&to, &err);
    assert_non_null(lab->client);
    *state = lab;
    return 0;
}

static int tear_down(void **state)
{
    struct lab *lab = *state;
    struct err err = ERR_INIT;
    http_client_close(lab->client);
    api_server_stop(lab->server);
    bool ok = file_remove_tree(lab->dir, &err);
    free(lab->socket_path);
    free(lab);
    return ok ? 0 : 1;
}

static json_t *ask(struct lab *lab, const char *method, const char *path, struct err *err)
{
    const struct http_call call = {.method = method, .path = path};
    return http_call(lab->client, &call, err);
}

static void must_fit(struct lab *lab, const char *path, enum api_view view)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *answer = ask(lab, "GET", path, &err);
    if (!answer || !api_schema_check(api_view_schema(view)->fields, answer, &err))
        fail_msg("%s: %s", path, err.text);
}

static void it_shows_what_it_does(void **state)
{
    must_fit(*state, "/v1/applier", VIEW_APPLIER);
    must_fit(*state, "/v1/status", VIEW_STATUS);
    must_fit(*state, "/v1/openapi.json", VIEW_OPENAPI);
}

static void it_takes_nothing_else(void **state)
{
    static const char *const REFUSED[][2] = {{"GET", "/v1/machines"},
                                             {"DELETE", "/v1/targets/here"},
                                             {"POST", "/v1/orphans/clean"},
                                             {"GET", "/v1/events"}};
    for (size_t i = 0; i < ARRAY_COUNT(REFUSED); i++) {
        struct err err = ERR_INIT;
        json_t *answer = ask(*state, REFUSED[i][0], REFUSED[i][1], &err);
        assert_null(answer);
        assert_int_equal(err.kind, FAIL_CONFLICT);
        assert_non_null(strstr(err.text, "only the applier role"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_shows_what_it_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_takes_nothing_else, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
